"""Compare the names in a certificate with those that policy wants in it.

Source: Istio ClientTLSSettings.subjectAltNames; Envoy compares DNS names with RFC 6125's wildcard,
everything else letter by letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

__all__ = ["bears_one_of"]


def bears_one_of(certificate: Mapping[str, Any] | None, wanted: Iterable[str]) -> bool:
    """Say whether a certificate bears one of the names as a DNS, URI or IP subject alt name.

    Args:
        certificate: as `ssl.SSLSocket.getpeercert` returns it; None or empty bears nothing.
        wanted: DNS names, URIs and IP addresses. What kind one is of does not matter: a name that
            equals any of the certificate's is borne.
    """
    borne: Iterable[tuple[str, str]] = (certificate or {}).get("subjectAltName", ())
    return any(_is_same(kind, name, other) for kind, name in borne for other in wanted)


def _is_same(kind: str, borne: str, wanted: str) -> bool:
    if kind == "DNS":
        return _covers(borne.lower().rstrip("."), wanted.lower().rstrip("."))
    if kind == "URI":
        return borne == wanted
    if kind == "IP Address":
        return _address(borne) == (_address(wanted) or wanted)
    return False


def _covers(borne: str, wanted: str) -> bool:
    """Say whether a DNS name, perhaps with `*` for its first label, covers another."""
    if borne == wanted:
        return True
    first, _, rest = borne.partition(".")
    label, _, domain = wanted.partition(".")
    # RFC 6125, 6.4.3: it stands for one whole label, and never for a whole domain.
    return first == "*" and "." in rest and bool(label) and rest == domain


def _address(text: str) -> object:
    try:
        return ip_address(text.strip())
    except ValueError:
        return None
