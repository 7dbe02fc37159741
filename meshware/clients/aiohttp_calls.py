"""One call of aiohttp on its way: what the loop's actions are carried out with.

1. A failed attempt is told to the exchange, never raised; only the exchange says what to raise.
2. What is no attempt's failure (a request that cannot be sent, an error in the iterator of its
   body) goes to the caller as it is.
3. A body that is not bytes is begun once at most.
4. What the mesh does not know goes the session's own way, with the caller's own settings.

The caller's time-outs: the one for the whole call is aiohttp's own timer, which ends the call, body
included. The one for reading is not told to middlewares; it is found out when the first connection
has been made, bounds the whole wait for headers, and then each read of the body.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiohttp import ClientError, ClientRequest, ClientResponse, SocketTimeoutError
from aiohttp.client_middlewares import ClientHandlerType

from meshware.call import (
    Answer,
    Deliver,
    Failure,
    FailureKind,
    Mirror,
    Raise,
    Reply,
    RequestHead,
    Send,
    current_call,
)
from meshware.clients import tasks
from meshware.clients.addresses import unix_path
from meshware.clients.aiohttp_attempts import (
    OnceBody,
    Unwanted,
    Wire,
    attempt_request,
    is_bytes,
    with_body,
)
from meshware.clients.aiohttp_failures import failure_of
from meshware.clients.aiohttp_lives import Lives
from meshware.clients.aiohttp_responses import edit_response, local_response, response_class
from meshware.clients.aiohttp_watch import watch
from meshware.clients.mirrors import MirrorTasks
from meshware.errors import IdentityError
from meshware.outbound.drive import ExchangeSource, drive_async
from meshware.outbound.exchange import Exchange

__all__ = ["Call"]

_SCHEMES = {"ws": "http", "wss": "https"}


class Call:
    """A call made by a task.

    Args:
        request: as the session made it.
        handler: makes an attempt.
        lives: of the connections that have carried a request.
        mirrors: sends copies.
    """

    __slots__ = (
        "_body",
        "_caller_at",
        "_error",
        "_handler",
        "_lives",
        "_loop",
        "_mirrors",
        "_passes_through",
        "_request",
        "_response",
        "_started",
        "_told",
        "_wire",
    )

    def __init__(
        self,
        request: ClientRequest,
        handler: ClientHandlerType,
        *,
        lives: Lives,
        mirrors: MirrorTasks,
    ) -> None:
        self._request = request
        self._handler = handler
        self._lives = lives
        self._mirrors = mirrors
        self._body = None if is_bytes(request.body) else OnceBody(request.body)
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._caller_at: float | None = None  # loop's time
        self._wire = Wire(lives, None)
        self._passes_through = False
        self._response: Any = None
        self._error: Exception | None = None

    async def run(self, mesh: ExchangeSource) -> ClientResponse:
        """Make the call and return its response, the body still to be read."""
        exchange = mesh.exchange(self._head())
        end = await self._drive(exchange)
        if isinstance(end, Deliver):
            return self._deliver(exchange, end)
        if isinstance(end, Reply):
            return await local_response(self._request, end)
        error, self._error = self._error, None
        try:
            if error is not None and (self._passes_through or not end.timed_out):
                raise error
            raise _timed_out() from error
        finally:
            del error  # its traceback refers to this frame

    async def run_mirror(self, exchange: Exchange) -> None:
        """Make a mirrored call, read its response, and raise nothing but cancellation."""
        with contextlib.suppress(Exception):
            end = await self._drive(exchange)
            if isinstance(end, Deliver):
                response = self._deliver(exchange, end)
                try:
                    while await response.content.readany():
                        pass
                finally:
                    response.close()

    def _head(self) -> RequestHead:
        request = self._request
        url, headers = request.url, request.headers
        self._told = RequestHead(
            method=request.method,
            scheme=_SCHEMES.get(url.scheme, url.scheme),
            host=(url.raw_host or "").rstrip("."),
            port=url.port or 80,
            authority=headers.get("host", ""),
            target=url.raw_path_qs,
            headers=lambda name: headers.getall(name, ()),
            replayable=self._body is None,
            call=current_call(),
        )
        return self._told

    async def _drive(self, exchange: Exchange) -> Deliver | Reply | Raise:
        return await drive_async(
            exchange,
            self._send,
            self._sleep,
            self._discard,
            wait=tasks.until_woken,
            mirror=self._mirror,
        )

    def _mirror(self, action: Mirror) -> None:
        request = self._request
        if self._body is not None:
            content = self._body.kept.content
            if content is None:
                action.exchange.close()
                return
            request = with_body(request, content)
        copy = Call(request, self._handler, lives=self._lives, mirrors=self._mirrors)
        if not self._mirrors.submit(lambda: copy.run_mirror(action.exchange)):
            action.exchange.close()

    async def _sleep(self, seconds: float) -> None:
        left_s = None if self._caller_at is None else self._caller_at - self._loop.time()
        if left_s is not None and left_s < seconds:
            await asyncio.sleep(left_s)
            raise _timed_out()
        await asyncio.sleep(seconds)

    # --- attempts -----------------------------------------------------------------------------

    async def _send(self, action: Send) -> Answer | Failure:
        self._error = None
        if action.address is None:
            return await self._send_past_the_mesh()
        if self._body is not None:
            self._body.kept.limit = action.replay_bytes
        outcome = await self._attempt(action)
        if self._body is not None:
            self._body.tell(self._told)
        return outcome

    async def _attempt(self, action: Send) -> Answer | Failure:
        assert action.address is not None
        now = self._loop.time()
        until = None if action.timeout_s is None else now + action.timeout_s
        connect_at = None if action.connect_timeout_s is None else now + action.connect_timeout_s
        wire = self._wire = Wire(self._lives, action.pool, must_be_fresh=action.is_fresh)
        if unix_path(action.address) is not None:
            return Failure(FailureKind.CONNECT, False, "aiohttp's sessions dial no Unix sockets")
        try:
            request = attempt_request(self._request, action, wire, self._lives, self._body)
        except IdentityError as error:
            return Failure(FailureKind.TLS, sent=False, detail=f"TLS_error: {error}")
        while True:
            scope = asyncio.timeout_at(_earlier(_earlier(until, connect_at), self._caller_at))

            def connected(scope: asyncio.Timeout = scope) -> None:
                if self._caller_at is None and wire.read_s:
                    self._caller_at = self._started + wire.read_s
                scope.reschedule(_earlier(until, self._caller_at))

            wire.on_connected = connected
            try:
                async with scope:
                    response: Any = await self._handler(request)
            except Unwanted:
                continue  # a connection that was idle; it is closed, and another one taken
            except TimeoutError as error:
                if not scope.expired() and isinstance(error, ClientError):
                    return self._failed(error)
                wire.give_up()
                if not scope.expired():
                    raise  # the caller's time for the whole call is over
                now = self._loop.time()
                if scope.when() == self._caller_at:
                    raise _timed_out() from error
                self._error = error
                is_slow_connect = not wire.sent and (until is None or now < until)
                kind = FailureKind.CONNECT_TIMEOUT if is_slow_connect else FailureKind.TIMEOUT
                return Failure(kind, wire.sent)
            except Exception as error:
                return self._failed(error)
            except BaseException:
                wire.give_up()
                raise
            return self._answered(response)

    def _answered(self, response: Any) -> Answer | Failure:
        problem = _problem(self._request, response)
        if problem is not None:
            response.close()
            self._wire.close()
            return Failure(FailureKind.PROTOCOL, True, problem)
        self._response = response
        if self._wire.used is not None:
            response.content.on_eof(self._wire.used.rest)
        return Answer(response.status, lambda name: response.headers.getall(name, ()))

    async def _send_past_the_mesh(self) -> Answer | Failure:
        self._passes_through = True
        request = self._request
        request.response_class = response_class(request.response_class)
        try:
            response = self._response = await self._handler(request)
        except Exception as error:
            failure = failure_of(error, self._wire)
            if failure is None:
                raise
            self._error = error
            return failure
        return Answer(response.status, lambda name: response.headers.getall(name, ()))

    def _failed(self, error: Exception) -> Failure:
        """Say how the attempt failed, or raise what is the caller's to see."""
        self._wire.give_up()
        own = None if self._body is None else self._body.kept.error
        if own is not None:
            # Not in aiohttp's wrapping, which the session may take for a lost connection, and then
            # send what is left of the body.
            raise own
        failure = failure_of(error, self._wire)
        if failure is None:
            raise error
        self._error = error
        return failure

    async def _discard(self) -> None:
        response, self._response = self._response, None
        response.close()

    # --- the end ------------------------------------------------------------------------------

    def _deliver(self, exchange: Exchange, deliver: Deliver) -> ClientResponse:
        response = self._response
        response.meshware = deliver.info
        if deliver.edit is not None:
            edit_response(response, deliver.edit)
        read_s = None if self._passes_through else self._wire.read_s
        watch(response, exchange, deliver.deadline_s, read_s)
        result: ClientResponse = response
        return result


def _problem(request: ClientRequest, response: Any) -> str | None:
    """Return what makes a head ambiguous, as far as aiohttp lets it pass; None for nothing."""
    if response.status == 101 and "upgrade" not in request.headers:
        return "the response switches protocols, which nobody asked"
    encodings = response.headers.getall("transfer-encoding", ())
    if encodings and [text.strip().lower() for text in encodings] != ["chunked"]:
        return "the response has a transfer encoding other than chunked"
    for name, value in response.raw_headers:
        if name.endswith((b" ", b"\t")):
            return "the response head has a blank before a colon"
        if b"\0" in value:
            return "the response head has a control character"
    return None


def _timed_out() -> SocketTimeoutError:
    return SocketTimeoutError("timed out waiting for the response headers")


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
