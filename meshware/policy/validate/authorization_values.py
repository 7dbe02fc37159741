"""Say what is wrong with single values of an AuthorizationPolicy.

An error is a value that is no value of its field. A doubt is one that Istio takes and that cannot
mean what its author thinks, most often because nothing ever matches it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from meshware.policy.addresses import parse_block
from meshware.policy.match import PathTemplate, is_path_template
from meshware.policy.yaml12 import brief

__all__ = [
    "MAX_ACCOUNTS",
    "OPERATION_DOUBTS",
    "OPERATION_ERRORS",
    "PEER_KEY_TESTS",
    "SOURCE_DOUBTS",
    "SOURCE_ERRORS",
    "USER_KEY_TESTS",
    "Test",
    "block",
    "is_token",
    "nothing",
    "port",
    "star_within",
]

# RFC 9110, 5.6.2: what methods and header names are made of.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BLOCK = re.compile(r"[0-9a-fA-F.:]+(/(0|[1-9][0-9]{0,2}))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
# RFC 3986: a host with its port, be it a name or an address, and nothing of a URL around it.
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()+,;=%:\[\]-]*")
# RFC 3986, pchar: what a literal segment of a template may hold.
_NEVER_PLAIN = re.compile(r"[\x00-\x20\x7f\"<>^`|]")  # no path has them other than escaped
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SEGMENT = re.compile(r"([A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})*")

Test = Callable[[str], "str | None"]
"""Takes a value; returns what is wrong with it and what to write, or None."""


def nothing(_value: str) -> str | None:
    """Find nothing wrong."""
    return None


def block(value: str) -> str | None:
    """Return what to write instead of what is neither an address nor a block."""
    remedy = "write an IP address or a block such as 10.0.0.0/8"
    if not _BLOCK.fullmatch(value):
        return remedy
    try:
        parse_block(value)
    except ValueError:
        return remedy
    return None


def is_token(text: str) -> bool:
    """Say whether a text may be a method or the name of a header."""
    return _TOKEN.fullmatch(text) is not None


def port(value: str) -> str | None:
    """Return what to write instead of what is no port."""
    if _PORT.fullmatch(value) and int(value) <= 65535:
        return None
    return 'write a port from 1 to 65535 as text, such as "8080"'


def _method(value: str) -> str | None:
    return None if is_token(value) else "write a method, such as GET"


def _method_doubt(value: str) -> str | None:
    if value != value.upper():
        return f"methods are told apart by case; write {value.upper()}"
    return star_within(value)


def _host(value: str) -> str | None:
    if _HOST.fullmatch(_without_wildcard(value)):
        return None
    return "write a host as in the Host header; `*` may only stand first or last"


def _path(value: str) -> str | None:
    if not is_path_template(value):
        return None
    try:
        PathTemplate(value)
    except ValueError as error:
        return f"mend the template: {str(error).rpartition(repr(value) + ': ')[2]}"
    for segment in value.split("/"):
        if segment not in ("{*}", "{**}") and not _SEGMENT.fullmatch(segment):
            return f"{brief(segment)!r} cannot stand in a path; write it percent-encoded"
    return None


def _path_doubt(value: str) -> str | None:
    """Tell of a path that no request ever has."""
    if not value.startswith(("/", "*")):
        return f"a path begins with a slash, so nothing matches; write /{brief(value)}"
    if "?" in value or "#" in value:
        return "paths are compared without query and fragment, so nothing matches; cut them off"
    if not value.isascii():
        return "paths are compared percent-encoded, so nothing matches; write it so"
    if is_path_template(value):
        return _escape_doubt(value)
    if "{" in value:
        return "braces are plain characters here; write {*} for a segment, {**} for any rest"
    if odd := _NEVER_PLAIN.search(value):
        return (
            f"paths are compared percent-encoded, so nothing matches; write "
            f"%{ord(odd[0]):02X} for {odd[0]!r}"
        )
    return _escape_doubt(value) or star_within(value, "; write {*} for a segment")


def _escape_doubt(value: str) -> str | None:
    """Tell of an escape that is decoded before paths are compared."""
    for found in _ESCAPE.finditer(value):
        code = int(found[1], 16)
        if chr(code) in "/\\":
            return (
                f"{found[0]} is decoded to a slash before paths are compared, unless MeshConfig's "
                "pathNormalization says otherwise, so nothing matches; write /"
            )
        if chr(code) in _UNRESERVED:
            return (
                f"{found[0]} is decoded before paths are compared, so nothing matches; write "
                f"{chr(code)}"
            )
    return None


def star_within(value: str, remedy: str = "") -> str | None:
    """Tell of a `*` that is no wildcard where it stands."""
    if "*" in _without_wildcard(value):
        return (
            f"only a `*` that is first or last is a wildcard, others are plain characters{remedy}"
        )
    return None


def _without_wildcard(value: str) -> str:
    """Return what is compared literally, as `match.Patterns` takes a value apart."""
    if value.endswith("*"):
        return value[:-1]
    return value[1:] if value.startswith("*") else value


def principal(value: str) -> str | None:
    """Return what to write instead of what can be no principal."""
    if value.startswith("spiffe:"):
        return "write it without spiffe://, such as cluster.local/ns/default/sa/web"
    if "*" in _without_wildcard(value):
        return "only a `*` that is first or last is a wildcard; write several values"
    if not _PRINCIPAL.fullmatch(_without_wildcard(value)):
        return "no principal has such characters; write trust-domain/ns/NAMESPACE/sa/ACCOUNT"
    return None


def principal_doubt(value: str) -> str | None:
    """Tell of a principal that nobody has."""
    if "*" not in value and value.count("/") < 2:
        return "a principal is trust-domain/ns/NAMESPACE/sa/ACCOUNT, so nothing matches"
    return None


def namespace(value: str) -> str | None:
    """Return what to write instead of what can be no namespace."""
    if not _NAMESPACE.fullmatch(value):
        return "write a namespace: lower-case letters, digits and hyphens; `*` stands for any"
    return None


def service_account(value: str) -> str | None:
    """Return what to write instead of what names no service account."""
    if not _ACCOUNT.fullmatch(value):
        return "write ACCOUNT or NAMESPACE/ACCOUNT; wildcards stand in principals only"
    return None


def trust_domain(value: str) -> str | None:
    """Return what to write instead of what can be no trust domain."""
    if not _DOMAIN.fullmatch(_without_wildcard(value)) or value.count("*") > 1:
        return "write a trust domain; one `*` may stand first or last"
    return None


def request_principal_doubt(value: str) -> str | None:
    """Tell of an end user whom no token can name."""
    issuer, slash, subject = value.rpartition("/")
    if not slash:
        if "*" in value:
            return star_within(value)
        return "a request principal is ISSUER/SUBJECT, so nothing matches; write ISSUER/* for all"
    if value.startswith("*"):
        odd = issuer[1:] + subject
    elif value.endswith("*"):
        odd = issuer + subject[:-1]
    else:
        odd = value
    if "*" in odd:
        return (
            "a `*` is a wildcard where the value begins with it, or ends with it; others are plain "
            "characters"
        )
    return None


_PRINCIPAL = re.compile(r"[A-Za-z0-9._/-]*")
_NAMESPACE = re.compile(r"[a-z0-9*-]+")
_ACCOUNT = re.compile(r"([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9._-]*")

MAX_ACCOUNTS = 16
"""Istio's: no more stand in one `serviceAccounts`."""

SOURCE_ERRORS: Mapping[str, Test] = MappingProxyType(
    {
        "ip_blocks": block,
        "not_ip_blocks": block,
        "remote_ip_blocks": block,
        "not_remote_ip_blocks": block,
        "request_principals": nothing,
        "not_request_principals": nothing,
        "principals": principal,
        "not_principals": principal,
        "namespaces": namespace,
        "not_namespaces": namespace,
        "service_accounts": service_account,
        "not_service_accounts": service_account,
        "trust_domains": trust_domain,
        "not_trust_domains": trust_domain,
    }
)
SOURCE_DOUBTS: Mapping[str, Test] = MappingProxyType(
    {
        "principals": principal_doubt,
        "not_principals": principal_doubt,
        "request_principals": request_principal_doubt,
        "not_request_principals": request_principal_doubt,
    }
)
USER_KEY_TESTS: Mapping[str, tuple[Test, Test]] = MappingProxyType(
    {
        "request.auth.principal": (nothing, request_principal_doubt),
        "request.auth.audiences": (nothing, star_within),
        "request.auth.presenter": (nothing, star_within),
    }
)
"""The tests of the values of `when` keys that are about the end user."""

PEER_KEY_TESTS: Mapping[str, tuple[Test, Test]] = MappingProxyType(
    {
        "source.principal": (principal, principal_doubt),
        "source.namespace": (namespace, nothing),
        "source.serviceAccount": (service_account, nothing),
        "source.trustDomain": (trust_domain, nothing),
        "connection.sni": (nothing, star_within),
    }
)
"""The tests of the values of `when` keys that are about the caller and its connection."""

OPERATION_ERRORS: Mapping[str, Test] = MappingProxyType(
    {
        "hosts": _host,
        "not_hosts": _host,
        "ports": port,
        "not_ports": port,
        "methods": _method,
        "not_methods": _method,
        "paths": _path,
        "not_paths": _path,
    }
)
OPERATION_DOUBTS: Mapping[str, Test] = MappingProxyType(
    {
        "methods": _method_doubt,
        "not_methods": _method_doubt,
        "paths": _path_doubt,
        "not_paths": _path_doubt,
    }
)
