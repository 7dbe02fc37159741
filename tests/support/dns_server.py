"""A DNS server on the loopback that answers as a test says, and may be told otherwise at any time.

It answers over UDP and, on the same port, over TCP. Names that no test spoke of do not exist.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

PATIENCE_S = 10.0


@dataclass(frozen=True)
class Says:
    """An answer: addresses of both kinds and how long they hold, maybe behind another name."""

    addresses: tuple[str, ...] = ()
    ttl_s: int = 60
    alias: str | None = None  # the name has a CNAME, whose name has the addresses
    alias_ttl_s: int = 60


def says(*addresses: str, ttl_s: int = 60) -> Says:
    """Answer with addresses; without any: the name exists and has none."""
    return Says(addresses, ttl_s)


NXDOMAIN = dns.rcode.NXDOMAIN
SERVFAIL = dns.rcode.SERVFAIL
SILENCE = "silence"  # no answer at all
GARBAGE = "garbage"  # bytes that are no message
TRUNCATED = "truncated"  # over UDP: the rest is to be asked for over TCP, where it is `192.0.2.1`

Answer = Says | dns.rcode.Rcode | str


class DnsServer:
    """A DNS server on a free port.

    Attributes:
        asked: the questions so far, each a name and a type.
    """

    def __init__(self, zone: Mapping[str, Answer]) -> None:
        self._zone = dict(zone)
        self.asked: list[tuple[str, str]] = []
        self._udp, self._tcp = _bound_together()
        self.port: int = self._udp.getsockname()[1]
        self._is_closed = False
        self._threads = [
            threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._accept)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        """Where it listens, as `--dns` takes it."""
        return f"127.0.0.1:{self.port}"

    def say(self, name: str, answer: Answer) -> None:
        """Answer differently from now on."""
        self._zone = {**self._zone, name: answer}

    def times_asked(self, name: str, kind: str = "A") -> int:
        """How often somebody asked for a name."""
        return self.asked.count((name, kind))

    def close(self) -> None:
        """Answer no more."""
        self._is_closed = True
        with suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wake:
            wake.sendto(b"", ("127.0.0.1", self.port))
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "the DNS server does not end"
        self._udp.close()
        self._tcp.close()

    def _serve_udp(self) -> None:
        while True:
            data, sender = self._udp.recvfrom(4096)
            if self._is_closed:
                return
            answer = self._answer(data, is_tcp=False)
            if answer is not None:
                self._udp.sendto(answer, sender)

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(PATIENCE_S)
                with suppress(OSError, struct.error):
                    stream = connection.makefile("rb")
                    (length,) = struct.unpack("!H", stream.read(2))
                    answer = self._answer(stream.read(length), is_tcp=True)
                    if answer is not None:
                        connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, data: bytes, *, is_tcp: bool) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype)))
        answer = self._zone.get(name, NXDOMAIN)
        if answer == SILENCE:
            return None
        if answer == GARBAGE:
            return data[:2] + b"\xff" * 5
        response = dns.message.make_response(query)
        if answer == TRUNCATED:
            answer = says("192.0.2.1") if is_tcp else says()
            if not is_tcp:
                response.flags |= dns.flags.TC
        if isinstance(answer, dns.rcode.Rcode):
            response.set_rcode(answer)
        else:
            assert isinstance(answer, Says)
            _add(response, question, answer)
        return response.to_wire()


def _add(response: dns.message.Message, question: dns.rrset.RRset, answer: Says) -> None:
    owner = question.name
    if answer.alias is not None:
        target = f"{answer.alias}."
        response.answer.append(
            dns.rrset.from_text(owner, answer.alias_ttl_s, "IN", "CNAME", target)
        )
        owner = dns.name.from_text(target)
    wants_v6 = question.rdtype == dns.rdatatype.AAAA
    chosen = [each for each in answer.addresses if (":" in each) == wants_v6]
    if chosen:
        response.answer.append(
            dns.rrset.from_text_list(
                owner, answer.ttl_s, "IN", dns.rdatatype.to_text(question.rdtype), chosen
            )
        )


def _bound_together() -> tuple[socket.socket, socket.socket]:
    """Sockets of both kinds on one free port."""
    for _ in range(50):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            return udp, socket.create_server(udp.getsockname())
        except OSError:
            udp.close()  # somebody has that port for TCP
    raise AssertionError("no port is free for both UDP and TCP")


@contextmanager
def dns_server(**zone: Answer) -> Iterator[DnsServer]:
    """A running server; underscores in names stand for dots, so that they can be keywords."""
    server = DnsServer({name.replace("_", "."): answer for name, answer in zone.items()})
    try:
        yield server
    finally:
        server.close()
