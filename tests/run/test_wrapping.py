"""What is put around apps and functions."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from flask import Flask

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.run.wrapping import around_asgi, around_wsgi, replace, root_path
from meshware.wsgi import MeshMiddleware as WsgiMesh


def test_a_function_is_replaced_once():
    """Hooks run again when a module is executed again, or for a child class."""

    class Owner:
        def ask(self):
            """Ask."""
            return ["owner"]

    def make(original):
        return lambda self: ["ours", *original(self)]

    replace(Owner, "ask", make)
    replace(Owner, "ask", make)
    assert Owner().ask() == ["ours", "owner"]
    assert Owner.ask.__doc__ == "Ask."


def test_what_is_not_there_is_an_error():
    """A version of a server that nobody tried must not serve without the mesh."""
    with pytest.raises(AttributeError):
        replace(SimpleNamespace(), "load", lambda original: original)


def test_a_coroutine_function_stays_one():
    """uvicorn tells kinds of apps by it."""

    class Owner:
        async def __call__(self): ...

    def make(original):
        async def ours(self):
            await original(self)

        return ours

    replace(Owner, "__call__", make)
    assert inspect.iscoroutinefunction(Owner.__call__)


def test_a_middleware_is_not_put_around_another():
    """The app's own is the outermost already."""
    wsgi, asgi = WsgiMesh(lambda *_: []), AsgiMesh(FastAPI())
    assert around_wsgi(wsgi) is wsgi
    assert around_asgi(asgi) is asgi


def rooted(prefix):
    """An app that routes without a prefix; its own parameter for it warns."""
    made = FastAPI()
    made.root_path = prefix
    return made


class Around:
    def __init__(self, app):
        self.app = app


@pytest.mark.parametrize(
    ("app", "root"),
    [
        (FastAPI(), ""),
        (rooted("/api"), "/api"),
        (Around(Around(rooted("/api"))), "/api"),
        (Around(Flask("here")), ""),  # whose root_path is a directory
        (Around(None), ""),
        (print, ""),
    ],
)
def test_only_fastapis_prefix_is_one(app, root):
    """It is looked for behind what is around the app."""
    assert root_path(app) == root


def test_a_ring_of_wrappers_has_an_end():
    """Nothing hangs for it."""
    ring = Around(None)
    ring.app = ring
    assert root_path(ring) == ""
