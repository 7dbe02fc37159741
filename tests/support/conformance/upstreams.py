"""Upstreams that both sides call: raw servers that note what comes and answer by script.

All cases share a few of them. A request says by its header `x-case` which call it is of, and the
answers of a case are those of its own script, counted for each side and upstream apart.
"""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import struct
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAMES = ("a", "b", "c", "d", "e")
TLS_NAME = "api.example"
CASE = "x-case"

CLOSE = object()
RESET = object()

Part = bytes | float | object
Answer = Sequence[Part]
"""Bytes to send, seconds to wait, `CLOSE` or `RESET`; behind the last the connection stays open."""


def answer(status: int = 200, body: bytes = b"ok", *headers: str) -> list[Part]:
    """A whole response with its length."""
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", *headers]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + body]


@dataclass(frozen=True)
class Script:
    """What the upstreams answer in one case: to each request in turn, the last one for ever."""

    by_upstream: dict[str, Sequence[Answer]] = field(default_factory=dict)

    def answer(self, upstream: str, number: int) -> Answer:
        """The answer to the nth request at an upstream, from 0."""
        answers = self.by_upstream.get(upstream) or self.by_upstream.get("*")
        if not answers:
            return answer(200, upstream.encode())
        return answers[min(number, len(answers) - 1)]


@dataclass(frozen=True)
class Arrival:
    """A request as it came."""

    upstream: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float


class Upstreams:
    """The upstreams of a run, one for each of `NAMES`, and ports at which nobody answers.

    Attributes:
        ports: by name; `refused` refuses every connection, `tls` is `a` behind TLS.
        files: `ca`, the roots of `tls`, and `other_ca`, those of nobody.
        scripts: by case.
        arrivals: by call, `<side>.<case>.<number>`.
    """

    def __init__(self, directory: Path) -> None:
        self.ports: dict[str, int] = {}
        self.files: dict[str, str] = {}
        self._directory = directory
        self.scripts: dict[str, Script] = {}
        self.arrivals: dict[str, list[Arrival]] = defaultdict(list)
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._servers: list[asyncio.Server] = []
        self._taken: list[socket.socket] = []

    async def __aenter__(self) -> Upstreams:
        for name in NAMES:

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name
            ) -> None:
                await self._serve(name, reader, writer)

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            self._servers.append(server)
            self.ports[name] = server.sockets[0].getsockname()[1]
        await self._start_tls()
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else gets it
        self._taken.append(taken)
        self.ports["refused"] = taken.getsockname()[1]
        return self

    async def _start_tls(self) -> None:
        directory = self._directory / "tls"
        directory.mkdir(parents=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name in ("ca", "other_ca"):
            made = certificate(TLS_NAME)
            (directory / f"{name}.pem").write_bytes(made)
            if name == "ca":
                context.load_cert_chain(directory / "ca.pem")
            self.files[name] = str(directory / f"{name}.pem")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve("a", reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        self._servers.append(server)
        self.ports["tls"] = server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for taken in self._taken:
            taken.close()

    async def _serve(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(name, reader, writer):
                pass
        with suppress(OSError):
            writer.close()

    async def _one(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        arrival = await _read(name, reader)
        call = next((value for key, value in arrival.headers if key == CASE), "")
        self.arrivals[call].append(arrival)
        side, _, rest = call.partition(".")
        case = rest.rpartition(".")[0]
        counted = (f"{side}.{case}", name)
        number = self._counts[counted]
        self._counts[counted] += 1
        for part in self.scripts.get(case, Script()).answer(name, number):
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            elif isinstance(part, float):
                await asyncio.sleep(part)
            else:
                if part is RESET:
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    writer.transport.abort()
                return False
        return True


async def _read(name: str, reader: asyncio.StreamReader) -> Arrival:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head[:-4].split("\r\n")
    method, target, _ = line.split(" ")
    headers = []
    for field_line in rest:
        key, _, value = field_line.partition(":")
        headers.append((key.lower(), value.strip()))
    body = b""
    lower = dict(headers)
    if "chunked" in lower.get("transfer-encoding", ""):
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    elif length := int(lower.get("content-length", 0)):
        body = await reader.readexactly(length)
    return Arrival(name, method, target, tuple(headers), body, time.monotonic())


def certificate(name: str) -> bytes:
    """A key and a certificate of a name that signs itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        now - datetime.timedelta(hours=1),
        now + datetime.timedelta(days=1),
    )
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    made = builder.sign(key, hashes.SHA256())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + made.public_bytes(serialization.Encoding.PEM)
