"""Upstreams that both sides call: raw servers that note what comes and answer by script.

All cases share a few of them. A request says by its header `x-case` which call it is of, and the
answers of a case are those of its own script, counted for each side and upstream apart.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

NAMES = ("a", "b", "c", "d", "e")
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
        ports: by name; `refused` refuses every connection.
        scripts: by case.
        arrivals: by call, `<side>.<case>.<number>`.
    """

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
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
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else gets it
        self._taken.append(taken)
        self.ports["refused"] = taken.getsockname()[1]
        return self

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
