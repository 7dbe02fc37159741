"""Say what is wrong with single values of networking kinds: hosts, labels, names, addresses.

Each function takes a value and returns what to write instead, or None where nothing is wrong.
Source: Istio's validation (RFC 1123 names), Kubernetes' syntax of labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from meshware.policy.addresses import UNIX_PREFIX, parse_block
from meshware.policy.names import is_ip

__all__ = [
    "bad_address",
    "bad_block",
    "bad_host",
    "bad_label",
    "bad_locality",
    "bad_service_account",
    "is_name",
    "is_token",
    "shown_labels",
]

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?")
_FIRST_LABEL = re.compile(r"\*|(\*-?)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?")
_LONGEST_LABEL = 63
_LONGEST_HOST = 253

_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_NAME = re.compile(
    rf"([A-Za-z0-9]([-A-Za-z0-9.]{{0,251}}[A-Za-z0-9])?/)?(?=.{{1,63}}$){_QUALIFIED}"
)
_LABEL_VALUE = re.compile(rf"(?=.{{0,63}}$)({_QUALIFIED})?")

# RFC 9110, 5.6.2: what the names of headers are made of.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_LONGEST_SOCKET = 107  # Linux, `sun_path` without its last byte
_LOCALITY_PARTS = 3  # region/zone/subzone
_SERVICE_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,253}")  # it becomes a segment of a SPIFFE ID


@lru_cache(maxsize=4096)  # one host is named by several resources
def bad_host(host: str, *, may_be_pattern: bool = True) -> str | None:
    """Return what to write instead of what is no host; None: it is one.

    Args:
        host: a name, an IP address, or a pattern whose `*` comes first.
        may_be_pattern: patterns are allowed.
    """
    if is_ip(host):
        return None
    if "://" in host or "/" in host:
        return "write the host alone, without a scheme or a path"
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and _is_name_or_pattern(name):
        return f"write it without its port: {name}"
    if not _is_name_or_pattern(host):
        return _how_to_write_hosts(host, may_be_pattern)
    if "*" in host and not may_be_pattern:
        return "write one host; a pattern cannot be called"
    return None


def _is_name_or_pattern(host: str) -> bool:
    if not 0 < len(host) <= _LONGEST_HOST:
        return False
    first, *others = host.split(".")
    return (
        len(first) <= _LONGEST_LABEL
        and _FIRST_LABEL.fullmatch(first) is not None
        and all(is_name(label) for label in others)
        and not (others and others[-1].isdigit())
    )


def _how_to_write_hosts(host: str, may_be_pattern: bool) -> str:
    if not host:
        return "write a host such as reviews"
    if host.endswith(".") and _is_name_or_pattern(host[:-1]):
        return f"write it without the last dot: {host[:-1]}"
    if "_" in host and _is_name_or_pattern(host.replace("_", "-")):
        return "a host has no underscores; write hyphens"
    if "*" in host[1:]:
        return "a `*` can only come first, as in *.example.com; write one pattern or one host"
    if may_be_pattern:
        return "write a host such as reviews, or a pattern such as *.example.com"
    return "write a host such as reviews: letters, digits, hyphens and dots"


def is_name(text: str) -> bool:
    """Say whether a text is one label of a DNS name: of a namespace, a subset, a port."""
    return len(text) <= _LONGEST_LABEL and _LABEL.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Say whether a text may be the name of a header."""
    return _TOKEN.fullmatch(text) is not None


def bad_label(name: str, value: str) -> str | None:
    """Return what to write instead of what is no label of a workload; None: it is one."""
    if "*" in name or "*" in value:
        return "labels have no wildcards; write a name and a value"
    if not _LABEL_NAME.fullmatch(name):
        return "the name of a label is letters, digits, `-`, `_` and `.`, 63 characters at most"
    if not _LABEL_VALUE.fullmatch(value):
        return "the value of a label is letters, digits, `-`, `_` and `.`, 63 characters at most"
    return None


def shown_labels(labels: Mapping[str, str]) -> str:
    """Return labels as a message names them: `app=reviews, version=v2`."""
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def bad_address(
    address: str, *, may_be_name: bool = False, may_be_socket: bool = True
) -> str | None:
    """Return what to write instead of what is no endpoint's address; None: it is one.

    Args:
        address: an IP address, a name, or a Unix socket.
        may_be_name: names are looked up, with the resolution of this service.
        may_be_socket: Unix sockets are taken, with the resolution of this service.
    """
    if "%" not in address and is_ip(address):
        return None
    if address.startswith("unix:"):
        if not may_be_socket:
            return "Unix sockets need resolution: STATIC; write that, or an IP address or a name"
        return _bad_socket(address)
    name, colon, port = address.rpartition(":")
    bare = name.removeprefix("[").removesuffix("]")
    if colon and port.isdigit() and (is_ip(bare) or _is_name_or_pattern(bare)):
        return f"write it without its port: {bare}; the port belongs into `ports`"
    if address.startswith("[") and is_ip(address.removeprefix("[").removesuffix("]")):
        return "write it without the brackets"
    if is_ip(address):
        return "write it without its zone"
    if not _is_name_or_pattern(address):
        return "write an IP address or a name" if may_be_name else "write an IP address"
    if "*" in address:
        return "a pattern cannot be called; write an IP address or a name"
    return None if may_be_name else "names need resolution: DNS; write that, or an IP address"


def _bad_socket(address: str) -> str | None:
    path = address.removeprefix(UNIX_PREFIX)
    is_abstract = path.startswith("@") and len(path) > 1
    if path == address or not (path.startswith("/") or is_abstract):
        return (
            "write unix:/// and an absolute path, as in unix:///run/reviews.sock, or unix://@ and "
            "an abstract name"
        )
    if path.endswith("/") and not is_abstract:
        return "a socket is no directory; write its whole path"
    if len(path.encode()) > _LONGEST_SOCKET or "\0" in path:
        return f"the path of a socket has {_LONGEST_SOCKET} bytes at most; write a shorter one"
    return None


def bad_block(address: str) -> str | None:
    """Return what to write instead of what is no address of a service; None: it is one."""
    try:
        parse_block(address)
    except ValueError:
        return "write an IP address, or a block such as 10.1.0.0/16"
    return "write it without its zone" if "%" in address else None


def bad_locality(locality: str) -> str | None:
    """Return what to write instead of what is no locality; None: it is one."""
    parts = locality.split("/")
    if len(parts) > _LOCALITY_PARTS or "" in parts or "*" in locality:
        return "write region, region/zone or region/zone/subzone"
    return None


def bad_service_account(name: str) -> str | None:
    """Return what to write instead of what is no service account; None: it is one."""
    if _SERVICE_ACCOUNT.fullmatch(name):
        return None
    if "/" in name:
        return "write the account's name alone; its namespace is the resource's"
    return "write letters, digits, dots, hyphens and underscores, 253 characters at most"
