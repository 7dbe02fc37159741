"""One call of httpx or httpx2 on its way: what the loop's actions are carried out with.

1. A failed attempt is told to the exchange, never raised; only the exchange says what to raise.
2. What is no attempt's failure (a request that cannot be sent, an error in the iterator of its
   body) goes to the caller as it is.
3. A body that is not bytes is begun once at most.
4. What the mesh does not know goes the library's own way, with the caller's own time-outs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshware.call import (
    Answer,
    Deliver,
    Ended,
    Failure,
    FailureKind,
    Mirror,
    Raise,
    Reply,
    RequestHead,
    Send,
)
from meshware.clients import tasks, threads
from meshware.clients.deadline import Attempt, enter, leave
from meshware.clients.httpx_bodies import Bodies
from meshware.clients.httpx_engines import Timeouts, edited_raw
from meshware.clients.httpx_library import Library, header_lookup, library_of
from meshware.clients.pools import Lent
from meshware.clients.replay import Kept
from meshware.errors import IdentityError
from meshware.outbound.drive import ExchangeSource, drive, drive_async, finish

if TYPE_CHECKING:
    from meshware.outbound.exchange import Exchange

__all__ = ["AsyncCall", "EngineFor", "SyncCall"]

EngineFor = Callable[[Library, Any, Send], Lent[Any]]
"""Return the engine for an attempt of a library's request, taken for this call."""


class _Call:
    """What a call is to threads and tasks alike; everything that does no I/O."""

    __slots__ = (
        "_attempt",
        "_bodies",
        "_engine_for",
        "_error",
        "_head",
        "_kept",
        "_lent",
        "_library",
        "_mirrors",
        "_passes_through",
        "_request",
        "_response",
        "_stream",
        "_timeouts",
    )

    def __init__(
        self,
        request: Any,
        engine_for: EngineFor,
        mirrors: Any,
        bodies: Bodies,
        stream: Any = None,
    ) -> None:
        self._request = request
        self._bodies = bodies
        self._engine_for = engine_for
        self._mirrors = mirrors  # `MirrorThreads` or `MirrorTasks`
        self._library = library = library_of(request)
        self._stream = stream or request.stream
        self._kept: Kept | None = None  # None: the body can be sent as often as need be
        if stream is None and not library.is_replayable(request):
            self._stream = library.once_class(request.stream)
            self._kept = self._stream.kept
        self._head: RequestHead | None = None
        self._passes_through = False
        self._attempt = Attempt(None)
        self._timeouts: Timeouts | None = None
        self._lent: Lent[Any] | None = None
        self._response: Any = None
        self._error: Exception | None = None

    def _open(self, mesh: ExchangeSource) -> Exchange:
        self._head = self._library.head(self._request, replayable=self._kept is None)
        return mesh.exchange(self._head)

    def _begin(self, action: Send) -> Any:
        """Get ready for an attempt and return the engine that makes it.

        Raises:
            IdentityError: it needs TLS that cannot be had.
        """
        self._error = None
        if self._kept is not None:
            self._kept.limit = action.replay_bytes
        address = action.address
        fresh_to = (address, action.port) if address is not None and action.is_fresh else None
        attempt = self._attempt = Attempt(None, fresh_to)
        self._passes_through = address is None
        if self._passes_through:
            self._timeouts = None
        else:
            left_s = action.timeout_s
            attempt.allow(left_s)
            # For engines that know only time-outs of single operations; ours know the attempt too.
            self._timeouts = {
                "connect": _nearer(action.connect_timeout_s, left_s),
                "read": _nearer(self._callers_read_s(), left_s),
                "write": left_s,
                "pool": left_s,
            }
        lent = self._lent = self._engine_for(self._library, self._request, action)
        return lent.inner

    def _callers_read_s(self) -> float | None:
        timeouts = self._request.extensions.get("timeout")
        return timeouts.get("read") if timeouts else None

    def _answered(self, response: Any) -> Answer:
        self._response = response
        self._tell_of_body()
        return Answer(response.status_code, header_lookup(response.headers))

    def _failed(self, error: Exception) -> Failure | None:
        """Say how the attempt failed; None: it is the caller's to see."""
        self._let_go()
        if self._body_has_failed():
            return None
        failure = self._library.failure(error, self._attempt)
        if failure is not None:
            self._error = error
            if self._kept is not None and self._kept.is_begun:
                failure.sent = True
            self._tell_of_body()
        return failure

    def _tell_of_body(self) -> None:
        if self._kept is not None and self._head is not None:
            self._kept.tell(self._head)

    def _own(self, error: Exception) -> Exception:
        """Return the library's exception for one of its core's that is no attempt's failure."""
        return error if self._body_has_failed() else self._library.own(error, self._request)

    def _copied_body(self) -> Any:
        """Return the body for a copy of the request; None: it is not here as a whole."""
        if self._kept is None:
            return self._stream
        content = self._kept.content
        return None if content is None else self._library.module.ByteStream(content)

    def _body_has_failed(self) -> bool:
        return self._kept is not None and self._kept.error is not None

    def _let_go(self) -> None:
        lent, self._lent = self._lent, None
        if lent is not None:
            lent.give_back()

    def _deliver(self, exchange: Exchange, deliver: Deliver, body_class: Any) -> Any:
        response = self._response
        response.extensions["meshware"] = deliver.info
        if deliver.edit is not None:
            raw = edited_raw(response.headers.raw, deliver.edit)
            response.headers = self._library.module.Headers(raw)
        if response.is_closed:  # a transport that answers from memory; nobody reads its stream
            self._let_go()
            finish(exchange, Ended(None, len(response.content)))
            return response
        self._attempt.allow(deliver.deadline_s)
        if self._timeouts is not None:
            self._timeouts["read"] = self._callers_read_s()
        response.stream = body_class(
            self._library,
            self._request,
            response.stream,
            exchange=exchange,
            attempt=self._attempt,
            lent=self._lent,
            bodies=self._bodies,
        )
        self._lent = None
        return response

    def _refuse(self, end: Reply | Raise) -> Any:
        """Answer in place of the upstream, or raise."""
        error, self._error = self._error, None
        if isinstance(end, Reply):
            return self._library.reply(self._request, end)
        try:
            if error is not None and (self._passes_through or not end.timed_out):
                raise self._library.own(error, self._request)
            raise self._library.timed_out(
                self._request, "timed out waiting for the response headers"
            ) from error
        finally:
            del error  # its traceback refers to this frame


class SyncCall(_Call):
    """A call made by a thread."""

    __slots__ = ()

    def run(self, mesh: ExchangeSource) -> Any:
        """Make the call and return the library's response, its body still to be read."""
        exchange = self._open(mesh)
        end = self._drive(exchange)
        if isinstance(end, Deliver):
            return self._deliver(exchange, end, self._library.sync_body_class)
        return self._refuse(end)

    def _drive(self, exchange: Exchange) -> Deliver | Reply | Raise:
        return drive(
            exchange,
            self._send,
            time.sleep,
            self._discard,
            wait=threads.until_woken,
            mirror=self._mirror,
        )

    def _mirror(self, action: Mirror) -> None:
        stream = self._copied_body()
        if stream is None:
            action.exchange.close()
            return
        copy = SyncCall(self._request, self._engine_for, self._mirrors, self._bodies, stream)
        if not self._mirrors.submit(lambda: copy.run_mirror(action.exchange)):
            action.exchange.close()

    def run_mirror(self, exchange: Exchange) -> None:
        """Make a mirrored call, read its response, and raise nothing."""
        with contextlib.suppress(Exception):
            end = self._drive(exchange)
            if isinstance(end, Deliver):
                body = self._deliver(exchange, end, self._library.sync_body_class).stream
                try:
                    for _ in body:
                        pass
                finally:
                    body.close()

    def _send(self, action: Send) -> Answer | Failure:
        try:
            engine = self._begin(action)
        except IdentityError as error:
            return Failure(FailureKind.TLS, sent=False, detail=f"TLS_error: {error}")
        token = enter(self._attempt)
        try:
            return self._answered(
                engine.send(self._library, self._request, self._stream, action, self._timeouts)
            )
        except Exception as error:
            failure = self._failed(error)
            if failure is None:
                own = self._own(error)
                if own is error:
                    raise
                raise own from error
            return failure
        except BaseException:
            self._let_go()
            raise
        finally:
            leave(token)

    def _discard(self) -> None:
        response, self._response = self._response, None
        try:
            response.stream.close()
        except Exception as error:
            if not self._library.is_failure(error):
                raise
        finally:
            self._let_go()


class AsyncCall(_Call):
    """A call made by a task."""

    __slots__ = ()

    async def run(self, mesh: ExchangeSource) -> Any:
        """Make the call and return the library's response, its body still to be read."""
        exchange = self._open(mesh)
        end = await self._drive(exchange)
        if isinstance(end, Deliver):
            return self._deliver(exchange, end, self._library.async_body_class)
        return self._refuse(end)

    async def _drive(self, exchange: Exchange) -> Deliver | Reply | Raise:
        return await drive_async(
            exchange,
            self._send,
            tasks.sleep,
            self._discard,
            wait=tasks.until_woken,
            mirror=self._mirror,
        )

    def _mirror(self, action: Mirror) -> None:
        stream = self._copied_body()
        if stream is None:
            action.exchange.close()
            return
        copy = AsyncCall(self._request, self._engine_for, self._mirrors, self._bodies, stream)
        if not self._mirrors.submit(lambda: copy.run_mirror(action.exchange)):
            action.exchange.close()

    async def run_mirror(self, exchange: Exchange) -> None:
        """Make a mirrored call, read its response, and raise nothing but cancellation."""
        with contextlib.suppress(Exception):
            end = await self._drive(exchange)
            if isinstance(end, Deliver):
                body = self._deliver(exchange, end, self._library.async_body_class).stream
                try:
                    async for _ in body:
                        pass
                finally:
                    await body.aclose()

    async def _send(self, action: Send) -> Answer | Failure:
        try:
            engine = self._begin(action)
        except IdentityError as error:
            return Failure(FailureKind.TLS, sent=False, detail=f"TLS_error: {error}")
        token = enter(self._attempt)
        try:
            sending = engine.send_async(
                self._library, self._request, self._stream, action, self._timeouts
            )
            left_s = None if self._passes_through else action.timeout_s
            return self._answered(await tasks.within(left_s, sending))
        except TimeoutError as error:
            self._let_go()
            if self._body_has_failed():
                raise
            self._error = error
            self._tell_of_body()
            return Failure(FailureKind.TIMEOUT, self._attempt.sent or not engine.notes_sending)
        except Exception as error:
            failure = self._failed(error)
            if failure is None:
                own = self._own(error)
                if own is error:
                    raise
                raise own from error
            return failure
        except BaseException:
            self._let_go()
            raise
        finally:
            leave(token)

    async def _discard(self) -> None:
        response, self._response = self._response, None
        try:
            await response.stream.aclose()
        except Exception as error:
            if not self._library.is_failure(error):
                raise
        finally:
            self._let_go()


def _nearer(one_s: float | None, other_s: float | None) -> float | None:
    if one_s is None or other_s is None:
        return other_s if one_s is None else one_s
    return min(one_s, other_s)
