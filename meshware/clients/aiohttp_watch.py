"""Response bodies of aiohttp that keep the exchange open until they end.

Whichever comes first ends it: the last byte from the upstream (whether it has been read or not:
aiohttp reads ahead, and gives the connection back then), a failure, the call's time, the caller
closing the response, or response and content being forgotten (then the exchange is closed by its
own finalizer, which takes no lock).
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import ClientPayloadError, SocketTimeoutError, StreamReader
from aiohttp.streams import EMPTY_PAYLOAD

from meshware.call import Ended, FailureKind
from meshware.outbound.drive import finish

if TYPE_CHECKING:
    from meshware.outbound.exchange import Exchange

__all__ = ["Watch", "watch"]

T = TypeVar("T")


def watch(
    response: Any, exchange: Exchange, deadline_s: float | None, read_s: float | None
) -> None:
    """Make a response tell an exchange how its body ended.

    Args:
        response: fresh; nothing of its body has been read.
        exchange: has delivered, and waits for the end.
        deadline_s: what is left for the body to end; None: no limit.
        read_s: the caller's time-out for each read; None: as the session has set it.
    """
    reader, connection = response.content, response.connection
    if reader is EMPTY_PAYLOAD or reader.is_eof() or connection is None:
        finish(exchange, Ended(None, reader.total_bytes))
        return
    if read_s is not None:
        connection.protocol.read_timeout = read_s
        connection.protocol.start_timeout()
    found = Watch(response, exchange, deadline_s)
    response.mesh_watch = found
    response.content = WatchedContent(reader, found)


class Watch:
    """The open exchange of a response, and its end, exactly once.

    It belongs to the response and to its content, and refers to neither: whoever is forgotten last
    ends it.
    """

    def __init__(self, response: Any, exchange: Exchange, deadline_s: float | None) -> None:
        self._response = weakref.ref(response)
        self._reader: StreamReader = response.content
        self._connection = response.connection
        self._transport = self._connection.transport
        self._exchange: Exchange | None = exchange
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[None] | None = self._connection.protocol.closed
        self._at_loss = _weakly(self.at_loss)
        if self._lost is not None:
            self._lost.add_done_callback(self._at_loss)
        self._reader.on_eof(_weakly(self.at_eof))
        if deadline_s is not None:
            self._timer = self._loop.call_later(deadline_s, _weakly(self.at_deadline))

    async def reading(self, awaited: Awaitable[T]) -> T:
        """Await a read of the content, and tell the exchange when it fails."""
        try:
            return await awaited
        except Exception as error:
            if self._reader.exception() is not None or isinstance(error, TimeoutError):
                self._end(self._kind(error))
            raise

    def at_eof(self) -> None:
        """The last byte has come."""
        if self._response() is None:  # which would have given the connection back
            self._connection.release()
        self._end(None)

    def at_loss(self) -> None:
        """The connection has ended; whatever is the matter with the body, it ends as well."""
        if self._exchange is None or self._reader.is_eof():
            return
        error = self._reader.exception()
        if error is None:  # aiohttp leaves a reader waiting after a chunk that is none
            error = ClientPayloadError("Response payload is not completed: it is broken")
            self._reader.set_exception(error)
        self._end(self._kind(error))

    def at_deadline(self) -> None:
        """The call's time is over."""
        if self._exchange is None:
            return
        self._reader.set_exception(SocketTimeoutError("the deadline of the call has passed"))
        self._end(FailureKind.TIMEOUT)

    def abandon(self) -> None:
        """The caller has closed the response."""
        self._stop()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            give_up(self._transport)
            exchange.close()

    def _end(self, failure: FailureKind | None) -> None:
        self._stop()
        if failure is not None:
            self._connection.close()  # of no use any more
            give_up(self._transport)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            finish(exchange, Ended(failure, self._reader.total_bytes))

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lost is not None:
            self._lost.remove_done_callback(self._at_loss)

    def _kind(self, error: BaseException) -> FailureKind:
        if isinstance(error, TimeoutError):
            return FailureKind.TIMEOUT
        lost = self._lost
        if lost is not None and lost.done() and not lost.cancelled() and lost.exception():
            return FailureKind.RESET
        return FailureKind.PROTOCOL

    def __del__(self) -> None:
        if self._exchange is None:
            return
        # Maybe on another thread, or while the loop is no more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_let_go, self._timer, self._connection, self._transport)


def give_up(transport: asyncio.Transport | None) -> None:
    """Drop what a connection would still send, where its other end does not take it.

    aiohttp closes connections politely: with the rest of a body to send they stay for ever.
    """
    if transport is not None and transport.is_closing() and transport.get_write_buffer_size():
        transport.abort()


def _weakly(method: Callable[[], None]) -> Callable[..., None]:
    """Return a function that calls a method while its object is there, and does not hold it."""
    held = weakref.WeakMethod(method)

    def call(*_: Any) -> None:
        found = held()
        if found is not None:
            found()

    return call


def _let_go(
    timer: asyncio.TimerHandle | None, connection: Any, transport: asyncio.Transport | None
) -> None:
    if timer is not None:
        timer.cancel()
    connection.close()
    give_up(transport)


class WatchedContent(StreamReader):
    """The content of a watched response: aiohttp's own, with every read watched.

    It is a `StreamReader`, because people hand it on as the body of another request.
    """

    __slots__ = ("mesh_reader", "mesh_watch")

    def __init__(self, reader: StreamReader, watch: Watch) -> None:
        self.mesh_reader = reader
        self.mesh_watch = watch

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN:
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "mesh_reader"), name)

    async def read(self, n: int = -1) -> bytes:
        return await self.mesh_watch.reading(self.mesh_reader.read(n))

    async def readany(self) -> bytes:
        return await self.mesh_watch.reading(self.mesh_reader.readany())

    async def readexactly(self, n: int) -> bytes:
        return await self.mesh_watch.reading(self.mesh_reader.readexactly(n))

    async def readchunk(self) -> tuple[bytes, bool]:
        return await self.mesh_watch.reading(self.mesh_reader.readchunk())

    async def readline(self, **kwargs: Any) -> bytes:
        return await self.mesh_watch.reading(self.mesh_reader.readline(**kwargs))

    async def readuntil(self, *args: Any, **kwargs: Any) -> bytes:
        return await self.mesh_watch.reading(self.mesh_reader.readuntil(*args, **kwargs))

    async def wait_eof(self) -> None:
        await self.mesh_watch.reading(self.mesh_reader.wait_eof())


_OWN = frozenset(vars(WatchedContent)) | {
    "__class__",
    "__aiter__",
    "iter_any",
    "iter_chunked",
    "iter_chunks",
}
