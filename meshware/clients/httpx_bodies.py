"""Response bodies of httpx and httpx2 that keep the exchange open until they end.

Whichever comes first ends it: the last byte, a failure, the caller closing the response, or the
response being forgotten (then the exchange is closed by its own finalizer, which takes no lock).
"""

from __future__ import annotations

import time
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

__all__ = ["AsyncBody", "SyncBody", "body_classes"]


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
    ) -> None:
        self._library = library
        self._request = request
        self._stream = stream
        self._exchange: Exchange | None = exchange
        self._attempt = attempt
        self._lent: Lent[Any] | None = lent
        self._iterator: Any = None
        self._received_bytes = 0
        self._is_shut = False

    def _end(self, failure: FailureKind | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            finish(exchange, Ended(failure, self._received_bytes))

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

    def __del__(self) -> None:
        self._give_back()  # lock-free, as garbage collection demands


class SyncBody(_Body):
    """A body read by threads."""

    def __iter__(self) -> SyncBody:
        return self

    def __next__(self) -> bytes:
        token = enter(self._attempt)
        try:
            if self._iterator is None:
                self._iterator = iter(self._stream)
            chunk: bytes = next(self._iterator)
        except StopIteration:
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
        if not self._is_shut:  # once: the connection may be another call's by now
            self._is_shut = True
            refuse_leftovers(self._stream)
            self._stream.close()


class AsyncBody(_Body):
    """A body read by tasks."""

    def __aiter__(self) -> AsyncBody:
        return self

    async def __anext__(self) -> bytes:
        until = self._attempt.until
        try:
            if self._iterator is None:
                self._iterator = aiter(self._stream)
            chunk: bytes = await within(
                None if until is None else until - time.monotonic(), anext(self._iterator)
            )
        except StopAsyncIteration:
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
        if not self._is_shut:  # once: the connection may be another call's by now
            self._is_shut = True
            refuse_leftovers(self._stream)
            if hasattr(self._iterator, "aclose"):
                await self._iterator.aclose()
            await self._stream.aclose()


def body_classes(module: Any) -> tuple[type[SyncBody], type[AsyncBody]]:
    """Return the two classes as streams of the library's own kind."""
    return (
        type("MeshStream", (SyncBody, module.SyncByteStream), {}),
        type("MeshAsyncStream", (AsyncBody, module.AsyncByteStream), {}),
    )
