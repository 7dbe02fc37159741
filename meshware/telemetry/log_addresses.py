"""Operators of access logs that tell who was at either end of a connection.

Source: Envoy, "Substitution Formatter".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_network

from meshware.telemetry.log_entry import Entry, Maker, Value, ValueOf
from meshware.telemetry.log_message import Address

__all__ = ["MAKERS", "PLAIN"]

AddressOf = Callable[[Entry], Address | None]


def _with_port(of: AddressOf) -> ValueOf:
    def value(entry: Entry) -> Value:
        found = of(entry)
        return None if found is None else found.text

    return value


def _port(of: AddressOf) -> ValueOf:
    def value(entry: Entry) -> Value:
        found = of(entry)
        return None if found is None else found.port

    return value


def _without_port(of: AddressOf) -> Maker:
    def maker(argument: str) -> ValueOf:
        def value(entry: Entry) -> Value:
            found = of(entry)
            if found is None or not argument:
                return None if found is None else found.ip
            return _masked(found.ip, int(argument))

        return value

    return maker


@lru_cache(maxsize=1024)
def _masked(ip: str, prefix: int) -> str | None:
    """Return the network of an address; None: there is none with such a prefix."""
    try:
        return str(ip_network(f"{ip}/{prefix}", strict=False))
    except ValueError:
        return None


def _upstream(entry: Entry) -> Address | None:
    return entry.upstream


def _remote(entry: Entry) -> Address | None:
    return entry.remote


def _direct_remote(entry: Entry) -> Address | None:
    return entry.direct_remote


def _local(entry: Entry) -> Address | None:
    return entry.local


def _tried(entry: Entry) -> Value:
    return ",".join(each.text for each in entry.tried) or None


def _tried_bare(entry: Entry) -> Value:
    return ",".join(each.ip for each in entry.tried) or None


MAKERS: dict[str, Maker] = {
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": _without_port(_upstream),
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": _without_port(_remote),
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": _without_port(_direct_remote),
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": _without_port(_local),
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT": _without_port(_local),
}

PLAIN: dict[str, ValueOf] = {
    "UPSTREAM_HOST": _with_port(_upstream),
    "UPSTREAM_HOST_NAME": _with_port(_upstream),
    "UPSTREAM_HOST_NAME_WITHOUT_PORT": _without_port(_upstream)(""),
    "UPSTREAM_HOSTS_ATTEMPTED": _tried,
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT": _tried_bare,
    "UPSTREAM_HOST_NAMES_ATTEMPTED": _tried,
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT": _tried_bare,
    "UPSTREAM_REMOTE_ADDRESS": _with_port(_upstream),
    "UPSTREAM_REMOTE_PORT": _port(_upstream),
    "DOWNSTREAM_REMOTE_ADDRESS": _with_port(_remote),
    "DOWNSTREAM_REMOTE_PORT": _port(_remote),
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": _with_port(_direct_remote),
    "DOWNSTREAM_DIRECT_REMOTE_PORT": _port(_direct_remote),
    "DOWNSTREAM_LOCAL_ADDRESS": _with_port(_local),
    "DOWNSTREAM_LOCAL_PORT": _port(_local),
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS": _with_port(_local),
    "DOWNSTREAM_DIRECT_LOCAL_PORT": _port(_local),
}
