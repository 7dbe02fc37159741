"""Refuse what two parsers could read in two ways, before anything is decided on it.

Python servers let through what others refuse (two Hosts, an absolute target for another host, a
method in lower case), and the app behind may take it otherwise than a rule did. Each of these is
answered 400. Sources: RFC 9110 and 9112; Envoy's header and path checks.
"""

from __future__ import annotations

import re

from meshware.inbound.head import InboundHead, declared_length
from meshware.inbound.header_names import HeaderNames
from meshware.policy.inbound_facts import count_values
from meshware.policy.paths import has_control, is_plain
from meshware.trace import TRACE_HEADERS

__all__ = ["MESH_HEADERS", "complaint", "plain_path", "split_target"]

MESH_HEADERS = frozenset(
    {
        "authorization",
        "content-length",
        "forwarded",
        "host",
        "transfer-encoding",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
        *TRACE_HEADERS,
    }
)
"""Headers that the mesh reads; their twins with underscores are refused."""

_MOST_VALUES = 100
"""Values of one header that rules are asked about: each rule looks at each, and a caller pays
nothing for thousands of commas."""

_USUAL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_METHOD = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]+")
# RFC 3986 host and port. No comma, although a name may hold one: servers join two Hosts with it.
_HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+)"
    r"(?::[0-9]{0,5})?",
    re.ASCII,
)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)(.*)", re.DOTALL)
_DEFAULT_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


_MOST_HOSTS = 1000
_sound_hosts: set[str] = set()  # that were looked at: a workload is called by a few


def complaint(
    head: InboundHead,
    names: HeaderNames,
    plain: str | None,
    *,
    read: frozenset[str],
    values_read: frozenset[str],
) -> str | None:
    """Return what is wrong with a request that must be refused; None: it can mean one thing.

    Args:
        head: the request.
        names: what the names of its headers say.
        plain: its path, where that is plain.
        read: headers that policy reads, in lower case.
        values_read: those of them whose values rules are asked about.
    """
    if head.unclear is not None:
        return head.unclear
    if head.method not in _USUAL and not _METHOD.fullmatch(head.method):
        return "the method is not upper case"
    hosts = head.headers("host")
    if len(hosts) > 1:
        return "there are two Host headers"
    if hosts:
        if hosts[0] not in _sound_hosts and not _is_sound_host(hosts[0]):
            return "the Host header is malformed"
    elif head.version == "1.1":
        return "there is no Host header"
    lengths = head.headers("content-length")
    if lengths:
        if head.headers("transfer-encoding"):
            return "there are both Content-Length and Transfer-Encoding"
        if declared_length(lengths) is None:
            return "the Content-Length is malformed"
    if plain is None:
        wrong = _about_paths(head, hosts[0].strip(" \t") if hosts else "")
        if wrong is not None:
            return wrong
    for name, twin in names.twins:
        if twin in MESH_HEADERS or twin in read:
            return f"header {name} could be taken for {twin}"
    return _about_values(head, values_read) if values_read else None


def _is_sound_host(written: str) -> bool:
    """Say whether a Host header can be read in one way."""
    # Two dots in a row are no name of DNS, and each server cuts off as many as it likes.
    if not _HOST.fullmatch(written.strip(" \t")) or ".." in written:
        return False
    if len(_sound_hosts) < _MOST_HOSTS and len(written) < 256:
        _sound_hosts.add(written)
    return True


def split_target(target: str) -> str:
    """Return the path of a request target, still encoded: no authority, no query; `#` stays."""
    if not target.startswith("/"):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            target = absolute[2]
            if not target.startswith("/"):
                target = "/" + target
    return target.partition("?")[0]


def plain_path(head: InboundHead) -> str | None:
    """Return the path, where it is the same to everybody and there is nothing in it to read twice.

    That is most paths, and found out at once. None: it has to be looked at.
    """
    target, paths = head.target, head.paths
    if target is None or len(paths) != 1 or head.partial_paths:
        return None
    path = paths[0]
    if target != path:
        before, _, query = target.partition("?")
        if before != path or not (query.isascii() and query.isprintable()):
            return None
    return path if path and is_plain(path) else None


def _about_paths(head: InboundHead, host: str) -> str | None:
    for path in (*head.paths, *head.partial_paths):
        if has_control(path):
            return "there are control characters in the path"
        # Nothing may be left behind a prefix.
        if path[:1] not in ("", "/") or not head.paths[0]:
            return "the path does not begin with a slash"
    target = head.target
    if target is None:
        return None
    if has_control(target):
        return "there are control characters in the request target"
    return None if target.startswith("/") else _about_target(target, host, head.scheme)


def _about_target(target: str, host: str, scheme: str) -> str | None:
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return "the request target does not begin with a slash"
    if _comparable(absolute[1], scheme) != _comparable(host, scheme):
        return "the request target is for another host than the Host header"
    return None


def _comparable(authority: str, scheme: str) -> str:
    return authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))


def _about_values(head: InboundHead, read: frozenset[str]) -> str | None:
    for name in read:
        lines = head.headers(name)
        if not lines:
            continue
        if len(lines) == 1:
            line = lines[0]
            if line.isascii() and line.isprintable() and line.count(",") < _MOST_VALUES:
                continue  # nothing is wrong with most
        if count_values(name, lines) > _MOST_VALUES:
            return f"header {name} has more than {_MOST_VALUES} values"
        for line in lines:
            if has_control(line) and has_control(line.replace("\t", " ")):
                return f"there are control characters in header {name}"
    return None
