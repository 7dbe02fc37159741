"""Who may see the dashboard: the machine itself, or whoever knows the token.

Without a token only requests whose Host names the loopback are answered: a page elsewhere can make
a browser resolve its own name to 127.0.0.1 (DNS rebinding), but the Host it sends stays its own.
With a token everything needs it: once as `/?token=...`, which is exchanged for a cookie that no
script reads and no other site sends along.
"""

from __future__ import annotations

import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

__all__ = [
    "COOKIE",
    "HEADERS",
    "Access",
    "is_local_name",
    "is_loopback",
    "is_own_origin",
    "to_open",
]

COOKIE = "meshware_dashboard"

_OTHERS = frozenset({"cross-site", "same-site"})  # Source: W3C, "Fetch Metadata"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer. No script or style is inline, and the page loads nothing from elsewhere."""


def is_loopback(host: str) -> bool:
    """Say whether a name or address, without its port, is this machine's loopback."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def to_open(host: str) -> str:
    """Return the host at which this machine finds what listens at one, both without port.

    Whoever listens at all addresses, as 0.0.0.0 or [::], is not called by that name.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def is_local_name(host: str) -> bool:
    """Say whether a Host header names this machine's loopback, whatever its port."""
    return is_loopback(_without_port(host))


def is_own_origin(origin: str, host: str) -> bool:
    """Say whether an Origin header names the host and port of the Host header.

    The scheme is not compared: a proxy before the dashboard may end TLS. "null" is nobody's own.
    Source: RFC 6454; browsers send Sec-Fetch-Site to trustworthy addresses alone, Origin to all.
    """
    try:
        named = urlsplit(origin)
        default = {"http": 80, "https": 443}.get(named.scheme)
        asked = urlsplit(f"//{host}")
        return (
            default is not None
            and bool(named.hostname)
            and named.hostname == asked.hostname
            and (named.port or default) == (asked.port or default)
        )
    except ValueError:
        return False


class Access:
    """Decides who is let in.

    Args:
        token: that everybody has to know; None: the loopback is let in, and nobody else is there.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = None if token is None else token.encode()

    def refusal(
        self, host: str, cookie: str, site: str = "", origin: str | None = None
    ) -> str | None:
        """Return why a request is refused; None: it may be answered.

        Args:
            host: the Host header.
            cookie: the Cookie header.
            site: the Sec-Fetch-Site header of a request that is none for a page to be shown; ""
                where the client is no browser.
            origin: the Origin header; None: there is none.
        """
        if site in _OTHERS or not (origin is None or is_own_origin(origin, host)):
            return "another site's page asks, which has no business here"
        if self._token is not None:
            try:
                morsel = SimpleCookie(cookie).get(COOKIE)
            except CookieError:
                morsel = None
            if morsel is not None and hmac.compare_digest(morsel.value.encode(), self._token):
                return None
            return "the dashboard needs its token: open /?token=TOKEN once"
        if is_local_name(host):
            return None
        return "the dashboard is asked for by a loopback name, as http://127.0.0.1 or localhost"

    def is_presented(self, query: str) -> bool:
        """Say whether a query string presents the token."""
        try:
            given = parse_qs(query, max_num_fields=20).get("token", [""])[0]
        except ValueError:
            return False  # more of them than anybody sends
        return self._token is not None and hmac.compare_digest(given.encode(), self._token)

    @property
    def cookie(self) -> str:
        """The Set-Cookie that stands for the token."""
        value = "" if self._token is None else self._token.decode()
        return f"{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict"
