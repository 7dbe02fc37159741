"""Where an attempt dials: a host or an IP address, or the path of a Unix socket.

Policy writes `unix:///run/app.sock`, or `unix://@name` for a socket of Linux's abstract namespace.
Client libraries hand addresses on as hosts, some in small letters and in ASCII only, so a path goes
through them in a form that no host has.
"""

from __future__ import annotations

__all__ = ["from_host", "to_host", "unix_path"]

_UNIX = "unix://"
_AS_HOST = "!unix!"


def unix_path(address: str) -> str | None:
    """Return the path of a Unix socket, as `socket.connect` takes it; None: it is none."""
    if not address.startswith(_UNIX):
        return None
    path = address.removeprefix(_UNIX)
    return f"\0{path[1:]}" if path.startswith("@") else path


def to_host(address: str) -> str:
    """Return an address as it goes through a client library: small letters and digits."""
    if not address.startswith(_UNIX):
        return address
    return _AS_HOST + address.removeprefix(_UNIX).encode().hex()


def from_host(host: str) -> str:
    """Return the address again that `to_host` was given."""
    if not host.startswith(_AS_HOST):
        return host
    return _UNIX + bytes.fromhex(host.removeprefix(_AS_HOST)).decode()
