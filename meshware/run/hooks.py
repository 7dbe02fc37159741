"""Have a function called when a module is imported, in programs that know nothing of it.

This file is also executed by path, by `inject/sitecustomize.py`, in every Python process below
`meshware run`, before anything else runs there and perhaps where meshware is not installed. So it
imports nothing but what an interpreter has loaded at that point: gevent patches the standard
library later and must find it as untouched as without us, and a process that neither serves nor
uses a framework pays only for this file.

Theory of operation: one finder stands first in `sys.meta_path`. Asked for a name of its table, it
lets the other finders find the module and puts itself in the place of the loader. When the module
is executed the true loader is put back first, so nothing of the finder can be seen in the module;
then the module runs, and then its hook, before anyone can use the module. A module that is
executed again (`importlib.reload`) is hooked again: hooks have to bear that.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, NoReturn

__all__ = [
    "HOOKS",
    "MISSING",
    "SERVING",
    "Finder",
    "fail",
    "has",
    "load_hook",
    "watch",
    "watch_without_meshware",
]

HOOKS = {
    # Servers: the outermost place, where the connection is still at hand.
    "uvicorn": "meshware.run.hosts:hook_uvicorn",
    "hypercorn.config": "meshware.run.hosts:hook_hypercorn",
    "hypercorn.asyncio.run": "meshware.run.hosts:hook_hypercorn_worker",
    "hypercorn.trio.run": "meshware.run.hosts:hook_hypercorn_worker",
    "gunicorn.app.base": "meshware.run.hosts:hook_gunicorn",
    "gunicorn.workers.base": "meshware.run.gunicorn_workers:hook_worker",
    "gunicorn.workers.gasgi": "meshware.run.gunicorn_workers:hook_asgi_worker",
    "werkzeug.serving": "meshware.run.hosts:hook_werkzeug",
    # Frameworks: for servers that are not known here.
    "flask.app": "meshware.run.frameworks:hook_flask",
    "starlette.applications": "meshware.run.frameworks:hook_starlette",
    "fastapi.applications": "meshware.run.frameworks:hook_fastapi",
    # Bridges, so that a WSGI app within an ASGI one is not decided again, as if by a stranger.
    "starlette.middleware.wsgi": "meshware.run.frameworks:hook_bridge",
    "uvicorn.middleware.wsgi": "meshware.run.frameworks:hook_bridge",
    "hypercorn.app_wrappers": "meshware.run.frameworks:hook_bridge",
}
"""The modules that are waited for, each with `module:function`, called with the module."""

SERVING = (
    "django.core.handlers.base", "falcon", "fastapi", "flask", "granian", "gunicorn", "hypercorn",
    "quart", "sanic", "starlette", "uvicorn", "waitress", "werkzeug.serving",
)  # fmt: skip
"""What a process imports that is about to serve, where meshware is not installed."""

MISSING = (
    "{} has no meshware, so what it serves would be unprotected; install meshware there, or run "
    "the command of the environment that has it"
)

EXIT_CODE = 2

_FORBIDDEN = ""  # in place of a hook: the module must not be executed


def fail(sentence: str, code: int = EXIT_CODE) -> NoReturn:
    """Say why on standard error, and end this process at once: it must not serve without us.

    Not by an exception, which a program may catch and go on.
    """
    try:
        os.write(2, f"meshware run: {sentence}\n".encode(errors="replace"))
    except OSError:
        pass  # nobody can be told; the exit code says enough
    os._exit(code)


def has(name: str) -> bool:
    """Say whether this interpreter finds a top-level module, without importing it."""
    if name in sys.modules:
        return True
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if find is not None and find(name, None) is not None:
            return True
    return False


def load_hook(place: str) -> Callable[[ModuleType], object]:
    """Return the function that `module:function` names."""
    from importlib import import_module

    module, _, function = place.partition(":")
    found: Callable[[ModuleType], object] = getattr(import_module(module), function)
    return found


def watch(hooks: Mapping[str, str]) -> None:
    """Have hooks run for modules imported from now on, and for those imported already. Idempotent.

    Args:
        hooks: like `HOOKS`.
    """
    for finder in sys.meta_path:
        if getattr(finder, "_is_of_meshware_run", False):
            known = finder._hooks  # type: ignore[attr-defined]
            hooks = {name: place for name, place in hooks.items() if name not in known}
    if not hooks:
        return
    sys.meta_path.insert(0, Finder(hooks))
    for name in hooks:
        module = sys.modules.get(name)
        if module is not None:
            _run_hook(hooks[name], module)


def watch_without_meshware() -> None:
    """End this process when it imports what serves: nothing can bring the mesh in here."""
    watch(dict.fromkeys(SERVING, _FORBIDDEN))


class Finder:
    """The finder in `sys.meta_path`."""

    _is_of_meshware_run = True

    def __init__(self, hooks: Mapping[str, str]) -> None:
        self._hooks = hooks

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of the table as the other finders do; of any other, know nothing."""
        place = self._hooks.get(name)
        if place is None:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is None:
                continue
            if hasattr(spec.loader, "exec_module"):
                spec.loader = _Loader(spec.loader, place)  # type: ignore[assignment]
            return spec
        return None


class _Loader:
    """In a loader's place until its module is executed."""

    def __init__(self, loader: Any, place: str) -> None:
        self._loader = loader
        self._place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        create = getattr(self._loader, "create_module", None)
        made: ModuleType | None = None if create is None else create(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        if self._place == _FORBIDDEN:
            fail(MISSING.format(sys.executable) + f" (it imports {module.__name__})")
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _run_hook(self._place, module)


def _run_hook(place: str, module: ModuleType) -> None:
    try:
        load_hook(place)(module)
    except Exception as error:  # or the app would serve without the mesh
        fail(
            f"{module.__name__} cannot be brought into the mesh ({type(error).__name__}: {error}); "
            f"the process ends rather than serve without it (interpreter: {sys.executable})"
        )
