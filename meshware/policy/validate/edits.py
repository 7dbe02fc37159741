"""Check what a route changes in requests and responses: headers, path, Host.

Source: Istio, `validateHeaderOperations`, `validateHTTPRewrite`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshware.policy.codes import NOT_APPLICABLE, SUSPICIOUS
from meshware.policy.document.virtual_service import (
    HeaderOperations,
    Headers,
    HTTPMatchRequest,
    HTTPRewrite,
    RegexRewrite,
)
from meshware.policy.edits import parse_value
from meshware.policy.parse import Resource
from meshware.policy.regex_replace import compile_replacer
from meshware.policy.validate.authorization_values import is_token
from meshware.policy.validate.common import Report
from meshware.policy.yaml12 import brief

__all__ = ["check_headers", "check_rewrite", "is_authority"]

# How long a message is, and where its connection ends, is between the client and its library.
_FRAMING = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_HOST = ("host", ":authority")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
# RFC 3986: what a Host header may hold, and what stands in a path with its query.
_AUTHORITY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%\[\]:-]+")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_REWRITE = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@%/-]|\\[0-9])*")


def is_authority(text: str) -> bool:
    """Say whether a text may be a Host header."""
    return _AUTHORITY.fullmatch(text) is not None


def check_headers(resource: Resource, path: str, headers: Headers | None, report: Report) -> None:
    """Report operations on headers that cannot be carried out."""
    if headers is None:
        return
    if headers.request is not None:
        _check(resource, f"{path}.request", headers.request, report, has_host=True)
    if headers.response is not None:
        _check(resource, f"{path}.response", headers.response, report, has_host=False)


def _check(
    resource: Resource, path: str, operations: HeaderOperations, report: Report, *, has_host: bool
) -> None:
    for field, pairs in (("set", operations.set), ("add", operations.add)):
        for name, value in (pairs or {}).items():
            here = f"{path}.{field}[{name}]"
            if has_host and name.lower() in _HOST:
                if not is_authority(value):
                    report.error(
                        resource, here, f"{brief(value)!r} is no host; write one, or remove it"
                    )
                continue
            _check_name(resource, here, name, report)
            _check_value(resource, here, value, report)
    for index, name in enumerate(operations.remove or ()):
        here = f"{path}.remove[{index}]"
        if name.lower() in _HOST:
            report.warning(
                resource,
                here,
                f"{name} cannot be removed; remove this line, or write rewrite.authority",
                SUSPICIOUS,
            )
        else:
            _check_name(resource, here, name, report)


def _check_name(resource: Resource, here: str, name: str, report: Report) -> None:
    if not is_token(name):
        report.error(resource, here, f"{brief(name)!r} is no name of a header; mend it")
    elif name.lower() in _FRAMING:
        report.error(
            resource,
            here,
            f"{name} is between the client and its connection, and would break it; remove it",
        )


def _check_value(resource: Resource, here: str, value: str, report: Report) -> None:
    if not _VALUE.fullmatch(value):
        report.error(
            resource, here, "the value holds characters that no header may; write plain ASCII"
        )
        return
    try:
        parse_value(value)
    except ValueError as error:
        report.error(
            resource,
            here,
            f"the command at {str(error)!r} is not applicable: Envoy's others are about its own "
            "connections and logs; write %REQ(name)%, or %% for a percent sign",
            NOT_APPLICABLE,
        )


def check_rewrite(
    resource: Resource,
    path: str,
    rewrite: HTTPRewrite | None,
    blocks: Sequence[HTTPMatchRequest],
    report: Report,
) -> None:
    """Report a rewrite that leads to a malformed request, or to another than it seems."""
    if rewrite is None:
        return
    if not rewrite.uri and not rewrite.authority and rewrite.uri_regex_rewrite is None:
        report.error(
            resource, path, "rewrite changes nothing; write uri, uriRegexRewrite or authority"
        )
    if rewrite.uri_regex_rewrite is not None:
        _check_regex_rewrite(resource, path, rewrite, rewrite.uri_regex_rewrite, report)
    if rewrite.authority and not is_authority(rewrite.authority):
        report.error(
            resource,
            f"{path}.authority",
            f"authority is {brief(rewrite.authority)!r}; write a host, with a port if need be",
        )
    uri = rewrite.uri
    if not uri:
        return
    if not _PATH.fullmatch(uri):
        report.error(
            resource,
            f"{path}.uri",
            f"uri is {brief(uri)!r}; write a path that begins with a slash, percent-encoded and "
            "without query",
        )
        return
    for block in blocks:
        prefix = block.uri.prefix if block.uri is not None else None
        if prefix is None:
            continue
        if uri.endswith("/") and not prefix.endswith("/"):
            report.warning(
                resource,
                f"{path}.uri",
                f"{brief(prefix)}/x becomes {brief(uri)}/x, with two slashes; write the slash in "
                "both of match and rewrite, or in neither",
                SUSPICIOUS,
            )
        elif prefix.endswith("/") and not uri.endswith("/"):
            report.warning(
                resource,
                f"{path}.uri",
                f"{brief(prefix)}x becomes {brief(uri)}x, without the slash between; write the "
                "slash in both of match and rewrite, or in neither",
                SUSPICIOUS,
            )
        else:
            continue
        return


def _check_regex_rewrite(
    resource: Resource, path: str, rewrite: HTTPRewrite, regex: RegexRewrite, report: Report
) -> None:
    here = f"{path}.uriRegexRewrite"
    if rewrite.uri:
        report.error(
            resource, f"{path}.uri", "uri and uriRegexRewrite are both set; keep one of them"
        )
    if not regex.match:
        report.error(resource, f"{here}.match", "match is missing; write a regular expression")
        return
    if regex.rewrite is None:
        report.error(
            resource, f"{here}.rewrite", "rewrite is missing; write it, '' to remove what matches"
        )
        return
    try:
        compile_replacer(regex.match, "")
    except ValueError as error:
        report.error(resource, f"{here}.match", f"match cannot be used: {error}")
        return
    try:
        compile_replacer(regex.match, regex.rewrite)
    except ValueError as error:
        report.error(resource, f"{here}.rewrite", f"rewrite cannot be used: {error}")
        return
    if not _REWRITE.fullmatch(regex.rewrite):
        report.error(
            resource,
            f"{here}.rewrite",
            f"rewrite is {brief(regex.rewrite)!r}; write what may stand in a path, "
            "percent-encoded and without query",
        )
