"""What access logs say of certificates, as BoringSSL writes it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Certificate", "certificate"]


class Certificate(NamedTuple):
    """What a log says of a certificate."""

    subject: str
    issuer: str
    serial: str
    begins: datetime
    ends: datetime


@lru_cache(maxsize=256)
def certificate(der: bytes) -> Certificate | None:
    """Read a certificate; None: it is none."""
    from cryptography import x509  # not light, and not everybody's

    from meshware.identity.xfcc import subject_text

    try:
        found = x509.load_der_x509_certificate(der)
        return Certificate(
            subject_text(found.subject),
            subject_text(found.issuer),
            _in_bytes(f"{found.serial_number:x}"),
            found.not_valid_before_utc,
            found.not_valid_after_utc,
        )
    except ValueError:
        return None


def _in_bytes(digits: str) -> str:
    """Return hex digits as BoringSSL writes a number: two for each byte."""
    return digits.zfill(len(digits) + len(digits) % 2)
