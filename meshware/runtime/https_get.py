"""Get one document from an address that policy names, and never more than policy allows.

Whoever writes an address into policy, or answers at one, would have this process call places that
he cannot reach himself, wait for ever, or fill its memory. So, in this order:

1. https; plain http only where the MeshConfig names the host.
2. The name is looked up once. *Every* address of the answer that could be dialled is judged
   (`policy.internal_addresses`), and the connection goes to one of those: no second look-up could
   say something else.
3. The certificate is verified, for the name, by the system's authorities or the MeshConfig's file.
4. No proxy of the environment is asked, no user of `.netrc` is sent.
5. A redirect is followed within the very same origin, three times at most.
6. The answer is 200, not compressed, and has 1 MiB at most, counted as it is read.
7. All of that together takes no longer than the deadline, however slowly bytes drip.

With the standard library alone: a process that reads YAML itself may have no HTTP client.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, cast

from meshware.errors import FetchError
from meshware.policy.addresses import parse_address
from meshware.policy.internal_addresses import Reach, where_is
from meshware.policy.key_urls import KeyUrl, joined_url
from meshware.policy.names import is_ip
from meshware.policy.record_types import KeyFetching
from meshware.runtime.dns_lookup import Lookup
from meshware.runtime.dns_schedule import Bad

__all__ = ["MOST_BYTES", "HttpsGetter"]

MOST_BYTES = 1024 * 1024
"""Of a document: a hundred keys with their certificates are a tenth of it."""

MOST_REDIRECTS = 3

_MOST_HEAD_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_ADDRESSES = 4  # that are tried


class HttpsGetter:
    """Gets documents, from any thread.

    Args:
        lookup: looks a name up.
        monotonic: seconds.
    """

    def __init__(self, lookup: Lookup, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lookup = lookup
        self._monotonic = monotonic

    def get(self, url: KeyUrl, rules: KeyFetching, deadline: float) -> bytes:
        """Return the document at an address.

        Args:
            url: where it is.
            rules: what policy allows.
            deadline: monotonic seconds. Looking a name up may take longer; nothing comes after it.

        Raises:
            FetchError: it cannot be had, or may not; the message says what to mend.
        """
        if url.scheme != "https" and url.host not in rules.http_hosts:
            raise FetchError(
                "address",
                f"it would be asked for by plain http, which anybody on the way can alter: write "
                f"https://, or name {url.host} in spec.jwks.allowedHttpHosts of the MeshConfig",
            )
        addresses = self._addresses(url.host, rules)
        context = _tls_context(rules.ca_file) if url.scheme == "https" else None
        for _ in range(MOST_REDIRECTS + 1):
            found = self._ask(url, addresses, context, deadline)
            if isinstance(found, bytes):
                return found
            url = found
        raise FetchError("redirect", f"it redirects more than {MOST_REDIRECTS} times")

    def _addresses(self, host: str, rules: KeyFetching) -> Sequence[str]:
        """Return the addresses of a host, each of which may be called."""
        if is_ip(host):
            found: Sequence[str] = (str(parse_address(host)),)
        else:
            outcome = self._lookup(host)
            if isinstance(outcome, Bad):
                raise FetchError("name", f"{host} cannot be looked up: {outcome.detail}")
            found = outcome.addresses
        for address in found:
            where = where_is(address)
            if where.reach is Reach.NEVER:
                raise FetchError(
                    "address",
                    f"{host} is at {address}, {where.what}, from where keys are never fetched: "
                    "mend the address or its DNS",
                )
            if where.reach is Reach.INTERNAL and host not in rules.internal_hosts:
                raise FetchError(
                    "address",
                    f"{host} is at {address}, {where.what}: mend the address or its DNS, or name "
                    f"{host} in spec.jwks.allowedInternalHosts of the MeshConfig",
                )
        return found[:_MOST_ADDRESSES]

    def _ask(
        self,
        url: KeyUrl,
        addresses: Sequence[str],
        context: ssl.SSLContext | None,
        deadline: float,
    ) -> bytes | KeyUrl:
        """Return the document, or where it is in place of this."""
        try:
            with closing(self._connected(url, addresses, deadline)) as plain:
                plain.settimeout(self._left_s(deadline))
                if context is None:
                    return self._exchange(url, plain, deadline)
                with context.wrap_socket(plain, server_hostname=url.host) as secured:
                    return self._exchange(url, secured, deadline)
        except TimeoutError as error:
            raise self._too_late() from error
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message or error.reason or "it cannot be verified"
            raise FetchError(
                "tls",
                f"the certificate of {url.host} is not believed: {why}; mend it, or name the file "
                "of its authority in spec.jwks.caFile of the MeshConfig",
            ) from error
        except ssl.SSLError as error:
            raise FetchError("tls", f"TLS fails: {error.reason or 'it was cut'}") from error
        except http.client.HTTPException as error:
            raise FetchError(
                "content", f"the answer is no HTTP, or was cut: {type(error).__name__}"
            ) from error
        except OSError as error:
            why = (error.strerror or str(error) or type(error).__name__).lower()
            raise FetchError("connect", f"{url.authority} cannot be reached: {why}") from error

    def _connected(self, url: KeyUrl, addresses: Sequence[str], deadline: float) -> socket.socket:
        """Return a connection to the first of the addresses that takes one."""
        for number, address in enumerate(addresses):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            made = socket.socket(family, socket.SOCK_STREAM)
            is_last = number == len(addresses) - 1
            try:
                # One that does not answer leaves the others their share of the time.
                made.settimeout(self._left_s(deadline) / (len(addresses) - number))
                made.connect((address, url.port))
            except OSError:
                made.close()
                if is_last:
                    raise
                continue
            except BaseException:
                made.close()
                raise
            return made
        raise FetchError("name", f"{url.host} has no address")

    def _exchange(self, url: KeyUrl, connection: socket.socket, deadline: float) -> bytes | KeyUrl:
        connection.settimeout(self._left_s(deadline))
        connection.sendall(
            (
                f"GET {url.target} HTTP/1.1\r\n"
                f"Host: {url.authority}\r\n"
                "User-Agent: meshware\r\n"
                "Accept: application/json\r\n"
                "Accept-Encoding: identity\r\n"
                "Connection: close\r\n\r\n"
            ).encode("ascii")
        )
        reader = _Reader(connection, lambda: self._left_s(deadline))
        # All that http.client wants of a socket is a file to read from.
        with closing(http.client.HTTPResponse(cast(Any, reader), method="GET")) as answer:
            answer.begin()
            if answer.status in _REDIRECTS:
                return _redirected(url, answer.getheader("Location"))
            if answer.status != 200:
                raise FetchError("status", f"the answer is {answer.status} and not 200")
            encoding = answer.getheader("Content-Encoding", "identity").strip().lower()
            if encoding not in ("identity", ""):
                raise FetchError("content", "the answer is compressed, which nobody asked for")
            if answer.length is not None and answer.length > MOST_BYTES:
                raise _too_much()
            body = answer.read()
            if len(body) > MOST_BYTES:
                raise _too_much()
            return body

    def _left_s(self, deadline: float) -> float:
        left = deadline - self._monotonic()
        if left <= 0:
            raise self._too_late()
        return left

    def _too_late(self) -> FetchError:
        return FetchError(
            "timeout",
            "there was no whole answer within the rule's timeout; mend its server, or write a "
            "longer one",
        )


class _Reader(io.RawIOBase):
    """Reads from a connection no more than there may be, and no longer."""

    def __init__(self, connection: socket.socket, left_s: Callable[[], float]) -> None:
        self._connection = connection
        self._left_s = left_s
        self._may_read = _MOST_HEAD_BYTES + MOST_BYTES

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return itself, as a socket returns a file."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._may_read <= 0:
            raise _too_much()
        self._connection.settimeout(self._left_s())
        count = self._connection.recv_into(buffer)
        self._may_read -= count
        return count


def _redirected(url: KeyUrl, location: str | None) -> KeyUrl:
    if location is None:
        raise FetchError("redirect", "it redirects to nowhere")
    try:
        found = joined_url(url, location)
    except ValueError as error:
        raise FetchError("redirect", f"it redirects to an address that is none: {error}") from error
    if found.origin != url.origin:
        raise FetchError(
            "redirect",
            f"it redirects to another place, {found.scheme}://{found.authority}: if that is meant, "
            "write that address into the policy",
        )
    return found


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it holds no certificates"
        raise FetchError(
            "tls", f"spec.jwks.caFile of the MeshConfig, {ca_file}, cannot be used: {why}"
        ) from error


def _too_much() -> FetchError:
    return FetchError("size", f"the answer is longer than {MOST_BYTES} bytes")
