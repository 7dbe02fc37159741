"""Ways in which an app is reached: alone, within a mount, behind a prefix, as servers say it.

Each `Place` makes one call in this process, by the frameworks' own objects and as a server was
measured to hand it over, and tells what the mesh decided. The rules are about the whole path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import django_urls  # noqa: F401 - the one configuration of Django that a process of tests has
from inbound_drive import environ_of, http_scope
from inbound_world import mesh_config, policy, to
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from wire_apps import ASGI_APPS, RAN, WSGI_APPS

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

__all__ = ["MODES", "PLACES", "PREFIX", "Place"]

MODES = [None, "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]
PREFIX = "/api"


@dataclass(frozen=True)
class Place:
    """One way in which an app is reached."""

    name: str
    prefix: str  # before the whole path that rules are about
    make: Callable[[TestMesh], Any]  # the app, with the mesh where it belongs
    call: Callable[[Any, str], None]
    is_framework: bool = False  # it is about what a framework's router makes of the path

    def decide(self, action: str, mode: str | None, target: str) -> tuple[int | None, list[str]]:
        """Return the status of a refusal, or 200, and which handlers ran.

        None for a status: what mounts the app has not handed the call to it (a line end is in no
        route of Starlette's), so the mesh within was not asked.

        Args:
            action: "DENY" what is about `/admin`, or "ALLOW" what is below `/public/`.
            mode: MeshConfig's; None: it says nothing.
            target: behind the prefix.
        """
        mesh, app = _built(self, action, mode)
        RAN.clear()
        mesh.events.clear()
        self.call(app, target)
        if not mesh.events:
            return None, list(RAN)
        [event] = mesh.events
        is_refused = event.reason != "via_upstream"
        return (event.status if is_refused else 200), list(RAN)


@cache
def _built(place: Place, action: str, mode: str | None) -> tuple[TestMesh, Any]:
    paths = ["/admin", "/admin/*"] if action == "DENY" else ["/public/*"]
    written = [place.prefix + path for path in paths]
    if action == "ALLOW":
        # Where a server adds the prefix, or keeps it apart, either path has to be allowed.
        written += paths
    policies = [policy(action, to(paths=written))]
    if mode is not None:
        policies.append(mesh_config(pathNormalization={"normalization": mode}))
    mesh = TestMesh(policies)
    return mesh, place.make(mesh)


# --- ASGI -----------------------------------------------------------------------------------------


def run_asgi(app: Any, scope: dict[str, Any]) -> None:
    """Call an app that never waits, without a loop."""

    async def receive() -> Any:
        raise AssertionError("nobody reads")

    async def send(message: Any) -> None:
        pass

    try:
        app(scope, receive, send).send(None)
    except StopIteration:
        return
    raise AssertionError("the app waited")


def as_uvicorn(prefix: str = "", root: str = "") -> Callable[[Any, str], None]:
    """A call with all of the target in the path; `root` is the option."""
    return lambda app, target: run_asgi(app, http_scope(prefix + target, root_path=root))


def as_hypercorn(app: Any, target: str) -> None:
    """A call with the option `root_path`, which hypercorn keeps apart."""
    run_asgi(app, http_scope(target, root_path=PREFIX))


def mounted(app: Any) -> Starlette:
    """A Starlette that mounts an app."""
    return Starlette(routes=[Mount(PREFIX, app)])


# --- WSGI -----------------------------------------------------------------------------------------


def run_wsgi(app: Any, environ: dict[str, Any]) -> None:
    """Call an app, and take its body."""
    body = app(environ, lambda *_: lambda data: None)
    try:
        b"".join(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


def as_gunicorn(app: Any, target: str, prefix: str = "") -> None:
    """A call with the target in RAW_URI; a prefix within it."""
    run_wsgi(app, environ_of(prefix + target))


def behind_script_name(app: Any, target: str) -> None:
    """gunicorn with SCRIPT_NAME in its environment."""
    environ = environ_of(target, SCRIPT_NAME=PREFIX)
    run_wsgi(app, environ | {"RAW_URI": PREFIX + target})


def as_waitress(app: Any, target: str) -> None:
    """A call with the option `url_prefix`, which waitress adds."""
    environ = environ_of(target, SCRIPT_NAME=PREFIX)
    environ["REQUEST_URI"] = environ.pop("RAW_URI")
    run_wsgi(app, environ)


def as_granian(app: Any, target: str) -> None:
    """A call without the target."""
    environ = environ_of(target)
    del environ["RAW_URI"]
    run_wsgi(app, environ)


def dispatched(app: Any) -> DispatcherMiddleware:
    """werkzeug's way to mount an app."""
    return DispatcherMiddleware(lambda *_: [], {PREFIX: app})


def _asgi(name: str) -> Callable[[TestMesh], Any]:
    return lambda mesh: AsgiMesh(ASGI_APPS[name](), mesh)


def _wsgi(name: str) -> Callable[[TestMesh], Any]:
    return lambda mesh: WsgiMesh(WSGI_APPS[name](), mesh)


def _below(app: Any, target: str) -> None:
    as_gunicorn(app, target, PREFIX)


PLACES = [
    Place("ASGI", "", _asgi("tidy"), as_uvicorn()),
    Place("Starlette", "", _asgi("starlette"), as_uvicorn(), is_framework=True),
    Place("within a mount", PREFIX, lambda mesh: mounted(_asgi("starlette")(mesh)),
          as_uvicorn(PREFIX)),
    Place("around a mount", PREFIX, lambda mesh: AsgiMesh(mounted(ASGI_APPS["starlette"]()), mesh),
          as_uvicorn(PREFIX)),
    Place("root path", PREFIX, _asgi("starlette"), as_uvicorn(PREFIX, PREFIX)),
    Place("root path kept apart", PREFIX, _asgi("tidy"), as_hypercorn),
    Place("WSGI", "", _wsgi("tidy"), as_gunicorn),
    Place("Flask", "", _wsgi("flask"), as_gunicorn, is_framework=True),
    Place("Django", "", _wsgi("django"), as_gunicorn, is_framework=True),
    Place("within a dispatcher", PREFIX, lambda mesh: dispatched(_wsgi("tidy")(mesh)), _below),
    Place("around a dispatcher", PREFIX,
          lambda mesh: WsgiMesh(dispatched(WSGI_APPS["flask"]()), mesh), _below),
    Place("SCRIPT_NAME", PREFIX, _wsgi("tidy"), behind_script_name),
    Place("a prefix that a server adds", PREFIX, _wsgi("tidy"), as_waitress),
    Place("no target", "", _wsgi("tidy"), as_granian),
]  # fmt: skip
