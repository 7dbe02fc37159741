"""Which requests a route takes: HTTPMatchRequest as Envoy's RouteMatch.

What is known beforehand (the client, the port dialled) decides whether a block becomes a route at
all, as in Istio's `sourceMatchHTTP`.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshware.envoy.values import Json, is_presence, string_match
from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import HTTPMatchRequest
from meshware.policy.view import Client

__all__ = ["is_catch_all", "is_for", "route_match"]

_NOT_HEADERS = {"uri", "scheme", "method", "authority"}  # Istio leaves these keys out


def is_for(
    block: HTTPMatchRequest | None, gateways: tuple[str, ...] | None, client: Client, port: int
) -> bool:
    """Say whether a block is for this client and port.

    Args:
        block: None stands for a rule without `match`.
        gateways: those of the VirtualService.
        client: who calls.
        port: the port that is called.
    """
    own = block.gateways if block is not None else None
    if "mesh" not in (own or gateways or ("mesh",)):
        return False
    if block is None:
        return True
    if block.port not in (None, port):
        return False
    if own:
        return True  # Istio: then the source is not looked at
    if block.source_namespace not in (None, "", client.namespace):
        return False
    wanted = block.source_labels or {}
    return all(client.labels.get(name) == value for name, value in wanted.items())


def route_match(block: HTTPMatchRequest | None) -> Json:
    """Return the RouteMatch of a block."""
    if block is None:
        return {"prefix": "/"}
    found = _path(block)
    headers = [
        {"name": f":{name}", "string_match": string_match(match)}
        for name, match in (
            ("method", block.method),
            ("scheme", block.scheme),
            ("authority", block.authority),
        )
        if match is not None
    ]
    headers += _headers(block.headers or {}, is_wanted=True)
    headers += _headers(block.without_headers or {}, is_wanted=False)
    if headers:
        found["headers"] = headers
    if block.query_params:
        found["query_parameters"] = [
            {"name": name, "present_match": True}
            if is_presence(match)
            else {"name": name, "string_match": string_match(match)}
            for name, match in block.query_params.items()
        ]
    return found


def is_catch_all(match: Json) -> bool:
    """Say whether a RouteMatch takes every request: nothing behind it is ever reached."""
    is_any = match.get("prefix") == "/" or match.get("safe_regex") == {"regex": ".*"}
    return is_any and not match.get("headers") and not match.get("query_parameters")


def _path(block: HTTPMatchRequest) -> Json:
    uri = block.uri
    if uri is None or is_presence(uri):
        return {"prefix": "/"}
    found: Json
    if uri.regex is not None:
        return {"safe_regex": {"regex": uri.regex}}  # Istio: `ignoreUriCase` is not for these
    found = {"prefix": uri.prefix} if uri.exact is None else {"path": uri.exact}
    if block.ignore_uri_case:
        found["case_sensitive"] = False
    return found


def _headers(matches: Mapping[str, StringMatch], *, is_wanted: bool) -> list[Json]:
    found: list[Json] = []
    for name, match in matches.items():
        if name.lower() in _NOT_HEADERS:
            continue
        matcher: Json = {"name": name}
        if is_presence(match):
            matcher["present_match"] = True
        else:
            matcher["string_match"] = string_match(match)
        if not is_wanted:
            matcher["invert_match"] = True
            if not is_presence(match):
                matcher["treat_missing_header_as_empty"] = True
        found.append(matcher)
    return found
