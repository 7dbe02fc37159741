"""Response bodies of httpx and httpx2 that keep the exchange open until they end.

Whichever comes first ends it: the last byte, a failure, the caller closing the response, or the
response being forgotten (then the exchange is closed by its own finalizer, which takes no lock).

A forgotten body's connection is closed by the next call of the same client, see `Bodies`: httpcore
would close it in the finalizer of a generator, under the lock of its pool, which the thread that
collects the garbage may hold just then; and one that was not begun it would never close.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshware.call import Ended, FailureKind
from meshware.clients.deadline import Attempt, enter, leave
from meshware.clients.httpx_network import refuse_leftovers
from meshware.clients.pools import Lent
from meshware.clients.tasks import within
from meshware.outbound.drive import finish

if TYPE_CHECKING:
    from meshware.clients.httpx_library import Library
    from meshware.outbound.exchange import Exchange

__all__ = ["AsyncBody", "Bodies", "SyncBody", "body_classes"]


class _Source:
    """What a body is read from: the library's stream, and its iterator once there is one."""

    __slots__ = ("iterator", "stream")

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.iterator: Any = None

    def close(self) -> None:
        refuse_leftovers(self.stream)
        self.stream.close()

    async def aclose(self) -> None:
        refuse_leftovers(self.stream)
        try:
            if hasattr(self.iterator, "aclose"):
                await self.iterator.aclose()
        finally:
            await self.stream.aclose()


class Bodies:
    """What the bodies of one client are read from, kept from being collected before it is closed.

    `forget` may run anywhere, also in garbage collection, so it takes no lock.
    """

    __slots__ = ("_forgotten", "_open")

    def __init__(self) -> None:
        self._open: set[_Source] = set()
        self._forgotten: deque[_Source] = deque()

    def open(self, stream: Any) -> _Source:
        """Keep a stream until it is closed."""
        source = _Source(stream)
        self._open.add(source)
        return source

    def closed(self, source: _Source) -> None:
        """Keep it no longer."""
        self._open.discard(source)

    def forget(self, source: _Source) -> None:
        """Say that nobody will close it any more."""
        self._forgotten.append(source)

    def close_forgotten(self) -> None:
        """Close what was forgotten; cheap when nothing was."""
        for source in self._take_forgotten():
            try:
                source.close()
            except Exception:  # of a call that nobody waits for; it is not this one's to fail
                pass

    async def aclose_forgotten(self) -> None:
        """Close what was forgotten; cheap when nothing was."""
        for source in self._take_forgotten():
            try:
                await source.aclose()
            except Exception:  # of a call that nobody waits for; it is not this one's to fail
                pass

    def _take_forgotten(self) -> Iterator[_Source]:
        while self._forgotten:
            try:
                source = self._forgotten.popleft()
            except IndexError:  # another thread was quicker
                return
            self._open.discard(source)
            yield source


class _Body:
    """What sync and async bodies share: the open exchange, and its end, exactly once."""

    def __init__(
        self,
        library: Library,
        request: Any,
        stream: Any,
        *,
        exchange: Exchange,
        attempt: Attempt,
        lent: Lent[Any],
        bodies: Bodies,
    ) -> None:
        self._library = library
        self._request = request
        self._bodies = bodies
        self._source: _Source | None = bodies.open(stream)
        self._exchange: Exchange | None = exchange
        self._attempt = attempt
        self._lent: Lent[Any] | None = lent
        self._received_bytes = 0
        self._is_read = False

    def _end(self, failure: FailureKind | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            finish(exchange, Ended(failure, self._received_bytes))
        if failure is not None:  # its connection is closed; many a caller will not close it too
            self._give_back()

    def _fail(self, error: Exception) -> Exception:
        self._end(self._library.body_failure(error))
        return self._library.own(error, self._request)

    def _abandon(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    def _give_back(self) -> None:
        lent, self._lent = self._lent, None
        if lent is not None:
            lent.give_back()

    def _being_read(self) -> _Source:
        source = self._source
        if source is None:  # closed by another thread or task: what is left is not to be had
            raise self._library.module.StreamClosed
        return source

    def _take_source(self) -> _Source | None:
        source, self._source = self._source, None
        if source is not None:
            self._bodies.closed(source)
        return source

    def __del__(self) -> None:
        # Lock-free, as garbage collection demands.
        if self._source is not None:
            self._bodies.forget(self._source)
        self._give_back()


class SyncBody(_Body):
    """A body read by threads."""

    def __iter__(self) -> SyncBody:
        return self

    def __next__(self) -> bytes:
        if self._is_read:
            raise StopIteration
        source = self._being_read()
        token = enter(self._attempt)
        try:
            if source.iterator is None:
                source.iterator = iter(source.stream)
            chunk: bytes = next(source.iterator)
        except StopIteration:
            self._is_read = True
            try:
                self._shut()  # first, so that who waits for a connection finds this one
            finally:
                self._end(None)
            raise
        except Exception as error:
            own = self._fail(error)
            if own is error:
                raise
            raise own from error
        except BaseException:
            self._abandon()
            raise
        finally:
            leave(token)
        self._received_bytes += len(chunk)
        return chunk

    def close(self) -> None:
        """Close the connection, or keep it when the body was whole."""
        try:
            self._shut()
        finally:
            self._abandon()
            self._give_back()

    def _shut(self) -> None:
        source = self._take_source()
        if source is not None:  # once: the connection may be another call's by now
            source.close()


class AsyncBody(_Body):
    """A body read by tasks."""

    def __aiter__(self) -> AsyncBody:
        return self

    async def __anext__(self) -> bytes:
        if self._is_read:
            raise StopAsyncIteration
        source = self._being_read()
        until = self._attempt.until
        try:
            if source.iterator is None:
                source.iterator = aiter(source.stream)
            chunk: bytes = await within(
                None if until is None else until - time.monotonic(), anext(source.iterator)
            )
        except StopAsyncIteration:
            self._is_read = True
            try:
                await self._shut()  # first, so that who waits for a connection finds this one
            finally:
                self._end(None)
            raise
        except TimeoutError as error:
            self._end(FailureKind.TIMEOUT)
            raise self._library.timed_out(
                self._request, "the deadline of the call has passed"
            ) from error
        except Exception as error:
            own = self._fail(error)
            if own is error:
                raise
            raise own from error
        except BaseException:
            self._abandon()
            raise
        self._received_bytes += len(chunk)
        return chunk

    async def aclose(self) -> None:
        """Close the connection, or keep it when the body was whole."""
        try:
            await self._shut()
        finally:
            self._abandon()
            self._give_back()

    async def _shut(self) -> None:
        source = self._take_source()
        if source is not None:  # once: the connection may be another call's by now
            await source.aclose()


def body_classes(module: Any) -> tuple[type[SyncBody], type[AsyncBody]]:
    """Return the two classes as streams of the library's own kind."""
    return (
        type("MeshStream", (SyncBody, module.SyncByteStream), {}),
        type("MeshAsyncStream", (AsyncBody, module.AsyncByteStream), {}),
    )
