"""SPIFFE IDs: the names of workloads, and the trust domains that they belong to.

Source: The SPIFFE Identity and Verifiable Identity Document (SPIFFE-ID), 2.1 to 2.4; Istio for the
form `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from meshware.errors import IdentityError

__all__ = ["MAX_ID_BYTES", "SpiffeID", "is_trust_domain", "workload_id"]

MAX_ID_BYTES = 2048
"""SPIFFE-ID 2.3: an implementation must take so many, and nobody may make more."""

_SCHEME = "spiffe://"
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


def is_trust_domain(text: str) -> bool:
    """Say whether a text is the name of a trust domain (SPIFFE-ID 2.1)."""
    return _TRUST_DOMAIN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, order=True)
class SpiffeID:
    """The name of a workload, checked. `str()` gives it back letter by letter.

    Attributes:
        trust_domain: whose authorities vouch for it.
        path: with its leading slash; never empty, so this is no trust domain's own ID.
    """

    trust_domain: str
    path: str

    def __post_init__(self) -> None:
        problem = _problem(self.trust_domain, self.path)
        if problem is not None:
            raise IdentityError(f"this is no SPIFFE ID: {problem}")

    @classmethod
    def parse(cls, text: str) -> SpiffeID:
        """Read `spiffe://trust-domain/path`.

        Raises:
            IdentityError: it is not one; the text says what is wrong with it, and never repeats it.
        """
        if not text.startswith(_SCHEME):
            raise IdentityError("this is no SPIFFE ID: it does not begin with spiffe://")
        trust_domain, slash, rest = text[len(_SCHEME) :].partition("/")
        return cls(trust_domain, slash + rest)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"

    @property
    def principal(self) -> str:
        """As Istio's policies name it: without the scheme."""
        return f"{self.trust_domain}{self.path}"

    @property
    def namespace(self) -> str | None:
        """The namespace of an ID of Istio's form; None for any other."""
        segments = self.path.split("/")
        return segments[2] if _is_workload(segments) else None

    @property
    def service_account(self) -> str | None:
        """The service account of an ID of Istio's form; None for any other."""
        segments = self.path.split("/")
        return segments[4] if _is_workload(segments) else None


def workload_id(trust_domain: str, namespace: str, service_account: str) -> SpiffeID:
    """Return the ID of a service account's workloads.

    Raises:
        IdentityError: a part cannot stand in an ID.
    """
    for part in (namespace, service_account):
        if "/" in part:
            raise IdentityError("this is no SPIFFE ID: a name in it has a slash")
    return SpiffeID(trust_domain, f"/ns/{namespace}/sa/{service_account}")


def _is_workload(segments: list[str]) -> bool:
    return len(segments) == 5 and segments[1] == "ns" and segments[3] == "sa"


def _problem(trust_domain: str, path: str) -> str | None:
    if not is_trust_domain(trust_domain):
        return "its trust domain is not 1 to 255 of a-z, 0-9, '.', '-' and '_'"
    if not path.startswith("/") or path == "/":
        return "it has no path"
    for segment in path[1:].split("/"):
        if segment in ("", ".", ".."):
            return "a segment of its path is empty, '.' or '..'"
        if not _SEGMENT.fullmatch(segment):
            return "a segment of its path is not of A-Z, a-z, 0-9, '.', '-' and '_'"
    if len(_SCHEME) + len(trust_domain) + len(path) > MAX_ID_BYTES:
        return f"it is longer than {MAX_ID_BYTES} bytes"
    return None
