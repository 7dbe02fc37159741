"""Bodies that can be read only once: kept while they are sent, so that they can be sent again.

1. At most `limit` bytes are kept; a body that turns out longer is forgotten, and sent once.
2. An attempt that ends in the middle leaves the rest unread: the next one sends what was kept, and
   reads on behind it.
3. An iterator that was interrupted while it worked, or that failed, is not trusted any more: who
   cancels an asynchronous generator ends it, and it would look like the end of a shorter body.

Source: Envoy, `per_request_buffer_limit_bytes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from meshware.call import RequestHead

__all__ = ["Kept"]


class Kept:
    """What a body has given so far, as long as that is little.

    Attributes:
        limit: bytes that may be kept; set before the first attempt.
        is_begun: something was asked of the body.
        is_whole: the body has come to its end.
        error: what the body itself raised.
    """

    __slots__ = ("_chunks", "_is_torn", "_iterator", "_size", "error", "is_begun", "is_whole",
                 "limit")  # fmt: skip

    def __init__(self) -> None:
        self.limit = 0
        self.is_begun = False
        self.is_whole = False
        self.error: BaseException | None = None
        self._chunks: list[bytes] | None = []  # None: it was too much
        self._size = 0
        self._is_torn = False
        self._iterator: Iterator[bytes] | AsyncIterator[bytes] | None = None

    @property
    def can_be_sent(self) -> bool:
        """Whether the body can be sent, for the first time or again."""
        return not self.is_begun or (self._chunks is not None and not self._is_torn)

    @property
    def content(self) -> bytes | None:
        """The whole body; None where it is not here."""
        return b"".join(self._chunks) if self.is_whole and self._chunks is not None else None

    def tell(self, head: RequestHead) -> None:
        """Tell the exchange what can be done with the body now."""
        head.replayable = self.can_be_sent
        head.is_kept = self.is_whole and self._chunks is not None

    def keep(self, chunk: bytes) -> None:
        """Keep a piece that is about to be sent."""
        if self._chunks is None:
            return
        self._size += len(chunk)
        if self._size > self.limit:
            self._chunks = None
        else:
            self._chunks.append(bytes(chunk))

    def read(self, body: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the body from its beginning: what was kept, and what is left to read.

        Args:
            body: the same each time; must not be called where `can_be_sent` is False.
        """
        yield from tuple(self._chunks or ())
        if self.is_whole:
            return
        self.is_begun = True
        if self._iterator is None:
            self._iterator = iter(body)
        iterator: Iterator[bytes] = self._iterator  # type: ignore[assignment]
        while True:
            self._is_torn = True  # until it has given something
            try:
                chunk = next(iterator)
            except StopIteration:
                self._is_torn, self.is_whole = False, True
                return
            except Exception as error:
                self.error = error
                raise
            self._is_torn = False
            self.keep(chunk)
            yield chunk

    async def read_async(self, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Yield the body as `read` does."""
        for chunk in tuple(self._chunks or ()):
            yield chunk
        if self.is_whole:
            return
        self.is_begun = True
        if self._iterator is None:
            self._iterator = aiter(body)
        iterator: AsyncIterator[bytes] = self._iterator  # type: ignore[assignment]
        while True:
            self._is_torn = True
            try:
                chunk = await anext(iterator)
            except StopAsyncIteration:
                self._is_torn, self.is_whole = False, True
                return
            except Exception as error:
                self.error = error
                raise
            self._is_torn = False
            self.keep(chunk)
            yield chunk
