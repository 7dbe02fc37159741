"""What the workers of a node remember is put together, whatever lies where their files do."""

from __future__ import annotations

import os

import msgspec
import pytest

from meshware.runtime.files import replace_file
from meshware.syncd.reports import ReportReader
from meshware.syncd.rings import KEPT_S, MOST_OF_WORKLOAD, NodeRings
from meshware.syncd.told_calls import calls_told, traces_told
from meshware.telemetry.call_record import CallRecord
from meshware.telemetry.ring_file import MAX_RING_BYTES, WorkerRings
from meshware.telemetry.span_ring import SpanRecord

ONE, TWO = "0" * 16, "1" * 16
TRACE = "a" * 32


def call(number: int, at: float, **said) -> CallRecord:
    """A refused call."""
    record = {
        "direction": "inbound", "outcome": "refused", "method": "GET", "host": "app",
        "path": f"/{number}", "status": 403, "reason": "no", "duration_s": 0.001, "generation": 1,
    } | said  # fmt: skip
    return CallRecord(number=number, at=at, **record)


def span(ident: str, parent: str | None, start: float, **said) -> SpanRecord:
    """A span of one trace."""
    return SpanRecord(
        trace_id=TRACE, span_id=ident * 16, parent_id=parent and parent * 16, name="app/*",
        kind=said.pop("kind", "server"), start=start, duration_s=0.5,
        status=said.pop("status", "ok"), attributes=said,
    )  # fmt: skip


class Node:
    """A directory of reports, and who reads it. No worker holds a lock: all have ended."""

    def __init__(self, root) -> None:
        self.root = root / "reports"
        self.root.mkdir()
        self.now = 10_000.0
        self.rings = NodeRings(ReportReader(self.root), lambda: self.now)

    def write(self, place: str, worker: str = ONE, *, calls=(), spans=(), at: float | None = None):
        """Have a worker write its file."""
        data = WorkerRings(lambda: list(calls), lambda: 0, lambda: list(spans))()
        return self.put(place, worker, data, at=at)

    def put(self, place: str, worker: str, data: bytes, *, at: float | None = None):
        """Have anybody write anything."""
        directory = self.root / place
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{worker}.rings"
        replace_file(path, data, mode=0o600)
        written = self.now if at is None else at
        os.utime(path, (written, written))
        return path

    def paths(self) -> list[str]:
        """The paths of the calls that are told, the newest first."""
        return [each.call.path for each in self.rings.look().calls]


@pytest.fixture
def node(tmp_path):
    """A node without workers."""
    return Node(tmp_path)


def test_calls_of_all_workers_come_the_newest_first_and_from_where_they_lie(node):
    node.write("shop/web", calls=[call(1, 100.0), call(2, 300.0)])
    node.write("shop/web", TWO, calls=[call(3, 200.0)])
    node.write("jobs/nightly", calls=[call(4, 250.0)])
    told = calls_told(node.rings.look())
    assert [each["path"] for each in told] == ["/2", "/4", "/3", "/1"]
    assert [(each["namespace"], each["workload"], each["worker"]) for each in told][1:3] == [
        ("jobs", "nightly", ONE), ("shop", "web", TWO),
    ]  # fmt: skip
    assert len({each["id"] for each in told}) == 4


def test_what_was_seen_keeps_its_number_and_what_is_new_gets_a_larger_one(node):
    """So that who has seen some can ask for what came since."""
    first, second = call(1, 100.0), call(2, 200.0)
    node.write("shop/web", calls=[first])
    before = node.rings.look()
    node.now += 1
    node.write("shop/web", calls=[first, second])
    after = node.rings.look()
    assert after.calls[1] is before.calls[0]
    assert after.calls[0].seen > before.seen
    assert after.seen == after.calls[0].seen


def test_a_worker_that_counts_from_one_again_tells_other_calls(node):
    """Its process has forked, or lies."""
    node.write("shop/web", calls=[call(1, 100.0, request_id="a")])
    before = node.rings.look().calls[0].seen
    node.now += 1
    node.write("shop/web", calls=[call(1, 100.0, request_id="b")])
    [now] = node.rings.look().calls
    assert (now.call.request_id, now.seen > before) == ("b", True)


def test_nothing_is_made_anew_where_nothing_has_changed(node):
    node.write("shop/web", calls=[call(1, 100.0)])
    assert node.rings.look() is node.rings.look()
    assert node.rings.remembered is node.rings.look()


def test_a_trace_is_joined_over_workers(node):
    node.write("shop/web", spans=[
        (span("1", None, 10.0),),
        (span("2", "1", 10.1, kind="client", **{"meshware.attempts": 1}),
         span("3", "2", 10.1, kind="client", **{"meshware.attempt": 1})),
    ])  # fmt: skip
    node.write("shop/orders", spans=[(span("4", "3", 10.2, status="error"),)])
    [trace] = traces_told(node.rings.look())
    assert (trace["trace_id"], trace["workload"], trace["at"]) == (TRACE, "web", 10.0)
    assert trace["services"] == ["shop/orders", "shop/web"]
    assert trace["is_failed"]
    assert trace["duration_s"] == pytest.approx(0.7)
    assert [each["workload"] for each in trace["spans"]] == ["web", "web", "web", "orders"]
    assert [each["attempt"] for each in trace["spans"]] == [None, None, 1, None]


def test_nothing_but_a_file_of_a_worker_is_read(node, tmp_path):
    """Links, pipes, directories, what is too long, what is no such file."""
    secret = tmp_path / "elsewhere"
    secret.write_bytes(
        msgspec.msgpack.encode({"meshware": 1, "calls": [msgspec.to_builtins(call(1, 1.0))]})
    )
    place = node.root / "shop/web"
    place.mkdir(parents=True)
    (place / f"{'2' * 16}.rings").symlink_to(secret)
    os.link(secret, place / f"{'3' * 16}.rings")
    os.mkfifo(place / f"{'4' * 16}.rings")
    with (place / f"{'5' * 16}.rings").open("wb") as file:
        file.truncate(MAX_RING_BYTES + 1)
    (place / f"{'6' * 16}.rings").write_bytes(b"\xc1 no MessagePack")
    (place / f"{'7' * 16}.rings").mkdir()
    (place / "not-an-id.rings").write_bytes(secret.read_bytes())
    for path in place.iterdir():
        if not path.is_symlink():
            os.utime(path, (node.now, node.now))
    assert node.paths() == []
    assert node.rings.look().spans == ()
    node.now += KEPT_S + 1
    assert node.rings.clear() > 0  # what can be removed is, and the rest harms nobody
    assert secret.exists()


def test_one_that_writes_nonsense_is_remembered_by_nothing(node):
    node.write("shop/web", calls=[call(1, 100.0)])
    assert node.paths() == ["/1"]
    node.now += 1
    node.put("shop/web", ONE, b"nonsense")
    assert node.paths() == []


def test_ended_workers_are_remembered_for_a_while_and_then_their_files_are_gone(node):
    path = node.write("shop/web", calls=[call(1, 100.0)])
    assert node.rings.clear() == 0
    assert node.paths() == ["/1"]
    node.now += KEPT_S + 1
    assert node.paths() == []
    assert path.exists()
    assert node.rings.clear() == 1
    assert not path.exists()


def test_a_workload_that_ends_again_and_again_is_not_all_that_is_remembered(node):
    """Nor does it fill the disk; the last of them are kept."""
    node.write("shop/web", calls=[call(1, 100.0)], at=node.now - 500)
    for number in range(40):
        node.write("jobs/crash", f"{number:016x}", calls=[call(number, 200.0 + number)],
                   at=node.now - number)  # fmt: skip
    paths = node.paths()
    assert paths[-1] == "/1"
    assert len(paths) == 9
    assert node.rings.clear() == 32
    assert node.paths() == paths


def test_one_workload_takes_no_more_than_its_share(node, monkeypatch):
    """However many workers it claims to have, and however new their files are."""
    monkeypatch.setattr(ReportReader, "_is_alive", lambda *_: True)
    for number in range(MOST_OF_WORKLOAD + 20):
        node.write("evil/many", f"{number:016x}", calls=[call(number, 200.0)], at=node.now + 1e6)
    node.write("shop/web", calls=[call(777, 100.0)])
    paths = node.paths()
    assert len(paths) == MOST_OF_WORKLOAD + 1
    assert "/777" in paths


def test_what_is_shown_is_bounded(tmp_path):
    node = Node(tmp_path)
    node.rings = NodeRings(ReportReader(node.root), lambda: node.now, most_calls=3, most_spans=2)
    node.write("shop/web", calls=[call(n, float(n)) for n in range(1, 9)],
               spans=[(span(f"{n:x}", None, float(n)),) for n in range(1, 9)])  # fmt: skip
    remembered = node.rings.look()
    assert [each.call.number for each in remembered.calls] == [8, 7, 6]
    assert len(remembered.spans) == 2


def test_numbers_of_another_life_of_the_daemon_mean_nothing(node):
    node.write("shop/web", calls=[call(1, 100.0)])
    again = NodeRings(ReportReader(node.root), lambda: node.now)
    assert again.look().epoch != node.rings.look().epoch


def test_of_many_that_write_all_the_time_each_has_its_turn(node, monkeypatch):
    """And nobody reads a whole node's files at once."""
    monkeypatch.setattr("meshware.syncd.rings._MOST_READ", 3)
    reads = []
    read = NodeRings._read
    monkeypatch.setattr(
        NodeRings, "_read", lambda self, file, before: reads.append(file.workload)
        or read(self, file, before)
    )  # fmt: skip
    for turn in range(4):
        node.now += 1
        for number in range(6):
            node.write(f"shop/w{number}", calls=[call(turn * 10 + number, node.now)])
        node.rings.look()
    assert len(reads) == 12
    assert {name: reads.count(name) for name in reads} == {f"w{n}": 2 for n in range(6)}
