"""Workers' reports: believed as far as they can be, whatever lies there."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from meshware.runtime.reporter import MAX_REPORT_BYTES, Refusal, Report
from meshware.syncd import reports as module
from meshware.syncd.reports import ReportReader, Survey

LATER = 2_000_000_000.0 + 86_400  # of every file that a test makes
ID = "0123456789abcdef"


@pytest.fixture
def reader(places):
    """A reader of the run directory's reports."""
    return ReportReader(places.reports)


def directory(places, workload="web") -> Path:
    """A workload's directory."""
    path = places.reports / "default" / workload
    path.mkdir(parents=True, exist_ok=True)
    return path


def names(places) -> list[str]:
    """All that lies in the workload's directory."""
    return sorted(path.name for path in directory(places).iterdir())


def test_a_live_worker_is_seen(places, reader, worker):
    """Its report says what it applied."""
    made = worker(places.run_dir, generation=4)
    [report] = reader.read().live
    assert (report.namespace, report.workload, report.generation) == ("default", "web", 4)
    assert report.pid == made.popen.pid
    made.tell("refuse it makes no sense")
    made.tell("apply 5")
    assert reader.read().generations == (5,)


def test_a_worker_is_heard_of_by_the_moment_it_wrote(places, reader, worker):
    """A stopped process says nothing more, and what it claims of that moment is not taken."""
    made = worker(places.run_dir, generation=4)
    [report] = reader.read().live
    assert report.heard_at is not None
    [lock] = places.reports.glob("default/web/*.lock")
    os.utime(lock, (1_000_000_000, 1_000_000_000))
    claim = next(places.reports.glob("default/web/*.json"))
    said = msgspec.json.decode(claim.read_bytes())
    claim.write_bytes(msgspec.json.encode({**said, "heard_at": 4e9}))
    assert reader.read().live[0].heard_at == 1_000_000_000
    made.tell("apply 5")
    assert reader.read().live[0].heard_at > 1_000_000_000


def test_a_worker_without_a_workload_is_seen(places, reader, worker):
    """MESH_WORKLOAD need not be set for outbound calls."""
    worker(places.run_dir, workload="")
    [report] = reader.read().live
    assert report.workload is None


def test_a_killed_worker_is_dead_and_its_files_go(places, reader, worker):
    """The kernel lets go of the lock, however the process ended."""
    dead, alive = worker(places.run_dir, generation=4), worker(places.run_dir, generation=5)
    dead.kill()
    assert reader.read().generations == (5,)
    assert reader.clear_dead(LATER) == 2
    [report] = reader.read().live
    assert report.pid == alive.popen.pid
    assert names(places) == [f"{report.id}.json", f"{report.id}.lock"]


def test_a_live_workers_files_stay(places, reader, worker):
    """However old they are."""
    worker(places.run_dir, generation=4)
    before = names(places)
    assert reader.clear_dead(LATER) == 0
    assert names(places) == before


@pytest.mark.parametrize("name", [f"{ID}.json", f".{ID}.json.0123456789ab.tmp", f".{ID}.lock.tmp"])
def test_what_dead_workers_left_goes_after_a_while(places, reader, name):
    """Not at once: a worker may be just about to begin."""
    path = directory(places) / name
    path.write_bytes(b"{}")
    now = path.stat().st_mtime
    assert reader.clear_dead(now + 5) == 0
    assert reader.clear_dead(now + 120) == 1
    assert names(places) == []


@pytest.mark.parametrize("name", ["notes.txt", "policy.json", f"{ID}.json.bak", f"{ID}x.lock"])
def test_what_is_no_workers_stays(places, reader, name):
    """The daemon removes nothing that it does not know."""
    (directory(places) / name).write_bytes(b"{}")
    assert reader.clear_dead(LATER) == 0
    assert names(places) == [name]


def test_there_are_no_reports(tmp_path):
    """Before the daemon made the directory, or on a read-only mount."""
    assert ReportReader(tmp_path / "reports").read() == Survey()


def lie(**claims) -> bytes:
    """A report."""
    facts = {"id": "", "pid": 1, "namespace": "default", "workload": "web", "generation": 9}
    return msgspec.json.encode({**facts, **claims})


def certificate(**claims) -> dict:
    """What a worker says that it shows."""
    return {"id": "spiffe://a/b", "from_s": 0, "until_s": 1, "source": "embedded", **claims}


class TestLies:
    """What a malicious worker may put beside its own lock. Each time it lives, and holds one."""

    @pytest.fixture
    def path(self, places, worker, reader):
        """The report of a live worker, to be replaced."""
        worker(places.run_dir, generation=4)
        [report] = reader.read().live
        return directory(places) / f"{report.id}.json"

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b"{", id="no JSON"),
            pytest.param(b"\xff\xfe", id="no UTF-8"),
            pytest.param(b"[" * 60_000, id="deep"),
            pytest.param(b'{"id": 7}', id="other types"),
            pytest.param(lie(id="f" * 16), id="another worker's id"),
            pytest.param(lie(namespace="prod"), id="another namespace"),
            pytest.param(lie(workload="admin"), id="another workload"),
            pytest.param(lie(generation=1.5), id="a generation that is no integer"),
            pytest.param(lie(generation=10**400), id="a number without end"),
            pytest.param(lie(generation=2**60), id="a generation beyond all"),
            pytest.param(lie(refusals=[{"reason": "x", "generation": -1}]), id="one below all"),
            pytest.param(lie(pid=10**400), id="a process without end"),
            pytest.param(lie(port=65536), id="no port"),
            pytest.param(lie(meshware=2), id="a format of the future"),
            pytest.param(lie(unknown_keys={"x": 1}), id="a key that is no digest"),
            pytest.param(lie(unknown_keys={"0" * 64: -1}), id="a count below none"),
            pytest.param(lie(unknown_keys={"0" * 64: 10**300}), id="a count without end"),
            pytest.param(
                lie(unknown_keys={f"{n:064x}": 1 for n in range(33)}), id="keys without end"
            ),
            pytest.param(lie(address="x" * MAX_REPORT_BYTES), id="too long"),
            pytest.param(lie(vitals=[]), id="vitals of another form"),
            pytest.param(lie(vitals={"version": "x" * 101}), id="a version without end"),
            pytest.param(lie(vitals={"python": 3}), id="a version that is no text"),
            pytest.param(lie(vitals={"memory_bytes": -1}), id="less than no memory"),
            pytest.param(lie(vitals={"memory_bytes": 10**400}), id="memory without end"),
            pytest.param(lie(vitals={"memory_bytes": 1.5}), id="half a byte"),
            pytest.param(lie(vitals={"lag_s": -0.1}), id="early"),
            pytest.param(lie(vitals={"lag_s": 1e300}), id="late without end"),
            pytest.param(lie(vitals={"lag_s": 0}).replace(b":0}", b":1e999}"), id="infinity"),
            pytest.param(lie(vitals={"lag_s": 0}).replace(b":0}", b":NaN}"), id="no number"),
            pytest.param(lie(vitals={"lag_of": "\x1b[2J"}), id="a lag of something else"),
            pytest.param(lie(vitals={"in_flight": True}), id="calls that are no number"),
            pytest.param(lie(vitals={"applied_s": 1e15}), id="a time beyond all"),
            pytest.param(lie(vitals={"certificate": {"id": "x"}}), id="half a certificate"),
            pytest.param(
                lie(vitals={"certificate": certificate(until_s=1e20)}), id="a certificate for ever"
            ),
            pytest.param(
                lie(vitals={"certificate": certificate(id="x" * 3000)}), id="a name without end"
            ),
        ],
    )
    def test_a_report_that_makes_no_sense_is_counted_and_left(self, path, reader, body):
        """And hides no other worker's."""
        path.write_bytes(body.replace(b'"id":""', b'"id":"%s"' % path.stem.encode()))
        assert reader.read().live == ()

    @pytest.mark.parametrize("kind", ["link", "pipe", "directory", "second name"])
    def test_only_a_regular_file_with_one_name_is_read(self, path, reader, tmp_path, kind):
        """A link could lead to a file that only the daemon may read; a pipe would hold it."""
        body = path.read_bytes()
        path.unlink()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(body)
        if kind == "link":
            path.symlink_to(elsewhere)
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        else:
            os.link(elsewhere, path)
        assert reader.read() == Survey((), unreadable=1)

    def test_a_directory_reached_by_a_link_is_not_entered(self, path, places, reader, tmp_path):
        """Neither to read nor to remove what lies there."""
        moved = tmp_path / "moved"
        path.parent.rename(moved)
        path.parent.symlink_to(moved)
        assert reader.read() == Survey((), unreadable=1)
        (moved / f"{ID}.json").write_bytes(b"{}")
        assert reader.clear_dead(LATER) == 0

    def test_another_users_file_is_not_read(self, path, reader):
        """Where several users report, each speaks for itself."""
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        os.chown(path, 12345, -1)
        assert reader.read() == Survey((), unreadable=1)

    def test_a_million_entries_cost_a_bounded_time(self, path, places, reader, monkeypatch):
        """What is beyond the bound is counted as one thing that was not read."""
        monkeypatch.setattr(module, "_MOST_ENTRIES", 5)
        for number in range(10):
            (directory(places) / f"{number:016x}.json").write_bytes(b"{}")
        assert reader.read().unreadable >= 1


class TestMany:
    """What one workload claims to have, and what is left for the others then."""

    MOST = 12

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        """As if a dozen workers were more than run on one node."""
        monkeypatch.setattr(module, "MOST_REPORTS", self.MOST)

    def crowd(self, places, place: str, count: int, *kinds: str) -> None:
        """Make the files of so many workers."""
        path = places.reports / place
        path.mkdir(parents=True)
        for number in range(count):
            for kind in kinds:
                (path / f"{number:016x}.{kind}").write_bytes(b"")

    @pytest.mark.parametrize("kind", ["rings", "metrics"])
    @pytest.mark.parametrize("evil", ["a-evil", "z-evil"])
    def test_one_workloads_files_hide_no_others(self, places, reader, kind, evil):
        """Wherever its name sorts: every one has its first before any has its second."""
        self.crowd(places, f"{evil}/w", 40, kind)
        self.crowd(places, "shop/orders", 1, kind)
        self.crowd(places, "shop/web", 3, kind)
        files = reader.ring_files() if kind == "rings" else reader.metrics_files()
        found = [(file.namespace, file.workload) for file in files]
        assert found.count(("shop", "web")) == 3
        assert found.count(("shop", "orders")) == 1
        assert found.count((evil, "w")) == self.MOST - 4

    def test_one_namespaces_workloads_hide_no_others(self, places, reader):
        """Where even the first of each workload are too many."""
        for number in range(40):
            self.crowd(places, f"a-evil/w{number:02}", 2, "rings")
        self.crowd(places, "shop/web", 1, "rings")
        files = reader.ring_files()
        assert len(files) == self.MOST
        assert "shop" in {file.namespace for file in files}

    def test_workers_that_live_are_not_hidden_either(self, places, reader, worker, monkeypatch):
        """Locks are cheap: one process can hold thousands."""
        worker(places.run_dir, generation=4)
        [made] = reader.read().live
        self.crowd(places, "a-evil/w", 0)
        for number in range(40):
            claim = msgspec.structs.replace(
                made, id=f"{number:016x}", namespace="a-evil", workload="w"
            )
            (places.reports / f"a-evil/w/{claim.id}.json").write_bytes(msgspec.json.encode(claim))
            (places.reports / f"a-evil/w/{claim.id}.lock").write_bytes(b"")
        monkeypatch.setattr(ReportReader, "_is_alive", lambda *_: True)
        survey = reader.read()
        assert len(survey.live) == self.MOST
        assert made in survey.live
        assert survey.unreadable == 1, "that there were more is told"

    def test_of_a_crowd_no_more_is_asked_about_than_can_be_kept(self, places, reader, monkeypatch):
        """The first directory may fill all, and each later one the less the more they are."""
        for number in range(30):
            self.crowd(places, f"a-evil/w{number:02}", 40, "rings")
        asked = []
        is_alive = ReportReader._is_alive
        monkeypatch.setattr(
            ReportReader, "_is_alive", lambda *said: asked.append(said) or is_alive(*said)
        )
        assert len(reader.ring_files()) == self.MOST
        assert len(asked) < 10 * self.MOST


def report(generation: int | None, *refusals: Refusal) -> Report:
    """A report, read."""
    return Report(
        id=ID, pid=1, namespace="a", workload="b", generation=generation, refusals=refusals
    )


@pytest.mark.parametrize(
    ("live", "has"),
    [
        pytest.param([], False, id="no worker"),
        pytest.param([report(None)], False, id="one without policy yet"),
        pytest.param([report(6)], False, id="one behind"),
        pytest.param([report(7)], False, id="one that has it"),
        pytest.param([report(7), report(8)], True, id="one that has met a later one"),
        pytest.param(
            [report(7, Refusal(reason="other content"))],
            True,
            id="one that has met other policy of this number",
        ),
        pytest.param(
            [report(7, Refusal(reason="no such regex", subject="orders.shop"))],
            False,
            id="one that cannot compile a service",
        ),
        pytest.param(
            [report(6, Refusal(reason="its workload is gone"))], False, id="one that refuses it"
        ),
    ],
)
def test_workers_that_have_met_a_later_generation_are_recognised(live, has):
    """The published one is 7."""
    assert Survey(tuple(live)).has_met_later(7) is has
