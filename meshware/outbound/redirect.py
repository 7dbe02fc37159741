"""Where a redirect leads: the `Location` that Envoy would send.

Source: Envoy, `RouteEntryImplBase::newUri`, RedirectAction.
"""

from __future__ import annotations

import re

from meshware.call import RequestHead
from meshware.policy.route_actions import Redirect

__all__ = ["location"]

_PORT = re.compile(r":[0-9]+$")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def location(redirect: Redirect, head: RequestHead) -> str:
    """Return the absolute URL that a redirect sends the caller to.

    The request's own query is kept, unless the redirect's path brings one.
    """
    scheme = redirect.scheme or head.scheme
    port = f":{redirect.port}" if redirect.port is not None else ""
    host = redirect.authority or _own_host(head, scheme, port)
    return f"{scheme}://{host}{port}{_path(redirect.path, head.target)}"


def _own_host(head: RequestHead, scheme: str, port: str) -> str:
    """Return the request's Host, without a port that is replaced or the old scheme's default."""
    found = _PORT.search(head.authority)
    if found is None:
        return head.authority
    is_old_default = scheme != head.scheme and found[0] == _DEFAULT_PORT.get(head.scheme)
    return head.authority[: found.start()] if port or is_old_default else head.authority


def _path(path: str | None, target: str) -> str:
    if path is None:
        return target
    query = target.partition("?")[1:]
    return path if "?" in path or not query[0] else path + "".join(query)
