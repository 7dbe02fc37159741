"""Ask an authorizer that is a function of the app, whichever kind it and the driver are.

=============  ==============================  ================================================
function       asked by a thread (WSGI)        asked by a task (ASGI)
=============  ==============================  ================================================
plain          in that thread; a late answer   in a thread of a few, so that it holds no loop up
               counts for none
async          on a loop of its own, which     in that task
               runs in one thread
=============  ==============================  ================================================

What raises or is late is an error, told in the log once for each place; policy may say that it lets
a request in. What answers with what is no answer has not allowed it, whatever policy says; nor
has what wanted to end the process, or a function for which no thread was free: callers could use
all of them up.

An exception is the function's own, whatever its class, unless it ends what the question runs in:

1. a task that is cancelled, or a coroutine or greenlet that is closed;
2. the process, by Ctrl-C or by a server's signal handler that raises SystemExit. Both happen in
   the main thread alone.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from meshware.authz import Allow, AnswerError, Authorizer, Deny, Request
from meshware.clients.tasks import trio_of_this_task, within
from meshware.inbound.asking import NoAnswer, Unfit

__all__ = ["MOST_THREADS", "ask_function", "ask_function_async"]

MOST_THREADS = 32
"""In which one plain function is asked at once, in one process; the others wait for their turn, and
their time runs. Each has threads of its own: one that hangs holds up no other."""

Answer = Allow | Deny | NoAnswer | Unfit

_ARE_THREADS_NUMBERED = sys.platform == "linux"  # as processes are, the main one as its own

_log = logging.getLogger("meshware.authorizers")


def ask_function(name: str, function: Authorizer, request: Request, timeout_s: float) -> Answer:
    """Ask in this thread."""
    started = time.monotonic()
    try:
        answer: Any = function(request)
        if inspect.isawaitable(answer):
            answer = _await(_coroutine(answer), timeout_s)
    except BaseException as error:
        if _ends_worker(error):
            raise
        return _failed(name, error)
    if time.monotonic() - started > timeout_s:
        return _failed(name, TimeoutError())
    return _checked(name, answer)


async def ask_function_async(
    name: str, function: Authorizer, request: Request, timeout_s: float
) -> Answer:
    """Ask in this task."""
    started = time.monotonic()
    turn = _Turn(function, request)
    try:
        if _is_async(function):
            answer: Any = await within(timeout_s, _coroutine(function(request)))
        else:
            answer = await within(timeout_s, _in_thread(name, turn))
            if inspect.isawaitable(answer):
                left_s = timeout_s - (time.monotonic() - started)
                answer = await within(max(0.0, left_s), _coroutine(answer))
    except BaseException as error:
        if _ends_task(error) or _ends_worker(error):
            raise
        if isinstance(error, TimeoutError) and not turn.has_begun and not _is_async(function):
            return _failed(name, _NoThreadError("no thread is free: all are held up by it"))
        return _failed(name, error)
    if time.monotonic() - started > timeout_s:  # it has held the loop up, and the clock with it
        return _failed(name, TimeoutError())
    return _checked(name, answer)


class _NoThreadError(Exception):
    """A plain function was not asked in time."""


class _EndError(Exception):
    """A function wanted to end the process."""


def _ends_worker(error: BaseException) -> bool:
    """Say whether an exception is to end what this thread or greenlet is there for."""
    greenlet = sys.modules.get("greenlet")
    if greenlet is not None and isinstance(error, greenlet.GreenletExit):
        return True
    if isinstance(error, SystemExit):
        return _comes_from_a_signal(error)
    return isinstance(error, KeyboardInterrupt) and _is_main_thread()


def _is_main_thread() -> bool:
    if _ARE_THREADS_NUMBERED:  # where greenlets say that each is a thread of its own
        return threading.get_native_id() == os.getpid()
    return threading.current_thread() is threading.main_thread()


def _comes_from_a_signal(error: BaseException) -> bool:
    handlers = {getattr(signal.getsignal(each), "__code__", None)
                for each in signal.valid_signals()}  # fmt: skip
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _ends_task(error: BaseException) -> bool:
    """Say whether an exception is this task's own end, and not one that a function awaited."""
    if isinstance(error, BaseExceptionGroup):
        return any(_ends_task(each) for each in error.exceptions)
    if isinstance(error, GeneratorExit):
        return True
    trio = trio_of_this_task()
    if trio is not None:
        return isinstance(error, trio.Cancelled)
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class _Turn:
    """One question to a plain function; notes that its turn has come."""

    __slots__ = ("_function", "_request", "has_begun")

    def __init__(self, function: Authorizer, request: Request) -> None:
        self._function = function
        self._request = request
        self.has_begun = False

    def __call__(self) -> Any:
        self.has_begun = True
        try:
            return self._function(self._request)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _EndError("it wanted to end the process") from error
        except (StopIteration, asyncio.CancelledError) as error:  # futures mean others by these
            raise RuntimeError(f"it raised {type(error).__name__}") from error


def _is_async(function: Authorizer) -> bool:
    called = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004 - its kind
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


async def _coroutine(awaited: Any) -> Any:
    try:
        return await awaited
    except (SystemExit, KeyboardInterrupt) as error:  # it would end the loop that it runs on
        if _ends_worker(error):
            raise
        raise _EndError("it wanted to end the process") from error


def _checked(name: str, answer: Any) -> Answer:
    if isinstance(answer, Allow | Deny):
        return answer
    if answer is True:
        return Allow()
    if answer is False or answer is None:  # one that forgot to answer has not allowed it
        return Deny(403, "RBAC: access denied", {"content-type": "text/plain"})
    return _failed(
        name, AnswerError(f"it returned {type(answer).__name__}; return Allow, Deny, True or False")
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
        self.threads: dict[str, _Threads] = {}  # by the authorizer's name
        self.loop: asyncio.AbstractEventLoop | None = None
        self.limiters: dict[str, Any] = {}  # of trio, likewise


_places = _Places()


def _forget() -> None:
    """Start anew in a forked child: the threads stayed behind."""
    global _places  # noqa: PLW0603 - the threads of this process
    _places = _Places()


os.register_at_fork(after_in_child=_forget)


async def _in_thread(name: str, turn: _Turn) -> Any:
    trio = trio_of_this_task()
    if trio is None:
        context = copy_context()
        with _places.lock:
            threads = _places.threads.setdefault(name, _Threads())
        return await asyncio.wrap_future(threads.submit(lambda: context.run(turn)))
    limiter = _places.limiters.get(name)
    if limiter is None:
        limiter = _places.limiters[name] = trio.CapacityLimiter(MOST_THREADS)
    return await trio.to_thread.run_sync(turn, abandon_on_cancel=True, limiter=limiter)


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


def _failed(name: str, error: BaseException) -> NoAnswer | Unfit:
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
    why = type(error).__name__
    is_unfit = isinstance(error, AnswerError | _NoThreadError | _EndError | SystemExit)
    return Unfit(why) if is_unfit else NoAnswer(why)
