"""What a route answers by itself: redirects and direct responses.

Source: Istio, `ApplyRedirect`.
"""

from __future__ import annotations

from meshware.envoy.values import Json
from meshware.policy.document.virtual_service import HTTPDirectResponse, HTTPRedirect

__all__ = ["direct_response", "redirect"]

_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_PORT_OF = {"http": 80, "https": 443}


def redirect(written: HTTPRedirect, port: int) -> Json:
    """Return a RedirectAction.

    Args:
        written: the policy's.
        port: the port that is called, for `FROM_REQUEST_PORT`.
    """
    action: Json = {"response_code": _CODES[written.redirect_code or 301]}
    if written.uri:
        action["path_redirect"] = written.uri
    if written.authority:
        action["host_redirect"] = written.authority
    if written.scheme:
        action["scheme_redirect"] = written.scheme
    wanted = port if written.derive_port == "FROM_REQUEST_PORT" else written.port
    if wanted and wanted != _PORT_OF.get(written.scheme or "http"):
        action["port_redirect"] = wanted
    return action


def direct_response(written: HTTPDirectResponse) -> Json:
    """Return a DirectResponseAction."""
    action: Json = {"status": written.status}
    body = written.body
    if body is not None and body.bytes is not None:
        action["body"] = {"inline_bytes": body.bytes}
    elif body is not None and body.string:
        action["body"] = {"inline_string": body.string}
    return action
