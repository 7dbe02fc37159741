"""Bodies that can be read only once: what is kept of them, and when that is not to be trusted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice

import pytest

from meshware.call import RequestHead
from meshware.clients.replay import Kept


def head() -> RequestHead:
    """A request whose body can be read only once."""
    return RequestHead(
        method="PUT", scheme="http", host="a", port=80, authority="a", target="/",
        headers=lambda _name: (), replayable=False,
    )  # fmt: skip


def kept(limit: int = 10) -> Kept:
    """Nothing yet, of a body that may be so long."""
    made = Kept()
    made.limit = limit
    return made


def said(it: Kept) -> tuple[bool, bool]:
    """What the exchange is told: whether it can be sent again, and whether it is all here."""
    about = head()
    it.tell(about)
    return about.replayable, about.is_kept


class Body:
    """An iterator that counts how often it is asked, and may fail."""

    def __init__(self, *chunks: bytes | BaseException) -> None:
        self.chunks = iter(chunks)
        self.asked = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.asked += 1
        chunk = next(self.chunks)
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk


def test_a_whole_body_is_read_again_as_often_as_need_be():
    """From what was kept; the body itself is asked no more."""
    it, body = kept(), Body(b"ab", b"cd")
    assert said(it) == (True, False)
    for _ in range(3):
        assert list(it.read(body)) == [b"ab", b"cd"]
        assert said(it) == (True, True)
    assert body.asked == 3
    assert it.content == b"abcd"


def test_a_body_that_was_left_in_the_middle_is_read_on():
    """The next attempt sends all of it."""
    it, body = kept(), Body(b"ab", b"cd", b"ef")
    attempt = it.read(body)
    assert list(islice(attempt, 2)) == [b"ab", b"cd"]
    attempt.close()
    assert said(it) == (True, False)
    assert it.content is None
    assert list(it.read(body)) == [b"ab", b"cd", b"ef"]
    assert said(it) == (True, True)


@pytest.mark.parametrize(("limit", "is_kept"), [(4, True), (3, False), (0, False)])
def test_no_more_is_kept_than_the_limit(limit, is_kept):
    """One byte more, and nothing is."""
    it = kept(limit)
    assert list(it.read(Body(b"ab", b"cd"))) == [b"ab", b"cd"]
    assert said(it) == (is_kept, is_kept)
    assert it.content == (b"abcd" if is_kept else None)


def test_an_empty_body_is_whole_too():
    """Nothing to keep, and nothing to lose."""
    it = kept(0)
    assert list(it.read(Body())) == []
    assert said(it) == (True, True)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_body_that_failed_is_not_sent_again(error):
    """What comes behind an error would look like the end of a shorter body."""
    it, body = kept(), Body(b"ab", error(), b"cd")
    with pytest.raises(error):
        list(it.read(body))
    assert said(it) == (False, False)
    assert isinstance(it.error, ValueError) == (error is ValueError)


async def chunks(gate: asyncio.Event) -> AsyncIterator[bytes]:
    yield b"ab"
    await gate.wait()
    yield b"cd"


def test_a_generator_that_was_cancelled_is_not_gone_on_with():
    """Its cancellation ended it, and it would seem to have said all."""

    async def run() -> None:
        it, body = kept(), chunks(asyncio.Event())

        async def attempt() -> None:
            async for _ in it.read_async(body):
                pass

        task = asyncio.create_task(attempt())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert said(it) == (False, False)

    asyncio.run(run())


def test_an_asynchronous_body_is_read_on_and_again():
    """As one for threads is."""

    async def run() -> None:
        gate = asyncio.Event()
        gate.set()
        it, body = kept(), chunks(gate)
        attempt = it.read_async(body)
        assert await anext(attempt) == b"ab"
        await attempt.aclose()  # type: ignore[attr-defined]
        assert said(it) == (True, False)
        for _ in range(2):
            assert [chunk async for chunk in it.read_async(body)] == [b"ab", b"cd"]
        assert said(it) == (True, True)

    asyncio.run(run())
