"""Addresses of keys, read strictly: two readers of one text must not find two hosts in it.

Source: RFC 3986; what libraries take in its place is refused (backslashes, users, blanks).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from meshware.policy.names import is_ip

__all__ = ["KeyUrl", "bad_host", "joined_url", "parse_key_url", "plain_host", "shown_url"]

_PORTS = {"https": 443, "http": 80}
_MOST = 2048  # characters
_WRITTEN = re.compile(r"[!-~]+")
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")
_ASIDE = frozenset('\\"<>^`{|}')


@dataclass(frozen=True, slots=True)
class KeyUrl:
    """Where to ask, taken apart."""

    scheme: str  # "https" or "http"
    host: str  # lower case; an IPv6 address is without brackets
    port: int
    target: str  # path and query

    @property
    def authority(self) -> str:
        """What `Host` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Whom it is about: no redirect leads away from there."""
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        """Return it as it is asked for."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_key_url(written: str) -> KeyUrl:
    """Return the parts of an address.

    Raises:
        ValueError: it is none that keys can be fetched from; the message says what to write.
    """
    if len(written) > _MOST:
        raise ValueError(f"it is longer than {_MOST} characters")
    if not _WRITTEN.fullmatch(written) or not _ASIDE.isdisjoint(written):
        raise ValueError("it has characters that no address has; write them as %XX, or remove them")
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError as error:
        raise ValueError("its host or port cannot be read") from error
    if parts.scheme not in _PORTS:
        raise ValueError("write an address that begins with https://")
    if "@" in parts.netloc:
        raise ValueError("it has a user or password, which everybody could read; remove them")
    if "#" in written:
        raise ValueError("it has a fragment, which no server sees; remove it from # on")
    host = plain_host(parts.hostname or "")
    if bad_host(host):
        raise ValueError("its host is neither a name nor an IP address")
    if port == 0:
        raise ValueError("its port is 0; write 1 to 65535")
    target = parts.path or "/"
    if "?" in written:
        target += f"?{parts.query}"
    return KeyUrl(parts.scheme, host, port or _PORTS[parts.scheme], target)


def joined_url(base: KeyUrl, location: str) -> KeyUrl:
    """Return where a redirect leads.

    Raises:
        ValueError: nowhere.
    """
    if not _WRITTEN.fullmatch(location):
        raise ValueError("it has characters that no address has")
    return parse_key_url(urljoin(str(base), location))


def plain_host(host: str) -> str:
    """Return a host as hosts are compared: in lower case, without a last dot."""
    return host.lower().removesuffix(".")


def bad_host(host: str) -> bool:
    """Say whether a host, as `plain_host` has it, is neither a name nor an IP address."""
    return "%" in host or (not is_ip(host) and not _NAME.fullmatch(host))


def shown_url(written: str) -> str:
    """Return an address as people are told of it: a query may hold what is for nobody else."""
    url, question, _ = written.partition("?")
    return f"{url}?..." if question else url
