"""Look one name up: in `/etc/hosts`, then by DNS. What comes of it is a value, never an exception.

With dnspython (extras `sync` and `dns`) answers have their TTL. Without it the system's own
resolver is asked, which knows none. Addresses of IPv4 are preferred, as with a sidecar: those of
IPv6 count where there are no others.
"""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshware.errors import SettingsError
from meshware.policy.names import is_ip
from meshware.runtime.dns_schedule import Bad, Good, Outcome, usable

if TYPE_CHECKING:
    from dns.resolver import Resolver

__all__ = ["Lookup", "Server", "lookup_for", "parse_servers"]

Lookup = Callable[[str], Outcome]
"""Look a name up, from any thread; may take `LIFETIME_S`, or what the system's resolver takes."""

Server = tuple[str, int]
"""IP address and port of a DNS server."""

LIFETIME_S = 5.0
"""For one look-up over all servers and retries; the last good answer holds meanwhile."""

_HOSTS = Path("/etc/hosts")
_RESOLV_CONF = Path("/etc/resolv.conf")
_PORT = 53


def parse_servers(written: str, source: str) -> tuple[Server, ...]:
    """Return the DNS servers that a text names: `10.0.0.2`, `127.0.0.1:8600,[::1]:8600`.

    Raises:
        SettingsError: one is none, or dnspython is missing; the message names `source`.
    """
    servers = tuple(_server(part.strip(), source) for part in written.split(",") if part.strip())
    if servers and importlib.util.find_spec("dns") is None:
        raise SettingsError(
            f"{source} names a DNS server, and to ask one of one's own takes dnspython: install "
            "meshware[dns], or name none"
        )
    return servers


def _server(written: str, source: str) -> Server:
    host, colon, port = written.rpartition(":")
    if not colon or is_ip(written):
        host, port = written, str(_PORT)
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535
    if not is_ip(host) or not is_port:
        raise SettingsError(
            f"{source} is {written[:80]!r}; write the IP address of a DNS server, with a port "
            "where it is not 53, as 127.0.0.1:8600 or [::1]:8600"
        )
    return host, int(port)


def lookup_for(
    servers: Sequence[Server] = (),
    *,
    hosts: Path = _HOSTS,
    resolv_conf: Path = _RESOLV_CONF,
) -> Lookup:
    """Return the way to look names up on this machine. Loads dnspython, which takes a moment.

    Args:
        servers: asked in place of those in `resolv_conf`; its search domains hold all the same.
        hosts: the hosts file.
        resolv_conf: the resolver's settings; read anew when it has changed.
    """
    try:
        import dns.resolver  # noqa: F401
    except ImportError:
        return _by_the_system
    return _Dns(servers, hosts, resolv_conf)


class _Dns:
    """Looks names up by dnspython."""

    def __init__(self, servers: Sequence[Server], hosts: Path, resolv_conf: Path) -> None:
        self._servers = servers
        self._hosts = _Followed(hosts, _read_hosts)
        self._resolver = _Followed(resolv_conf, self._make_resolver)

    def __call__(self, name: str) -> Outcome:
        written = self._hosts.get() or {}
        if name in written:
            return _preferred(written[name], None)
        resolver = self._resolver.get()
        if resolver is None:
            return Bad("error", "there is no DNS server: none is named in resolv.conf")
        return _ask(resolver, name)

    def _make_resolver(self, path: Path) -> Resolver | None:
        import dns.exception
        import dns.nameserver
        import dns.resolver

        resolver = dns.resolver.Resolver(configure=False)
        try:
            resolver.read_resolv_conf(str(path))
        except (OSError, dns.exception.DNSException):
            if not self._servers:
                return None
        if self._servers:
            resolver.nameservers = [
                dns.nameserver.Do53Nameserver(host, port) for host, port in self._servers
            ]
        resolver.lifetime = LIFETIME_S
        return resolver if resolver.nameservers else None


def _ask(resolver: Resolver, name: str) -> Outcome:
    import dns.exception
    import dns.resolver

    try:
        answer = resolver.resolve(name, "A", search=True, raise_on_no_answer=False)
        if answer.rrset is None:
            answer = resolver.resolve(name, "AAAA", search=True, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return Bad("nxdomain", "no such name (NXDOMAIN)")
    except dns.resolver.LifetimeTimeout:
        return Bad("timeout", f"no DNS server answered within {LIFETIME_S:.0f} s")
    except dns.resolver.NoNameservers as error:
        return Bad("servfail", _why_servers_failed(error))
    except (dns.exception.DNSException, OSError) as error:
        return Bad("error", " ".join(str(error).split())[:200] or type(error).__name__)
    if answer.rrset is None:
        return Bad("nodata", "the name has no address (neither A nor AAAA)")
    records: Iterable[Any] = answer.rrset
    return _preferred([record.address for record in records], answer.chaining_result.minimum_ttl)


def _why_servers_failed(error: Exception) -> str:
    """Return what the servers said, once for each: dnspython's own message is about itself."""
    said = dict.fromkeys(str(each[3] or each[4]) for each in getattr(error, "errors", ()))
    return f"every DNS server failed ({', '.join(said)[:150] or 'SERVFAIL'})"


def _by_the_system(name: str) -> Outcome:
    """Look a name up by the system's resolver, whatever it is made of."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            return Bad("nxdomain", "no such name")
        if error.errno == socket.EAI_AGAIN:
            return Bad("servfail", "the DNS servers fail or do not answer")
        return Bad("error", str(error.strerror))
    except (OSError, UnicodeError) as error:
        return Bad("error", str(error))
    return _preferred([str(address[4][0]) for address in found], None)


def _preferred(addresses: Sequence[str], ttl_s: float | None) -> Outcome:
    """Return an answer of the addresses that can be dialled, of IPv4 if there are any."""
    found = usable(addresses)
    if not found:
        said = ", ".join(addresses[:5])
        return Bad("unusable", f"the answer has nothing to be dialled ({said})")
    return Good(tuple(each for each in found if ":" not in each) or found, ttl_s)


# --- files that may change ------------------------------------------------------------------------


class _Followed:
    """What was made of a file, made anew when the file has changed."""

    def __init__(self, path: Path, make: Callable[[Path], Any]) -> None:
        self._path = path
        self._make = make
        self._made: tuple[object, Any] | None = None  # replaced whole: threads may meet here

    def get(self) -> Any:
        try:
            about = os.stat(self._path)
            signature: object = (about.st_ino, about.st_size, about.st_mtime_ns)
        except OSError:
            signature = None
        made = self._made
        if made is None or made[0] != signature:
            made = self._made = (signature, self._make(self._path))
        return made[1]


def _read_hosts(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if is_ip(address.partition("%")[0]):
            for name in names:
                found.setdefault(name.lower().removesuffix("."), []).append(address)
    return found
