"""Make threads and executors carry the current call, as tasks do by themselves.

Only the call is carried, not the whole context: a thread that suddenly saw its starter's other
context variables (a framework's request, a decimal context) would behave differently from one
without the mesh.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from meshware.call import Call, bind_call, current_call, unbind_call

__all__ = ["install"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_MARK = "_meshware_carries_the_call"
_install_lock = threading.Lock()


def install() -> None:
    """Make `threading.Thread` and `ThreadPoolExecutor` carry the current call.

    A thread runs for the call in which it was started, an executor's work for the call in which it
    was submitted (or for none, whichever call first made the executor start its threads). Work
    that outlives a call, such as a thread started lazily by its first user, is still for it.
    Idempotent and thread-safe; also covers what is built on the two, such as `executor.map`,
    `loop.run_in_executor` and subclasses that override `run`.
    """
    with _install_lock:
        if not hasattr(threading.Thread.start, _MARK):
            _replace(threading.Thread, "start", _carrying_start(threading.Thread.start))
        if not hasattr(ThreadPoolExecutor.submit, _MARK):
            _replace(ThreadPoolExecutor, "submit", _carrying_submit(ThreadPoolExecutor.submit))


def _replace(owner: type, name: str, wrapper: Callable[..., object]) -> None:
    setattr(wrapper, _MARK, True)
    setattr(owner, name, wrapper)


def _run_for(
    call: Call | None, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    token = bind_call(call)
    try:
        return function(*args, **kwargs)
    finally:
        unbind_call(token)


def _in_its_trace(call: Call, function: Callable[[], _T]) -> Callable[[], _T]:
    """Return a function that runs in the span, of a sampled call, that is current now."""
    if call.span is None:
        return function
    enter = call.span.here()

    def run() -> _T:
        leave = enter()
        try:
            return function()
        finally:
            leave()

    return run


def _carrying_start(
    start: Callable[[threading.Thread], None],
) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def carrying_start(self: threading.Thread) -> None:
        call = current_call()
        if call is None or self.ident is not None:  # the latter: `start` will say what is wrong
            start(self)
            return
        attributes = self.__dict__
        traced = _in_its_trace(call, self.run)
        own_run = attributes.get("run")  # somebody may have given this one thread another `run`

        def restore() -> None:
            # Also ends the cycle thread -> run -> thread, so that the thread goes when it is done.
            if own_run is None:
                attributes.pop("run", None)
            else:
                attributes["run"] = own_run

        def run() -> None:
            restore()
            _run_for(call, traced)

        attributes["run"] = run
        try:
            start(self)
        except BaseException:
            restore()
            raise

    return carrying_start


def _carrying_submit(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    @functools.wraps(submit)
    def carrying_submit(
        self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        # Submit without a call: a thread that the executor starts now serves other calls later.
        call = current_call()
        if call is None:
            return submit(self, fn, *args, **kwargs)
        work = functools.partial(fn, *args, **kwargs)
        run = functools.partial(_run_for, call, _in_its_trace(call, work))
        return _run_for(None, submit, self, run)

    return carrying_submit
