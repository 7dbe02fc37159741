"""Calls are logged as a plan says; what fails in that costs a line, and no call."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import replace

import pytest
from log_world import NOW, Calls, Inbound
from outbound_world import answered, finish

from meshware.policy.telemetry_plan import DEFAULT_PLAN, LogPlan, SidePlan, TelemetryPlan
from meshware.runtime.mesh import Mesh
from meshware.telemetry.access_log import FAILURES, AccessLog
from meshware.telemetry.attributes import attributes_of

SHORT = "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%"


class World:
    """Calls that come in, and a log of them."""

    def __init__(self, tmp_path, *plans: LogPlan, outbound=()) -> None:
        self.calls = Inbound()
        self.path = tmp_path / "access.log"
        self.errors: list[Exception] = []
        self.plan(*plans, outbound=outbound)
        self.log = AccessLog(
            lambda: self.calls.mesh.cell.current,
            self.calls.clock.now,
            {"POD": "app-7f9"},
            self.errors.append,
        )

    def plan(self, *plans: LogPlan, outbound=()) -> None:
        """Put plans in force."""
        plan = TelemetryPlan(
            inbound=SidePlan(logs=plans or (self.to_file(),)), outbound=SidePlan(logs=outbound)
        )
        self.calls.mesh.cell.current.telemetry = plan

    def to_file(self, text: str = SHORT, **more) -> LogPlan:
        """A log to the file."""
        return LogPlan(provider="file", path=str(self.path), text=text, **more)

    def tell(self, *targets: str) -> None:
        """Log calls."""
        for target in targets:
            self.log(self.calls.call(target))

    def lines(self) -> list[str]:
        """What is in the file."""
        for each in self.log._files:
            assert each.flush(20)
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


class Kept(logging.Handler):
    """Keeps records, or does worse."""

    def __init__(self, then=lambda: None) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._then = then

    def emit(self, record: logging.LogRecord) -> None:
        self._then()
        self.records.append(record)


@pytest.fixture
def access():
    """The logger of access logs, as an app sets it up."""
    found = logging.getLogger("meshware.access")
    found.setLevel(logging.INFO)
    found.propagate = False
    yield found
    found.setLevel(logging.NOTSET)
    found.propagate = True
    found.handlers.clear()


def test_nothing_is_logged_by_default(world):
    """And nothing is done for it."""
    world.calls.mesh.cell.current.telemetry = DEFAULT_PLAN
    world.tell("/a")
    assert world.log._compiled is None
    assert world.lines() == []


def test_each_call_is_a_line(world):
    """Refused ones too, in the order in which they ended."""
    world.tell("/a", "/closed", "/b?c")
    assert world.lines() == ["GET /a 200", "GET /closed 403", "GET /b?c 200"]
    assert world.log.failures() == {}


def test_another_plan_holds_from_the_next_call_on(world):
    """Compiled when it is first needed."""
    world.tell("/a")
    world.plan(world.to_file("now %REQ(:PATH)% %ENVIRONMENT(POD)%"))
    world.tell("/b")
    world.plan(world.to_file("", labels={"path": "%REQ(:PATH)%"}))
    world.tell("/c")
    assert world.lines() == ["GET /a 200", "now /b app-7f9", '{"path":"/c"}']


def test_a_format_that_ends_its_line_itself_makes_one_line(world):
    """As Istio's own formats do."""
    world.plan(world.to_file("%REQ(:PATH)%\n"))
    world.tell("/a", "/b")
    assert world.lines() == ["/a", "/b"]


def test_a_filter_chooses(world):
    """What fails, or is no boolean, chooses not. Source: Envoy, CEL filter."""

    def failing(kind):
        def expression(look_up):
            raise kind

        return expression

    refused = lambda look_up: look_up(("response", "code")) >= 400  # noqa: E731
    missing = lambda look_up: look_up(("request", "headers", "x-no")) == "x"  # noqa: E731
    world.plan(
        world.to_file("refused %REQ(:PATH)%", filter=refused),
        world.to_file("missing", filter=missing),
        world.to_file("number", filter=lambda _: 1),
        world.to_file("text", filter=lambda _: "true"),
        *(world.to_file("failed", filter=failing(k)) for k in (KeyError, TypeError, ValueError)),
        world.to_file("all %REQ(:PATH)%", filter=lambda _: True),
    )
    world.tell("/a", "/closed")
    assert world.lines() == ["all /a", "refused /closed", "all /closed"]
    assert world.errors == []


def test_a_filter_asks_about_the_call_itself(world):
    """The attributes of Envoy."""
    seen = []
    attributes = [("request", "path"), ("request", "method"), ("response", "code_details")]

    def expression(look_up):
        seen.append([look_up(path) for path in attributes])
        return False

    world.plan(world.to_file(filter=expression))
    event = world.calls.call("/closed")
    world.log(event)
    assert seen == [[attributes_of(event)(path) for path in attributes]]
    assert seen[0][:2] == ["/closed", "GET"]


def test_a_mistake_in_one_log_is_not_anothers_loss(world):
    """It is counted, and told to whoever asked to be."""

    def expression(_):
        raise RuntimeError("of ours")

    world.plan(world.to_file(filter=expression), world.to_file())
    world.tell("/a")
    assert world.lines() == ["GET /a 200"]
    assert [str(error) for error in world.errors] == ["of ours"]
    assert world.log.failures() == {FAILURES: 1}
    assert world.log.failures() == {}


def test_a_format_that_cannot_be_compiled_turns_off_its_log_alone(world, caplog):
    """Policy that has it is refused; a policy file of another version may."""
    world.plan(replace(world.to_file("%NO_SUCH%"), provider="mine"), world.to_file())
    world.tell("/a", "/b")
    assert world.lines() == ["GET /a 200", "GET /b 200"]
    [told] = [r.getMessage() for r in caplog.records if "provider 'mine'" in r.getMessage()]
    assert "at character 1: there is no operator %NO_SUCH%" in told


def test_what_a_file_loses_is_counted(tmp_path):
    """Whoever reads the metrics sees it."""
    world = World(tmp_path)
    world.plan(LogPlan(provider="full", path="/dev/full", text=SHORT), world.to_file())
    world.tell("/a", "/b", "/c")
    assert world.lines() == ["GET /a 200", "GET /b 200", "GET /c 200"]
    assert world.log.failures() == {FAILURES: 3}
    world.tell("/d")
    world.lines()
    assert world.log.failures() == {FAILURES: 1}
    world.tell("/e")
    world.lines()
    world.log.renew()  # in a child: what the parent lost is its own to tell
    assert world.log.failures().get(FAILURES, 0) >= 1


def test_calls_that_go_out_have_a_log_of_their_own(tmp_path):
    """By the plan of that side; copies for mirrors have none, as in Envoy."""
    path = tmp_path / "out.log"
    calls = Calls()
    calls.mesh.cell.current.telemetry = TelemetryPlan(
        outbound=SidePlan(
            logs=(LogPlan(provider="x", path=str(path), text="%UPSTREAM_CLUSTER% %BYTES_SENT%"),)
        )
    )
    log = AccessLog(lambda: calls.mesh.cell.current, calls.clock.now, {}, pytest.fail)
    flow = calls.exchange()
    next(flow)
    flow.send(answered(200))
    finish(flow, 5)
    [event] = calls.kept
    log(event)
    event.is_mirror = True
    log(event)
    assert all(each.flush(20) for each in log._files)
    assert path.read_text() == "outbound|80||orders.default.svc.cluster.local 5\n"


# --- through the standard library's logging -------------------------------------------------------

TO_LOGGING = LogPlan(provider="logging", path=None, text=SHORT)


def test_records_bear_the_line_and_the_call(world, access):
    """With the time at which the call ended, by another thread than its own."""
    world.plan(TO_LOGGING)
    kept = Kept()
    access.addHandler(kept)
    world.tell("/a")
    world.log._records.flush(20)
    [record] = kept.records
    assert record.getMessage() == "GET /a 200"
    assert record.levelno == logging.INFO
    assert record.created == pytest.approx(NOW.timestamp() + 0.04)
    assert record.threadName != threading.current_thread().name
    assert len(record.request_id) == 36
    assert (record.trace_id, record.peer, record.route) == ("-", "-", "-")


def test_json_lines_go_through_logging_as_well(world, access):
    """A formatter that writes the message has JSON."""
    world.plan(LogPlan(provider="x", path=None, labels={"code": "%RESPONSE_CODE%"}))
    kept = Kept()
    access.addHandler(kept)
    world.tell("/a")
    world.log._records.flush(20)
    assert json.loads(kept.records[0].getMessage()) == {"code": 200}


def test_a_file_and_logging_both_where_the_logger_has_handlers(world, access):
    """Else a file is enough: no line is anywhere twice by itself."""
    access.handlers.clear()  # pytest's own
    world.tell("/a")
    kept = Kept()
    access.addHandler(kept)
    world.tell("/b")
    world.log._records.flush(20)
    assert world.lines() == ["GET /a 200", "GET /b 200"]
    assert [record.getMessage() for record in kept.records] == ["GET /b 200"]


def test_a_logger_that_hears_nothing_is_told_of_once(world, caplog):
    """Python's loggers take warnings and worse, unless they are told."""
    world.plan(TO_LOGGING)
    world.tell("/a", "/b")
    told = [r.getMessage() for r in caplog.records if "meshware.access" in r.getMessage()]
    assert len(told) == 1
    assert 'setLevel("INFO")' in told[0]


def test_a_handler_that_raises_costs_its_line(world, access):
    """And is counted."""
    world.plan(TO_LOGGING)

    def fail():
        raise RuntimeError("as the test wants it")

    access.addHandler(Kept(fail))
    world.tell("/a", "/b")
    world.log._records.flush(20)
    assert world.log.failures() == {FAILURES: 2}


def test_a_handler_that_blocks_keeps_no_call(world, access):
    """Records wait up to a number; the rest is counted, and files go on."""
    is_over = threading.Event()
    kept = Kept(lambda: is_over.wait(20))
    access.addHandler(kept)
    world.plan(TO_LOGGING, world.to_file())
    event = world.calls.call("/a")
    for _ in range(9000):
        world.log(event)
    assert len(world.lines()) == 9000
    assert world.log.failures()[FAILURES] > 0
    assert len(kept.records) == 0
    is_over.set()
    until = time.monotonic() + 20
    while len(kept.records) < 8000 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(kept.records) >= 8000


# --- in a mesh ------------------------------------------------------------------------------------


def test_a_mesh_logs_and_counts_what_is_lost(tmp_path):
    """All put together: the sinks of a process, and what its report says."""
    calls = Inbound()
    mesh = Mesh(client=calls.mesh.client, cell=calls.mesh.cell, clock=calls.clock)
    mesh.identity = calls.mesh.identity
    path = tmp_path / "a.log"
    calls.mesh.cell.current.telemetry = TelemetryPlan(
        inbound=SidePlan(
            logs=(
                LogPlan(provider="a", path=str(path), text=SHORT),
                LogPlan(provider="b", path="/dev/full", text=SHORT),
            )
        )
    )
    event = calls.call("/a")
    mesh._sink(event)
    assert mesh._logs is not None
    assert all(each.flush(20) for each in mesh._logs._files)
    assert path.read_text() == "GET /a 200\n"
    assert mesh.counted().counters[FAILURES] == 1
    assert mesh.counted().counters[FAILURES] == 1
