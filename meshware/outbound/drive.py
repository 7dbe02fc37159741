"""The two loops over an exchange: what every client does, once for threads and once for tasks.

Theory of operation. An exchange (a generator, see `meshware.outbound.exchange`) yields actions and
is sent outcomes; the client carries the actions out. A loop ends at the first action that is for
the caller:

1. `Deliver`: the exchange is still open. It lives as long as the response body: the client calls
   `finish` when the body has ended, or closes the exchange when the caller closes the body early.
2. `Reply`, `Raise`: the exchange is closed, nothing is held any more.
3. Any exception on the way (cancellation and KeyboardInterrupt too): the exchange is closed, so
   that its `finally` gives back what it holds, and the exception goes on.

At most one answer is held: the last one. It is discarded before the next attempt or wait, and at
every end but `Deliver`; a mirror leaves it alone. `drive` and `drive_async` differ in `await` only;
keep them so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from meshware.call import (
    Answer,
    Deliver,
    Ended,
    Failure,
    Mirror,
    Raise,
    Reply,
    RequestHead,
    Send,
    Sleep,
    Wait,
)

if TYPE_CHECKING:
    from meshware.outbound.exchange import Exchange

__all__ = ["ExchangeSource", "drive", "drive_async", "finish"]


class ExchangeSource(Protocol):
    """What a client needs of a mesh."""

    def start(self) -> None:
        """Begin to follow policy in this process; cheap when that has been done."""
        ...

    def exchange(self, head: RequestHead) -> Exchange:
        """Open the exchange for one outbound call."""
        ...


def drive(
    exchange: Exchange,
    send: Callable[[Send], Answer | Failure],
    sleep: Callable[[float], None],
    discard: Callable[[], None],
    *,
    wait: Callable[[Wait], None],
    mirror: Callable[[Mirror], None],
) -> Deliver | Reply | Raise:
    """Carry an exchange out until there is something for the caller.

    Args:
        exchange: fresh, not yet started.
        send: makes one attempt; what it raises ends the call.
        sleep: waits, in seconds.
        discard: closes the response of the last `Answer`.
        wait: waits until woken, or for the time at most.
        mirror: sends a copy in the background, or drops it; does not raise, nor wait.
    """
    held = False
    try:
        action = next(exchange)
        while not isinstance(action, Deliver):
            if held and not isinstance(action, Mirror):
                held = False
                discard()
            if isinstance(action, Send):
                outcome = send(action)
                held = isinstance(outcome, Answer)
                action = exchange.send(outcome)
            elif isinstance(action, Sleep):
                sleep(action.seconds)
                action = exchange.send(None)
            elif isinstance(action, Wait):
                wait(action)
                action = exchange.send(None)
            elif isinstance(action, Mirror):
                mirror(action)
                action = exchange.send(None)
            else:
                exchange.close()
                return action
        return action
    except BaseException as error:
        try:
            exchange.close()
        finally:
            if held:
                discard()
        if isinstance(error, StopIteration):
            raise RuntimeError("an exchange ended without an answer") from error
        raise


async def drive_async(
    exchange: Exchange,
    send: Callable[[Send], Awaitable[Answer | Failure]],
    sleep: Callable[[float], Awaitable[None]],
    discard: Callable[[], Awaitable[None]],
    *,
    wait: Callable[[Wait], Awaitable[None]],
    mirror: Callable[[Mirror], None],
) -> Deliver | Reply | Raise:
    """Carry an exchange out until there is something for the caller; see `drive`."""
    held = False
    try:
        action = next(exchange)
        while not isinstance(action, Deliver):
            if held and not isinstance(action, Mirror):
                held = False
                await discard()
            if isinstance(action, Send):
                outcome = await send(action)
                held = isinstance(outcome, Answer)
                action = exchange.send(outcome)
            elif isinstance(action, Sleep):
                await sleep(action.seconds)
                action = exchange.send(None)
            elif isinstance(action, Wait):
                await wait(action)
                action = exchange.send(None)
            elif isinstance(action, Mirror):
                mirror(action)
                action = exchange.send(None)
            else:
                exchange.close()
                return action
        return action
    except BaseException as error:
        try:
            exchange.close()
        finally:
            if held:
                await discard()
        if isinstance(error, StopIteration):
            raise RuntimeError("an exchange ended without an answer") from error
        raise


def finish(exchange: Exchange, ended: Ended) -> None:
    """Tell a delivered exchange how its body ended, and let it end too."""
    try:
        exchange.send(ended)
    except StopIteration:
        return
    exchange.close()
    raise RuntimeError("an exchange went on after the body had ended")
