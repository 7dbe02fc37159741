"""Check the match blocks of routes: conditions that can be read, and that a call can meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshware.policy.codes import NOT_APPLICABLE, SUSPICIOUS
from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import HTTPMatchRequest
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_labels, check_string_match
from meshware.policy.validate.grammar import is_name, is_token
from meshware.policy.yaml12 import brief

__all__ = ["MESH", "check_match"]

MESH = "mesh"  # the word that stands for all clients of the mesh among gateways

# Header keys that Istio does not look at: the match has fields for them.
_FIELDS = frozenset({"uri", "scheme", "method", "authority"})
_PSEUDO = {":method": "method", ":scheme": "scheme", ":authority": "authority", ":path": "uri"}
_CLAIMS = "@request.auth.claims"


def check_match(resource: Resource, path: str, block: HTTPMatchRequest, report: Report) -> None:
    """Report what is wrong with one match block.

    Args:
        resource: whose it is.
        path: the field, such as `spec.http[0].match[0]`.
        block: what is written there.
        report: takes the problems.
    """
    if block == HTTPMatchRequest(name=block.name):
        report.warning(
            resource,
            path,
            "this block has no condition and so takes every call; add one, or remove match",
            SUSPICIOUS,
        )
    for field, match in _attributes(block):
        is_uri = field == "uri"
        check_string_match(
            resource,
            f"{path}.{field}",
            match,
            report,
            may_be_presence=False,
            may_be_any_prefix=is_uri,
        )
    _check_uri(resource, path, block, report)
    _check_method(resource, path, block, report)
    for field, matches in (("headers", block.headers), ("withoutHeaders", block.without_headers)):
        _check_headers(resource, f"{path}.{field}", matches or {}, report)
    for name, match in (block.query_params or {}).items():
        here = f"{path}.queryParams[{name}]"
        check_string_match(resource, here, match, report, may_be_presence=True)
    _check_source(resource, path, block, report)


def _attributes(block: HTTPMatchRequest) -> Iterator[tuple[str, StringMatch]]:
    for field in ("uri", "scheme", "method", "authority"):
        match = getattr(block, field)
        if match is not None:
            yield field, match


def _check_uri(resource: Resource, path: str, block: HTTPMatchRequest, report: Report) -> None:
    uri = block.uri
    if block.ignore_uri_case and (uri is None or uri.regex is not None):
        report.warning(
            resource,
            f"{path}.ignoreUriCase",
            "ignoreUriCase is for exact and prefix of uri only and changes nothing here; remove "
            "it, or begin the regex with (?i)",
            SUSPICIOUS,
        )
    if uri is None:
        return
    for word, value in (("exact", uri.exact), ("prefix", uri.prefix)):
        if value is None:
            continue
        if value and not value.startswith(("/", "*")):
            report.warning(
                resource,
                f"{path}.uri.{word}",
                f"no path begins with {brief(value)!r}; begin it with a slash",
                SUSPICIOUS,
            )
        elif "?" in value or "#" in value:
            report.warning(
                resource,
                f"{path}.uri.{word}",
                "the path is matched without its query, so this never holds; write queryParams",
                SUSPICIOUS,
            )


def _check_method(resource: Resource, path: str, block: HTTPMatchRequest, report: Report) -> None:
    match = block.method
    for word in ("exact", "prefix"):
        value = getattr(match, word) if match is not None else None
        if value and value != value.upper():
            report.warning(
                resource,
                f"{path}.method.{word}",
                f"methods are upper-case, so {brief(value)!r} never matches; write "
                f"{brief(value.upper())}",
                SUSPICIOUS,
            )


def _check_headers(
    resource: Resource, path: str, matches: Mapping[str, StringMatch], report: Report
) -> None:
    for name, match in matches.items():
        here = f"{path}[{name}]"
        field = _PSEUDO.get(name.lower()) or (name.lower() if name.lower() in _FIELDS else None)
        if name.startswith(_CLAIMS):
            report.error(
                resource,
                here,
                "claims of tokens are matched by gateways only, and there is none here; remove it",
                NOT_APPLICABLE,
            )
        elif field is not None:
            report.error(
                resource,
                here,
                f"{name} is not matched as a header; write it as `{field}` of the match",
            )
        elif not is_token(name):
            report.error(resource, here, f"{brief(name)!r} is no name of a header; mend it")
        check_string_match(resource, here, match, report, may_be_presence=True)


def _check_source(resource: Resource, path: str, block: HTTPMatchRequest, report: Report) -> None:
    check_labels(resource, f"{path}.sourceLabels", block.source_labels, report)
    namespace = block.source_namespace
    if namespace is not None and not is_name(namespace):
        report.error(
            resource,
            f"{path}.sourceNamespace",
            f"sourceNamespace is {brief(namespace)!r}; write a namespace, or remove it for any",
        )
    if not block.gateways:
        return
    for field, value in (("sourceLabels", block.source_labels), ("sourceNamespace", namespace)):
        if value:
            report.warning(
                resource,
                f"{path}.{field}",
                f"{field} is not looked at where the block has gateways of its own; remove one of "
                "the two",
                SUSPICIOUS,
            )
