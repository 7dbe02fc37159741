"""The daemon's side of a change of root: requests, what workers report, and how far it is."""

from __future__ import annotations

import msgspec
import pytest
from ca_world import NOW, authority, later

from meshware.ca.requests import Request, read_progress, read_request, write_request
from meshware.ca.rotate import RootChange, stragglers_of
from meshware.runtime.reporter import Report

EXPECTED, OLD = "a" * 64, "b" * 64


def report(bundle, pid=1):
    """What a live worker says."""
    return Report(id=f"{pid:016x}", pid=pid, namespace="default", workload="web", bundle=bundle)


@pytest.fixture
def made(tmp_path):
    return authority(tmp_path)


@pytest.fixture
def change(tmp_path):
    return RootChange(tmp_path)


def test_nothing_is_done_unless_it_is_asked_for(tmp_path, made, change):
    """No root changes by itself."""
    change.look(made, "", NOW)
    change.step(made, EXPECTED, [], NOW)
    assert len(made.bundle.roots) == 1
    assert read_progress(tmp_path) is None


def test_it_waits_for_every_worker_and_then_issues(tmp_path, made, change):
    """One without a digest, or with an old one, holds it up."""
    write_request(tmp_path, Request(id="r"))
    change.look(made, "", NOW)
    assert read_request(tmp_path) is None
    for bundle in (None, OLD):
        change.step(made, EXPECTED, [report(EXPECTED, 1), report(bundle, 2)], NOW)
        said = read_progress(tmp_path)
        assert (said.id, said.phase, said.workers) == ("r", "announced", 2)
        assert [each.pid for each in said.stragglers] == [2]
    change.step(made, EXPECTED, [report(EXPECTED, 1), report(EXPECTED, 2)], NOW)
    said = read_progress(tmp_path)
    assert (said.phase, said.stragglers) == ("issuing", ())
    assert said.drop_at is not None
    made.look(later(4000), 3600.0)
    change.step(made, EXPECTED, [], later(4000))
    assert read_progress(tmp_path).phase == "done"


def test_force_goes_on_without_them_and_a_second_request_joins(tmp_path, made, change):
    """An operator who asks twice gets one change."""
    write_request(tmp_path, Request(id="one"))
    change.look(made, "", NOW)
    change.step(made, EXPECTED, [report(OLD)], NOW)
    write_request(tmp_path, Request(id="two"))
    change.look(made, "", NOW)
    change.step(made, EXPECTED, [report(OLD)], NOW)
    assert (read_progress(tmp_path).id, len(made.bundle.roots)) == ("two", 2)
    write_request(tmp_path, Request(id="two", force=True))
    change.look(made, "", NOW)
    change.step(made, EXPECTED, [report(OLD)], NOW)
    assert read_progress(tmp_path).phase == "issuing"


def test_one_change_after_the_other(tmp_path, made, change):
    """While the old root is still trusted, another change is refused, and this one goes on."""
    write_request(tmp_path, Request(id="one"))
    change.look(made, "", NOW)
    change.step(made, EXPECTED, [], NOW)
    write_request(tmp_path, Request(id="two", force=True))
    change.look(made, "", NOW)
    change.step(made, EXPECTED, [], NOW)
    said = read_progress(tmp_path)
    assert (said.id, said.phase) == ("two", "issuing")
    assert "is not over: the old root is dropped at" in said.reason
    assert len(made.bundle.roots) == 2


def test_where_there_is_no_root_it_is_refused(tmp_path, change):
    """With the reason."""
    write_request(tmp_path, Request(id="r"))
    change.look(None, "the root is elsewhere", NOW)
    said = read_progress(tmp_path)
    assert (said.id, said.phase, said.reason) == ("r", "refused", "the root is elsewhere")
    assert read_request(tmp_path) is None


def test_who_comes_after_a_killed_daemon_goes_on(tmp_path, made, change):
    """The step is in the authority's own state; what was told is read again."""
    write_request(tmp_path, Request(id="r"))
    change.look(made, "", NOW)
    change.step(made, EXPECTED, [report(OLD)], NOW)
    again = RootChange(tmp_path)
    later_on = authority(tmp_path)
    again.step(later_on, EXPECTED, [report(EXPECTED)], NOW)
    assert read_progress(tmp_path).phase == "issuing"
    last = RootChange(tmp_path)
    gone = authority(tmp_path)
    gone.look(later(4000), 3600.0)
    last.step(gone, EXPECTED, [], later(4000))
    assert read_progress(tmp_path).phase == "done"


@pytest.mark.parametrize("text", ["", "[]", '{"force": true}', '{"id": 3}'])
def test_a_request_that_makes_no_sense_is_none(tmp_path, made, change, text):
    """The state directory is the daemon's own, and a torn file is possible all the same."""
    (tmp_path / "rotate-root.request.json").write_text(text, encoding="utf-8")
    change.look(made, "", NOW)
    assert len(made.bundle.roots) == 1


def test_stragglers_are_named_and_nothing_else_of_them_is_believed():
    """Id, process and workload, for whoever has to look after them."""
    [left] = stragglers_of([report(EXPECTED, 1), report(OLD, 7)], EXPECTED)
    assert msgspec.to_builtins(left) == {
        "namespace": "default",
        "workload": "web",
        "id": f"{7:016x}",
        "pid": 7,
        "generation": None,
    }
