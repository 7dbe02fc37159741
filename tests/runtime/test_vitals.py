"""What a process tells of its own health, and who introduces its server."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import sys
from pathlib import Path

import msgspec
import pytest

from meshware.policy.view import Client
from meshware.runtime.reporter import Report, Reporter
from meshware.runtime.vitals import Process, Signs
from meshware.testing import FakeClock


@pytest.fixture
def clock():
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def signs(clock):
    """Of a process that has nothing."""
    return Signs(clock.monotonic, Process)


def test_versions_are_those_that_run(signs):
    told = signs()
    assert told.version == importlib.metadata.version("meshware")
    assert told.python == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
def test_memory_is_what_the_kernel_says(signs):
    before = _resident_kib()
    told = signs().memory_bytes
    after = _resident_kib()
    assert min(before, after) - 64 <= told / 1024 <= max(before, after)
    assert told % 65536 == 0


def _resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class Receives:
    """A server's object whose method an app is handed."""

    async def receive(self):
        """Never."""


class OfUvicorn(Receives):
    """As uvicorn's."""


OfUvicorn.__module__ = "uvicorn.protocols.http.h11_impl"


class OfOurs(OfUvicorn):
    """A subclass of ours."""


async def _by_hypercorn():
    """Never."""


_by_hypercorn.__module__ = "hypercorn.asyncio.task_group"


@pytest.mark.parametrize(
    ("receive", "server"),
    [
        pytest.param(OfUvicorn().receive, "uvicorn", id="a method"),
        pytest.param(OfOurs().receive, "uvicorn", id="of a subclass"),
        pytest.param(_by_hypercorn, "hypercorn", id="a function"),
        pytest.param(Receives().receive, None, id="of who knows whom"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_an_asgi_server_is_known_by_what_it_hands_over(signs, receive, server):
    signs.meet_asgi(receive)
    assert signs().server == server
    assert signs.is_met


@pytest.mark.parametrize(
    ("environ", "server"),
    [
        ({"SERVER_SOFTWARE": "gunicorn/23.0.0"}, "gunicorn/23.0.0"),
        ({"SERVER_SOFTWARE": ""}, None),
        ({"SERVER_SOFTWARE": 7}, None),
        ({"SERVER_SOFTWARE": "x" * 5000}, "x" * 100),
        ({}, None),
    ],
)
def test_a_wsgi_server_says_what_it_is(signs, environ, server):
    signs.meet_wsgi(environ)
    assert signs().server == server
    assert signs.is_met


def test_when_a_loop_has_ended_the_next_call_may_introduce_another(signs):
    async def call():
        signs.meet_asgi(None)
        signs()
        return signs.is_met

    assert asyncio.run(call())
    signs()
    assert not signs.is_met


def test_a_child_process_is_introduced_anew(signs):
    signs.meet_wsgi({"SERVER_SOFTWARE": "gunicorn/23.0.0"})
    signs.renew()
    assert not signs.is_met
    assert signs().server is None


def flushed(tmp_path, signs, clock) -> tuple[Reporter, Report]:
    """A reporter that has written once, and what it wrote."""
    (tmp_path / "reports").mkdir()
    client = Client(namespace="shop", name="web")
    reporter = Reporter(tmp_path, client, clock=clock, signs=signs)
    reporter.applied(1)
    assert reporter.flush_once()
    return reporter, read(tmp_path)


def read(tmp_path) -> Report:
    """The only report there is."""
    [path] = tmp_path.glob("reports/*/*/*.json")
    return msgspec.json.decode(path.read_bytes(), type=Report)


def test_vitals_are_in_the_report_and_a_report_that_says_the_same_is_not_written(
    tmp_path, signs, clock, monkeypatch
):
    monkeypatch.setattr("meshware.runtime.vitals._resident_bytes", lambda: 65536)
    reporter, report = flushed(tmp_path, signs, clock)
    assert report.vitals == signs()
    assert not reporter.flush_once()
    reporter.stop()


def test_vitals_that_cannot_be_told_cost_no_report(tmp_path, clock, caplog):
    """One record says so; what policy this worker applied is known all the same."""

    def broken():
        raise RuntimeError

    reporter, report = flushed(tmp_path, Signs(clock.monotonic, broken), clock)
    reporter.applied(2)
    reporter.flush_once()
    assert report.vitals is None
    assert read(tmp_path).generation == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    reporter.stop()


def test_a_descriptor_is_not_left_open(signs):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        signs()
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
