"""Names for calls: request ids, made from a source of chance that is handed in."""

from __future__ import annotations

from random import Random

__all__ = ["new_request_id"]


def new_request_id(rng: Random) -> str:
    """Return a random UUID (version 4) for `x-request-id`. Source: RFC 9562, 5.4."""
    text = f"{rng.getrandbits(128):032x}"
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"
