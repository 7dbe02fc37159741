"""What entries of access logs have in common: addresses, and headers when all is done to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from meshware.call import HeaderLookup, MessageEdit

__all__ = [
    "ORIGINAL_PATH",
    "SERVICE_TIME",
    "Address",
    "edited",
    "first",
    "milliseconds",
    "no_headers",
]

ORIGINAL_PATH = "x-envoy-original-path"
SERVICE_TIME = "x-envoy-upstream-service-time"


class Address(NamedTuple):
    """An address, with its port where that is known."""

    ip: str
    port: int | None

    @property
    def text(self) -> str:
        """As Envoy writes it; port 0 where none is known."""
        if self.ip.startswith("unix:"):
            return self.ip
        return f"{self.bare}:{self.port or 0}"

    @property
    def bare(self) -> str:
        """Without its port, in the brackets that it has with one."""
        return f"[{self.ip}]" if ":" in self.ip else self.ip

    @classmethod
    def of(cls, key: str) -> Address:
        """Return that of an endpoint: "address:port" or "unix:///path"."""
        if key.startswith("unix:"):
            return cls(key, None)
        host, _, port = key.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        return cls(host, int(port)) if port.isdecimal() and host else cls(key, None)


def first(values: Sequence[str]) -> str | None:
    """Return the first line of a header; None: there is none."""
    return values[0] if values else None


def no_headers(_: str) -> Sequence[str]:
    """Look up headers where there are none."""
    return ()


def edited(headers: HeaderLookup, edit: MessageEdit | None, name: str) -> str | None:
    """Return the first line of a header, as it is when all changes are made."""
    found = None if edit is not None and name in edit.drop else first(headers(name))
    if found is None and edit is not None:
        for added, value in edit.append:
            if added.lower() == name:
                return value
    return found


def milliseconds(seconds: float | None) -> str | None:
    """Return whole milliseconds, as a header would have them."""
    return None if seconds is None else str(round(seconds * 10**9) // 10**6)
