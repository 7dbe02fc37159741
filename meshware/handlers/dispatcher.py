"""Which app werkzeug's DispatcherMiddleware calls, by its own choice."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["as_text", "chosen", "mounted_in"]

Environ = dict[str, Any]


def chosen(
    dispatcher: Any, environ: Environ, call: Callable[..., Any] | None = None
) -> tuple[Any, Environ, str]:
    """Return the app that is called, the environ that it gets, and where it is mounted.

    Args:
        dispatcher: a twin of it is called, whose apps only note that they are.
        environ: it stays as it is.
        call: the dispatcher's method, where that has another in front of it.
    """
    calls: list[tuple[Any, Environ]] = []
    twin = copy.copy(dispatcher)
    twin.app = _Noting(dispatcher.app, calls)
    twin.mounts = _NotingMounts(dispatcher.mounts, calls)
    (call or type(dispatcher).__call__)(twin, dict(environ), None)
    [(app, given)] = calls
    before = environ.get("SCRIPT_NAME", "")
    return app, given, as_text(given["SCRIPT_NAME"][len(before) :]).rstrip("/")


def as_text(script: str) -> str:
    """Return the text behind WSGI's bytes-as-latin-1."""
    return script.encode("latin-1", "replace").decode("utf-8", "replace")


def mounted_in(dispatcher: Any) -> Iterator[tuple[Any, str]]:
    """Yield each app that a dispatcher may call, with where it is mounted."""
    yield dispatcher.app, ""
    for path, app in dispatcher.mounts.items():
        yield app, path.rstrip("/")


class _Noting:
    """In place of an app: notes the call."""

    def __init__(self, app: Any, calls: list[tuple[Any, Environ]]) -> None:
        self._app = app
        self._calls = calls

    def __call__(self, environ: Environ, _: object) -> tuple[()]:
        self._calls.append((self._app, environ))
        return ()


class _NotingMounts:
    """In place of a dispatcher's mounts."""

    def __init__(self, mounts: Any, calls: list[tuple[Any, Environ]]) -> None:
        self._mounts = mounts
        self._calls = calls

    def __contains__(self, path: str) -> bool:
        return path in self._mounts

    def __getitem__(self, path: str) -> _Noting:
        return _Noting(self._mounts[path], self._calls)

    def get(self, path: str, default: _Noting) -> _Noting:
        """Return what is mounted there, else what is told."""
        return _Noting(self._mounts[path], self._calls) if path in self._mounts else default
