"""Calls whose app fails and whose framework answers: what is told of them."""

from __future__ import annotations

from inbound_drive import asgi_call
from inbound_world import NOTHING
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from meshware.asgi import MeshMiddleware
from meshware.testing import FakeClock, TestMesh


def boom(request):
    """A mistake of the app's."""
    raise KeyError(request.path_params["id"])


def test_an_exception_that_a_framework_answers_is_told_of_all_the_same():
    """It raises it again behind its answer, for the server's log."""
    mesh = TestMesh(NOTHING)
    app = MeshMiddleware(Starlette(routes=[Route("/boom/{id}", boom)]), mesh)
    answer = asgi_call(app, "/boom/1")
    assert (answer.status, type(answer.error)) == (500, KeyError)
    [event] = mesh.events
    assert (event.status, event.exception, event.flags, event.route) == (
        500, "KeyError", "-", "/boom/{id}",
    )  # fmt: skip
    assert mesh.gate.in_flight == 0


def test_what_an_app_does_behind_a_failure_is_not_the_callers():
    """It is told when that is over, and not counted in."""
    clock, under_way = FakeClock(), []
    mesh = TestMesh(NOTHING, clock=clock)

    def work() -> None:
        clock.advance(5)
        under_way.append(mesh.gate.in_flight)

    async def down(_):
        behind = BackgroundTask(work)
        return PlainTextResponse("later", 503, background=behind)

    asgi_call(MeshMiddleware(Starlette(routes=[Route("/down", down)]), mesh), "/down")
    [event] = mesh.events
    assert (event.status, event.exception, event.flags, event.duration_s) == (503, None, "-", 0)
    assert under_way == [0], "it takes no place among those that count for a limit"
