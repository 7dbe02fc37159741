"""Ask an authorizer that is a service of the mesh: an exchange like any other call's.

Endpoints, identity, limits and outliers are policy's for that service. A question may be asked
again: a connection that went stale is replaced whatever the method of the request that it is about.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Generator, Hashable
from typing import Any, NamedTuple

from meshware.asking.http1 import Flow, Garbage, Response, Unsent, is_refusal, request_bytes
from meshware.asking.links import IdleLinks, Link
from meshware.asking.sockets import dial, dial_async, read_what_came, run, run_async
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
from meshware.clients.failures import connect_detail, tls_detail
from meshware.clients.tls import Origination, origination
from meshware.errors import IdentityError
from meshware.inbound.asking import Check, HttpAnswer, NoAnswer
from meshware.outbound.drive import ExchangeSource, drive, drive_async, finish
from meshware.outbound.exchange import Exchange
from meshware.policy.authorizers import HttpAuthorizer

__all__ = ["ask_http", "ask_http_async"]

_of_threads, _of_tasks = IdleLinks(), IdleLinks()


def ask_http(
    mesh: ExchangeSource,
    authorizer: HttpAuthorizer,
    check: Check,
    body: bytes | None,
    *,
    is_whole: bool,
) -> HttpAnswer | NoAnswer:
    """Ask, in this thread.

    Args:
        mesh: whose policy says where the authorizer is.
        authorizer: whom.
        check: what.
        body: of the request, as far as it goes with it; None: it does not.
        is_whole: the body is all of it.
    """
    question = _Question(authorizer, check, body, is_whole=is_whole)
    exchange = mesh.exchange(question.head)
    try:
        end = drive(
            exchange,
            question.send,
            time.sleep,
            question.discard,
            wait=threads.until_woken,
            mirror=_drop,
        )
    except Unsent as error:
        return NoAnswer(str(error))
    return question.answer(exchange, end)


async def ask_http_async(
    mesh: ExchangeSource,
    authorizer: HttpAuthorizer,
    check: Check,
    body: bytes | None,
    *,
    is_whole: bool,
) -> HttpAnswer | NoAnswer:
    """Ask, in this task; see `ask_http`."""
    question = _Question(authorizer, check, body, is_whole=is_whole)
    exchange = mesh.exchange(question.head)
    try:
        end = await drive_async(
            exchange,
            question.send_async,
            tasks.sleep,
            question.discard_async,
            wait=tasks.until_woken,
            mirror=_drop,
        )
    except Unsent as error:
        return NoAnswer(str(error))
    return question.answer(exchange, end)


def _drop(action: Mirror) -> None:
    action.exchange.close()  # a copy of a question is nobody's business


class _Question:
    """One question on its way."""

    def __init__(
        self, authorizer: HttpAuthorizer, check: Check, body: bytes | None, *, is_whole: bool
    ) -> None:
        self._check = check
        self._headers = check.sized(body, is_whole=is_whole)
        self._body = body or b""
        self._response: Response | None = None
        self._refusal: Response | None = None  # the last that was read, retries or not
        self._step: _Step | None = None
        name, port = authorizer.host, authorizer.port
        self._service = name if port == 80 else f"{name}:{port}"
        table: dict[str, list[str]] = {}
        for key, value in self._headers:
            table.setdefault(key, []).append(value)
        self.head = RequestHead(
            method=check.method,
            scheme="http",
            host=name,
            port=port,
            # The service's own name: whom TLS must meet is not for a caller's Host to say.
            authority=self._service,
            target=check.target,
            headers=lambda key: table.get(key, ()),
            replayable=True,
            wait_s=authorizer.timeout_s,
        )

    def answer(self, exchange: Exchange, end: Deliver | Reply | Raise) -> HttpAnswer | NoAnswer:
        """Return what came of it."""
        response = self._response
        if not isinstance(end, Deliver) or response is None:
            if self._refusal is not None:  # once said, no later failure unsays it
                return HttpAnswer(self._refusal.status, self._refusal.headers, self._refusal.body)
            return NoAnswer("late" if isinstance(end, Raise) else "out of reach")
        finish(exchange, Ended(None, len(response.body)))
        return HttpAnswer(response.status, response.headers, response.body)

    # --- attempts -----------------------------------------------------------------------------

    def send(self, action: Send) -> Answer | Failure:
        """Make one attempt, in this thread."""
        attempt = Attempt(None)
        attempt.allow(action.timeout_s)
        token = enter(attempt)
        steps = self._attempt(action, _of_threads)
        try:
            step = next(steps)
            while True:
                self._step = step
                try:
                    done = dial(action, step.tls) if step.flow is None else run(*step.flow)
                except Exception as error:
                    if isinstance(error, TimeoutError) and attempt.is_over():
                        return self._late()
                    step = steps.throw(error)
                else:
                    step = steps.send(done)
        except StopIteration as end:
            return _outcome(end)
        finally:
            leave(token)
            steps.close()

    async def send_async(self, action: Send) -> Answer | Failure:
        """Make one attempt, in this task."""
        try:
            return await tasks.within(action.timeout_s, self._send_async(action))
        except TimeoutError:
            return self._late()

    async def _send_async(self, action: Send) -> Answer | Failure:
        steps = self._attempt(action, _of_tasks)
        try:
            step = next(steps)
            while True:
                self._step = step
                try:
                    if step.flow is None:
                        dialling = dial_async(action, step.tls)
                        done = await tasks.within(action.connect_timeout_s, dialling)
                    else:
                        done = await run_async(*step.flow)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(done)
        except StopIteration as end:
            return _outcome(end)
        finally:
            steps.close()

    def _attempt(self, action: Send, idle: IdleLinks) -> Generator[_Step, Any, Answer | Failure]:
        """Yield the steps of one attempt; is sent what they return, or thrown what they raise."""
        try:
            tls = origination(action, "http")
        except IdentityError as error:
            return Failure(FailureKind.TLS, sent=False, detail=f"TLS_error: {error}")
        request, method = self._request(action), self._check.method
        key = (action.address, action.port, action.pool, tls)
        link: Link | None = None if action.is_fresh else idle.take(key)
        if link is not None:
            try:
                response = yield _Step((link.call(request, method), link))
            except (Garbage, OSError) as error:
                link.sock.close()
                if link.received or isinstance(error, TimeoutError):
                    return self._broken(error, link)
            else:
                return self._answered(response, link, key, idle)
        try:
            link = yield _Step(None, tls)
        except OSError as error:
            return _unconnected(error)
        try:
            yield _Step((link.handshake(), link))
        except OSError as error:
            link.sock.close()
            return _unconnected(error)
        try:
            response = yield _Step((link.call(request, method), link))
        except (Garbage, OSError) as error:
            link.sock.close()
            return self._broken(error, link)
        return self._answered(response, link, key, idle)

    def _late(self) -> Answer | Failure:
        """Return what came of an attempt whose time is up."""
        step, self._step = self._step, None
        if step is not None and step.flow is not None:
            flow, link = step.flow
            read_what_came(flow, link)
            link.sock.close()
            refusal = None if link.reading is None else link.reading.refusal()
            if refusal is not None:
                return self._told(refusal)
        return Failure(FailureKind.TIMEOUT, sent=True)

    def _broken(self, error: Exception, link: Link) -> Answer | Failure:
        """Return what came of an attempt whose answer is not whole."""
        refusal = None if link.reading is None else link.reading.refusal()
        return _lost(error, link) if refusal is None else self._told(refusal)

    def _answered(self, response: Response, link: Link, key: Hashable, idle: IdleLinks) -> Answer:
        if response.may_go_on:
            idle.keep(key, link)
        else:
            link.sock.close()
        return self._told(response)

    def _told(self, response: Response) -> Answer:
        self._response = response
        if is_refusal(response.status):
            self._refusal = response
        table: dict[str, list[str]] = {}
        for name, value in response.headers:
            table.setdefault(name, []).append(value)
        return Answer(response.status, lambda name: table.get(name, ()))

    def _request(self, action: Send) -> bytes:
        """Return a request with what its route and the mesh change in it; its Host stays."""
        edit = action.edit
        headers = list(self._headers)
        if edit is not None:
            headers = [pair for pair in headers if pair[0] not in edit.drop or pair[0] in _OURS]
            headers += (pair for pair in edit.append if pair[0] not in _OURS)
        wanted = [pair for pair in action.headers if pair[0] not in _OURS]
        replaced = {name for name, _ in wanted}
        headers = [pair for pair in headers if pair[0] not in replaced]
        host = ("host", self._check.host or self._service)
        return request_bytes(
            self._check.method,
            action.target or self._check.target,
            (host, *headers, *wanted),
            self._body,
        )

    def discard(self) -> None:
        """Let the last answer go: it has been read."""
        self._response = None

    async def discard_async(self) -> None:
        """Let the last answer go, as `discard` does."""
        self._response = None


_OURS = frozenset({"host", "content-length"})  # what a question is about, and how long it is


class _Step(NamedTuple):
    """What an attempt waits for: a flow over a connection, or a connection."""

    flow: tuple[Flow[Any], Link] | None
    tls: Origination | None = None


def _outcome(end: StopIteration) -> Answer | Failure:
    result: Answer | Failure = end.value
    return result


def _unconnected(error: OSError) -> Failure:
    """Return how a connection failed to be made."""
    if isinstance(error, TimeoutError):
        return Failure(FailureKind.CONNECT_TIMEOUT, sent=False)
    detail = tls_detail(error)
    if detail is not None:
        return Failure(FailureKind.TLS, sent=False, detail=detail)
    return Failure(FailureKind.CONNECT, sent=False, detail=connect_detail(error))


def _lost(error: Exception, link: Link) -> Failure:
    """Return how an answer failed to come."""
    if isinstance(error, TimeoutError):
        kind = FailureKind.TIMEOUT
    elif isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        kind = FailureKind.RESET
    elif link.received:
        kind = FailureKind.PROTOCOL
    else:
        kind = FailureKind.TERMINATED
    return Failure(kind, sent=True)
