"""Response bodies of urllib3 that keep the exchange open until they end.

What a caller has (of requests: as `response.raw`) stays urllib3's response, of a subclass that
watches every read: people hand it to other libraries as a file.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from urllib3.exceptions import DecodeError
from urllib3.response import HTTPResponse

from meshware.call import Ended, FailureKind
from meshware.clients.deadline import Attempt, enter, leave
from meshware.clients.urllib3_failures import body_failure
from meshware.outbound.drive import finish

if TYPE_CHECKING:
    from meshware.outbound.exchange import Exchange

__all__ = ["WatchedResponse", "watch"]


def watch(raw: HTTPResponse, exchange: Exchange, attempt: Attempt) -> None:
    """Make a response tell an exchange how its body ended.

    Args:
        raw: fresh; nothing of its body has been read.
        exchange: has delivered, and waits for the end.
        attempt: how long reading may take.
    """
    raw.__class__ = WatchedResponse
    assert isinstance(raw, WatchedResponse)
    raw.mesh_attempt = attempt
    raw.mesh_exchange = exchange


class WatchedResponse(HTTPResponse):
    """A urllib3 response whose end is the end of an exchange; made by `watch` only."""

    mesh_attempt: Attempt | None = None
    mesh_exchange: Exchange | None = None
    _chunked_bytes = 0

    def read(
        self,
        amt: int | None = None,
        decode_content: bool | None = None,
        cache_content: bool = False,
    ) -> bytes:
        """Read as urllib3's own response does."""
        with self._reading():
            return super().read(amt, decode_content, cache_content)

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """Read as urllib3's own response does."""
        with self._reading():
            return super().read1(amt, decode_content)

    def read_chunked(
        self, amt: int | None = None, decode_content: bool | None = None
    ) -> Generator[bytes, None, None]:
        """Read as urllib3's own response does."""
        chunks = super().read_chunked(amt, decode_content)
        try:
            while True:
                with self._reading():
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                self._chunked_bytes += len(chunk)
                yield chunk
        except GeneratorExit:
            chunks.close()  # which closes the connection: what is left can never be read
            self._abandon()
            raise

    def close(self) -> None:
        """Close the connection, or keep it when the body was whole."""
        try:
            super().close()
        finally:
            self._abandon()

    def release_conn(self) -> None:
        """Give the connection back for the next call, unless it was closed.

        A response that was forgotten is closed by whoever collects the garbage, perhaps a thread
        that has the pool's lock just then. A closed connection is of no use to the pool.
        """
        connection = self._connection
        if connection is not None and getattr(connection, "sock", None) is None:
            self._connection = None
            return
        super().release_conn()

    @contextmanager
    def _reading(self) -> Generator[None, None, None]:
        token = enter(self.mesh_attempt)
        try:
            yield
        except DecodeError:  # what came is whole, but not what its header says: nobody's failure
            self._abandon()
            raise
        except Exception as error:
            self._end(body_failure(error))
            raise
        except BaseException:
            self._abandon()
            raise
        else:
            if self.isclosed():
                self._end(None)
        finally:
            leave(token)

    def _end(self, failure: FailureKind | None) -> None:
        exchange, self.mesh_exchange = self.mesh_exchange, None
        if exchange is not None:
            finish(exchange, Ended(failure, self.tell() or self._chunked_bytes))

    def _abandon(self) -> None:
        exchange, self.mesh_exchange = self.mesh_exchange, None
        if exchange is not None:
            exchange.close()
