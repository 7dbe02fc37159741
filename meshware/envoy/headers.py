"""Header operations: HeaderOperations as what Envoy adds and removes on a route or destination.

Source: Istio, `TranslateHeadersOperations`: what is set comes before what is added, each in the
order of the names; `host` is no header but a rewrite of Host.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.envoy.values import Json
from meshware.policy.document.virtual_service import HeaderOperations, Headers

__all__ = ["host_of", "operations"]

_HOST = ("host", ":authority")


def operations(levels: Sequence[Headers | None]) -> Json:
    """Return the four header fields of a route or weighted cluster.

    Args:
        levels: in the order in which they are carried out.
    """
    found: Json = {}
    for side in ("request", "response"):
        written = [getattr(level, side) for level in levels if level is not None]
        added = [option for level in written if level is not None for option in _added(level)]
        removed = [
            name
            for level in written
            if level is not None
            for name in level.remove or ()
            if not _is_host(name)
        ]
        if added:
            found[f"{side}_headers_to_add"] = added
        if removed:
            found[f"{side}_headers_to_remove"] = removed
    return found


def host_of(headers: Headers | None) -> str | None:
    """Return the Host that request operations ask for: one that is set beats one that is added."""
    request = headers.request if headers is not None else None
    if request is None:
        return None
    for given in (request.set, request.add):
        for name, value in sorted((given or {}).items()):
            if name.lower() in _HOST:
                return value
    return None


def _added(level: HeaderOperations) -> list[Json]:
    return [
        {"header": {"key": name, "value": value}, "append_action": action}
        for given, action in (
            (level.set, "OVERWRITE_IF_EXISTS_OR_ADD"),
            (level.add, "APPEND_IF_EXISTS_OR_ADD"),
        )
        for name, value in sorted((given or {}).items())
        if not _is_host(name)
    ]


def _is_host(name: str) -> bool:
    return name.lower() == "host" or name.startswith(":")
