"""The app's own log records say for which call they are made."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import logging.config
import logging.handlers
import queue
import threading

import pytest
from inbound_drive import asgi_call

import meshware
from meshware.asgi import MeshMiddleware
from meshware.telemetry import LoggingFilter
from meshware.testing import TestMesh

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = "spiffe://cluster.local/ns/default/sa/web"
POLICY = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app}
spec: {address: 10.0.0.1, serviceAccount: app, labels: {app: app}}
"""
INSIDE = {"trace_id": TRACE, "span_id": SPAN, "request_id": "id-7", "peer": "-", "route": "-"}
OUTSIDE = dict.fromkeys(INSIDE, "-")


@pytest.fixture
def logger():
    """A logger of the app's own, with a handler that keeps what it is handed."""
    found = logging.getLogger("an_app")
    found.propagate, found.level = False, logging.INFO
    yield found
    found.handlers.clear()
    found.filters.clear()


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def said(self) -> list[dict[str, str]]:
        """The fields of all records."""
        return [{name: getattr(record, name) for name in INSIDE} for record in self.records]


def call(app, path="/"):
    """Call an app by a mesh, as part of a trace."""

    async def wrapped(scope, receive, send):
        await app()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    headers = (
        ("host", "app"), ("x-request-id", "id-7"), ("traceparent", f"00-{TRACE}-{SPAN}-00"),
    )  # fmt: skip
    asgi_call(MeshMiddleware(wrapped, mesh=TestMesh(POLICY)), path, headers=headers)


def test_a_record_within_a_call_says_which_and_one_outside_says_none(logger):
    """In tasks and `to_thread` too."""
    kept = Kept()
    kept.addFilter(LoggingFilter())
    logger.addHandler(kept)

    async def app():
        logger.info("here")
        await asyncio.gather(asyncio.to_thread(logger.info, "thread"), task())

    async def task():
        await asyncio.sleep(0)
        logger.info("task")

    logger.info("before")
    call(app)
    logger.info("after")
    assert kept.said() == [OUTSIDE, INSIDE, INSIDE, INSIDE, OUTSIDE]


def test_a_thread_has_the_call_where_its_context_goes(logger):
    """A bare thread has none; one that runs in a copy of the context has."""
    kept = Kept()
    kept.addFilter(LoggingFilter())
    logger.addHandler(kept)

    async def app():
        bare = threading.Thread(target=contextvars.Context().run, args=(logger.info, "bare"))
        within = threading.Thread(
            target=contextvars.copy_context().run, args=(logger.info, "within")
        )
        for thread in (bare, within):
            thread.start()
            thread.join()

    call(app)
    assert kept.said() == [OUTSIDE, INSIDE]


def test_by_dict_config(logger, capsys):
    """The way most apps set logging up."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"mesh": {"()": "meshware.telemetry.LoggingFilter", "missing": ""}},
            "formatters": {"f": {"format": "%(trace_id)s|%(request_id)s|%(peer)s|%(message)s"}},
            "handlers": {
                "h": {"class": "logging.StreamHandler", "formatter": "f", "filters": ["mesh"]}
            },
            "loggers": {"an_app": {"handlers": ["h"], "level": "INFO", "propagate": False}},
        }
    )

    async def app():
        logger.info("hello")

    call(app)
    logger.info("outside")
    assert capsys.readouterr().err.splitlines() == [f"{TRACE}|id-7||hello", "|||outside"]


def test_what_a_record_has_already_stays(logger):
    """`extra` of the app's own, and what a filter before has put there."""
    kept = Kept()
    logger.addHandler(kept)
    logger.addFilter(LoggingFilter())
    kept.addFilter(LoggingFilter(missing="never"))
    logger.info("x", extra={"trace_id": "mine"})
    assert kept.said() == [OUTSIDE | {"trace_id": "mine"}]


def test_before_a_queue_it_sees_the_call(logger):
    """A listener's thread runs for no call; the handler that queues does."""
    kept = Kept()
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(waiting)
    handler.addFilter(LoggingFilter())
    logger.addHandler(handler)
    listener = logging.handlers.QueueListener(waiting, kept)
    listener.start()

    async def app():
        logger.info("hello")

    call(app)
    listener.stop()
    assert kept.said() == [INSIDE]


def test_names_narrow_whose_records_are_told(logger):
    """As of any `logging.Filter`, but for that it drops none."""
    kept = Kept()
    kept.addFilter(LoggingFilter("another"))
    logger.addHandler(kept)

    async def app():
        logger.info("hello")

    call(app)
    assert kept.said() == [OUTSIDE]


def test_who_called_and_the_route_are_told():
    """As `current_call()` has them."""
    record = logging.makeLogRecord({"msg": "x"})
    token = meshware.call.bind_call(
        meshware.call.Call(
            request_id="r",
            peer=meshware.call.Peer(id=CALLER, proved_by="mtls"),
            route_of=lambda: "/users/{id}",
        )
    )
    try:
        assert LoggingFilter().filter(record) is True
    finally:
        meshware.call.unbind_call(token)
    assert json.dumps([record.peer, record.route, record.trace_id]) == json.dumps(
        [CALLER, "/users/{id}", "-"]
    )
