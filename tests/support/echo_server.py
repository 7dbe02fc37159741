"""A process with several upstreams that tell each caller its own id, and do as they are told.

``python echo_server.py COUNT`` prints the ports, one a line, then reads commands from its standard
input (`PLACE WORD [ARGUMENT]`), answers each with a line, and ends with its input:

========  ======================================================================================
down      refuse connections; those that there are get an answer to one more request, and a close
cut       refuse connections, and reset those that there are
up        take connections again
status N  answer with this status from now on
count     tell how many requests came whole
========  ======================================================================================

The target says what is answered: ``/WAIT/PIECES/GAP`` is the caller's `X-Id` and a semicolon, so
many times, after so many milliseconds, and in chunks with so many between them when there is a
gap. No pieces: no answer. The body of the request comes back in front.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress

BLOCK_BYTES = 1 << 16
HANDSHAKE_S = 0.003  # far longer than one takes on the loopback
NO_SYN = b"".join(  # a packet filter: nothing that asks for a connection
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # the flags of TCP
        (0x45, 1, 0, 0x02),  # SYN: leave out the next one
        (0x06, 0, 0, 0xFFFFFFFF),  # take it
        (0x06, 0, 0, 0),  # drop it
    )
)
SO_ATTACH_FILTER = 26  # Linux
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Place:
    """One upstream. Its port stays its own while it takes no connections."""

    def __init__(self) -> None:
        self.status = 200
        self.count = 0
        self.is_down = False
        self._live: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]
        self._listener: socket.socket | None = None

    async def up(self) -> None:
        """Take connections."""
        self.is_down = False
        if self._listener is None:
            self._listener = _bound(self.port)
            self._listener.setblocking(False)
            self._listener.listen(512)
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def down(self) -> None:
        """Refuse connections; whoever was let in is still served."""
        self.is_down = True
        listener, self._listener = self._listener, None
        if listener is not None:
            # Closing resets what nobody has accepted yet, and its request may be on its way. So
            # first nobody else gets in; those who knock meanwhile are refused when they try again.
            _close_the_door(listener)
            await asyncio.sleep(HANDSHAKE_S)
            self._accept_all(listener)
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()

    async def cut(self) -> None:
        """Refuse connections, and reset those that there are."""
        await self.down()
        for writer in list(self._live):
            raw = writer.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()

    def _accept(self) -> None:
        if self._listener is not None:
            self._accept_all(self._listener)

    def _accept_all(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = asyncio.get_running_loop().create_task(self._serve(connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        self._live.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left
        finally:
            self._live.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False: the connection is not to be used again."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        target = head[0].split(" ")[1]
        headers = dict(_header(line) for line in head[1:-2])
        sent = await _body(reader, headers)
        self.count += 1
        wait_ms, pieces, gap_ms = [int(part) for part in target.strip("/").split("/")]
        if not pieces:
            await reader.read()  # until the client leaves
            return False
        await asyncio.sleep(wait_ms / 1000)
        last = self.is_down
        who = headers.get("x-id", "?")
        start = f"HTTP/1.1 {self.status} Said\r\nX-Id: {who}\r\n"
        start += "Connection: close\r\n" if last else ""
        piece = f"{who};".encode()
        if not gap_ms:
            body = sent + piece * pieces
            writer.write(f"{start}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            return not last
        writer.write(f"{start}Transfer-Encoding: chunked\r\n\r\n".encode())
        for chunk in (sent, *[piece] * pieces) if sent else [piece] * pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
            await asyncio.sleep(gap_ms / 1000)
        writer.write(b"0\r\n\r\n")
        return not last


def _bound(port: int) -> socket.socket:
    """A socket at a port. Several may be there; only one that listens takes connections."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def _close_the_door(listener: socket.socket) -> None:
    """Let nobody new in at a listening socket, but whoever is half-way in."""
    if sys.platform == "linux":
        import ctypes

        program = ctypes.create_string_buffer(NO_SYN, len(NO_SYN))
        listener.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("HxxxxxxP", len(NO_SYN) // 8, ctypes.addressof(program)),
        )


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Read the body of a request."""
    if "transfer-encoding" not in headers:
        return await reader.readexactly(int(headers.get("content-length", 0)))
    got = []
    while size := int(await reader.readline(), 16):
        got.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(got)


async def _do(place: Place, word: str, argument: str) -> object:
    """Carry a command out, and return what to answer."""
    if word == "count":
        return place.count
    if word == "status":
        place.status = int(argument)
    else:
        await {"up": place.up, "down": place.down, "cut": place.cut}[word]()
    return "done"


async def main(count: int) -> None:
    """Serve until there are no more commands."""
    places = [Place() for _ in range(count)]
    for place in places:
        await place.up()
        print(place.port, flush=True)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := (await commands.readline()).decode().split():
        number, word, *rest = line
        print(await _do(places[int(number)], word, rest[0] if rest else ""), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
