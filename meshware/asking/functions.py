"""Ask an authorizer that is a function of the app, whichever kind it and the driver are.

=============  ==============================  ================================================
function       asked by a thread (WSGI)        asked by a task (ASGI)
=============  ==============================  ================================================
plain          in that thread; a late answer   in a thread of a few, so that it holds no loop up
               counts for none
async          on a loop of its own, which     in that task
               runs in one thread
=============  ==============================  ================================================

What raises, is late, or returns what is no answer is an error, told in the log once for each place.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from meshware.authz import Allow, Authorizer, Deny, Request
from meshware.clients.tasks import trio_of_this_task, within
from meshware.inbound.asking import NoAnswer

__all__ = ["MOST_THREADS", "ask_function", "ask_function_async"]

MOST_THREADS = 32
"""In which plain functions are asked at once, in one process; the others wait for their turn, and
their time runs."""

_log = logging.getLogger("meshware.authorizers")


def ask_function(
    name: str, function: Authorizer, request: Request, timeout_s: float
) -> Allow | Deny | NoAnswer:
    """Ask in this thread."""
    started = time.monotonic()
    try:
        answer: Any = function(request)
        if inspect.isawaitable(answer):
            answer = _await(_coroutine(answer), timeout_s)
    except Exception as error:
        return _failed(name, error)
    if time.monotonic() - started > timeout_s:
        return _failed(name, TimeoutError())
    return _checked(name, answer)


async def ask_function_async(
    name: str, function: Authorizer, request: Request, timeout_s: float
) -> Allow | Deny | NoAnswer:
    """Ask in this task."""
    started = time.monotonic()
    try:
        if _is_async(function):
            answer: Any = await within(timeout_s, _coroutine(function(request)))
        else:
            answer = await within(timeout_s, _in_thread(function, request))
            if inspect.isawaitable(answer):
                left_s = timeout_s - (time.monotonic() - started)
                answer = await within(max(0.0, left_s), _coroutine(answer))
    except Exception as error:
        return _failed(name, error)
    return _checked(name, answer)


def _is_async(function: Authorizer) -> bool:
    called = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004 - its kind
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


async def _coroutine(awaited: Any) -> Any:
    return await awaited


def _checked(name: str, answer: Any) -> Allow | Deny | NoAnswer:
    if isinstance(answer, Allow | Deny):
        return answer
    if answer is True:
        return Allow()
    if answer is False or answer is None:  # one that forgot to answer has not allowed it
        return Deny(403, "RBAC: access denied", {"content-type": "text/plain"})
    return _failed(
        name, TypeError(f"it returned {type(answer).__name__}; return Allow, Deny, True or False")
    )


# --- where it runs ----------------------------------------------------------------------------


class _Threads:
    """Some threads, which come with the work. Daemons: one that hangs keeps no process alive."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]]
        self._waiting = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._idle = 0

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Have something done; a future that is cancelled before its turn is passed over."""
        future: Future[Any] = Future()
        with self._lock:
            is_new = self._idle <= self._waiting.qsize() and self._count < MOST_THREADS
            self._count += is_new
        self._waiting.put((future, work))
        if is_new:
            threading.Thread(target=self._run, name="meshware-authorizer", daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            future, work = self._waiting.get()
            with self._lock:
                self._idle -= 1
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # told to whoever waits for it
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, work


class _Places:
    """The threads of one process, made when first asked for."""

    def __init__(self) -> None:
        self.of_process = os.getpid()
        self.lock = threading.Lock()
        self.threads = _Threads()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.limiter: Any = None  # of trio


_places = _Places()


def _forget() -> None:
    """Start anew in a forked child: the threads stayed behind."""
    global _places  # noqa: PLW0603 - the threads of this process
    _places = _Places()


os.register_at_fork(after_in_child=_forget)


async def _in_thread(function: Authorizer, request: Request) -> Any:
    trio = trio_of_this_task()
    if trio is None:
        context = copy_context()
        return await asyncio.wrap_future(
            _places.threads.submit(lambda: context.run(function, request))
        )
    if _places.limiter is None:
        _places.limiter = trio.CapacityLimiter(MOST_THREADS)
    return await trio.to_thread.run_sync(
        function, request, abandon_on_cancel=True, limiter=_places.limiter
    )


def _await(coroutine: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
    """Await something on the loop for that, from this thread."""
    future = asyncio.run_coroutine_threadsafe(within(timeout_s, coroutine), _loop())
    try:
        # The loop keeps the time; a function that holds the loop up must not hold this thread.
        return future.result(timeout_s + 1.0)
    except BaseException:
        future.cancel()
        raise


def _loop() -> asyncio.AbstractEventLoop:
    with _places.lock:
        if _places.loop is None:
            _places.loop = asyncio.new_event_loop()
            threading.Thread(
                target=_places.loop.run_forever, name="meshware-authorizers", daemon=True
            ).start()
        return _places.loop


# --- telling ----------------------------------------------------------------------------------

_told: set[tuple[str, str]] = set()
_MOST_TOLD = 100


def _failed(name: str, error: Exception) -> NoAnswer:
    """Tell of an authorizer that failed, the first time that it does so in its place."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    place = "" if traceback is None else f"{traceback.tb_frame.f_code}:{traceback.tb_lineno}"
    key = (name, f"{type(error).__name__} {place}")
    if key not in _told and len(_told) < _MOST_TOLD:
        _told.add(key)
        if isinstance(error, TimeoutError):
            _log.error("authorizer %r took too long; told once", name)
        else:
            _log.error("authorizer %r failed, told once: %s", name, error, exc_info=error)
    return NoAnswer(type(error).__name__)
