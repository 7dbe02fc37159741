"""What a running daemon publishes and refuses, seen from its files and its command line."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from daemons import Editor, marked_policy, meshware, running
from sync_world import BROKEN, made_places, service

FIRST_S = 6.0  # for two seconds at 300 resources, and a busy machine's start of an interpreter
EDIT_S = 5.0  # for one second, on a busy machine
BROKEN_LINE = 6  # of `htpp`


@pytest.fixture
def root(tmp_path):
    """A place with a source of one service, `mesh/shop.yaml`."""
    made_places(tmp_path)
    return tmp_path


def status_of(root: Path) -> tuple[int, dict]:
    """What `meshware status` says, with its exit code."""
    done = meshware("status", "--run-dir", root / "run", "--format", "json")
    assert done.stderr == b""
    return done.returncode, json.loads(done.stdout)


def put(path: Path, text: str) -> None:
    """Write a file as a careful editor does: whole, and then moved into place."""
    beside = path.with_name(f".{path.name}.swp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def get(address: str, path: str) -> tuple[int, bytes]:
    """Ask the daemon's own server."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=EDIT_S) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.alone
def test_300_resources_are_published_soon_after_the_start(root):
    """A node that comes up has policy before its workers ask for it."""
    (root / "mesh" / "shop.yaml").write_text(marked_policy(1, 300), encoding="utf-8")
    with running(root) as daemon:
        daemon.wait_for(daemon.generation, FIRST_S)
        assert b"shop-299.example.com" in daemon.records()
        daemon.wait_for(lambda: "published generation 1: 300 resources\n" in daemon.out())


def test_edits_are_published_although_they_never_stop(root):
    """Who edits without a pause is published all the same, and not only once."""
    with running(root) as daemon:
        daemon.wait_for(daemon.generation)
        with Editor(root / "mesh" / "more.yaml", marked_policy) as editor:
            for _ in range(3):
                version, before = editor.version, daemon.generation()
                daemon.wait_for(lambda before=before: daemon.generation() > before, EDIT_S)
                assert editor.version > version, "the edits had stopped"
            assert b"mark-" in daemon.records()
        last = b"mark-%d" % editor.version
        daemon.wait_for(lambda: last in daemon.records(), EDIT_S)


def test_an_invalid_edit_is_refused_whole_and_its_fix_goes_through(root):
    """One error anywhere keeps every edit out, and each place that is asked says where it is."""
    broken, worse = root / "mesh" / "broken.yaml", root / "mesh" / "worse.yaml"
    with running(root) as daemon:
        daemon.wait_for(daemon.generation)
        before = daemon.records()
        put(broken, BROKEN)
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.refused, EDIT_S)
        [problem] = [line for line in daemon.err().splitlines() if str(broken) in line]
        assert problem.startswith(f"{broken}:{BROKEN_LINE}: ")
        assert "htpp" in problem
        [found] = daemon.status().refused.problems
        assert (found.file, found.line) == (str(broken), BROKEN_LINE)
        code, said = status_of(root)
        assert (code, said["ok"], said["generation"]) == (1, False, 1)
        [found] = said["refused"]["problems"]
        assert (found["file"], found["line"]) == (str(broken), BROKEN_LINE)

        put(root / "mesh" / "shop.yaml", service("shop", "10.9.9.9"))
        put(worse, BROKEN.replace("name: broken", "name: worse"))  # read no earlier than the good
        daemon.wait_for(lambda: str(worse) in daemon.err(), EDIT_S)
        assert daemon.records() == before

        worse.unlink()
        put(broken, service("fixed"))
        daemon.wait_for(lambda: b"fixed.example.com" in daemon.records(), EDIT_S)
        assert b"10.9.9.9" in daemon.records()
        daemon.wait_for(lambda: (said := daemon.status_yet()) and not said.refused)
        assert status_of(root)[0] == 0


def test_a_refused_file_keeps_its_good_neighbours_out(root):
    """Policy is one whole: of one file with a good and a bad resource neither is published."""
    source = root / "mesh" / "shop.yaml"
    with running(root) as daemon:
        daemon.wait_for(daemon.generation)
        before = daemon.records()
        source.write_text(f"{service('other')}---\n{BROKEN}", encoding="utf-8")
        daemon.wait_for(lambda: "stays in force" in daemon.err(), EDIT_S)
        assert daemon.records() == before


def test_a_config_map_is_followed_through_its_swaps(root):
    """Kubernetes swaps the link `..data` to a new directory: no file that is seen ever changes."""
    mount = root / "mount"
    mount.mkdir()

    def swap(version: str, text: str) -> None:
        (mount / f"..{version}").mkdir()
        (mount / f"..{version}" / "shop.yaml").write_text(text, encoding="utf-8")
        (mount / "..data_tmp").symlink_to(f"..{version}")
        os.replace(mount / "..data_tmp", mount / "..data")

    swap("v1", marked_policy(1))
    (mount / "shop.yaml").symlink_to("..data/shop.yaml")
    with running(root, sources=("mount",)) as daemon:
        daemon.wait_for(daemon.generation)
        assert b"mark-1" in daemon.records()
        for version in range(2, 5):
            swap(f"v{version}", marked_policy(version))
            mark = b"mark-%d" % version
            daemon.wait_for(lambda mark=mark: mark in daemon.records(), EDIT_S)
        assert b"mark-1" not in daemon.records()
        assert daemon.err() == ""


def test_a_removed_run_directory_is_written_again_while_the_daemon_runs(root):
    """Whoever cleans up too much costs workers nothing but a moment, and no number comes twice."""
    with running(root) as daemon:
        daemon.wait_for(daemon.generation)
        daemon.policy_file.unlink()
        daemon.wait_for(lambda: daemon.generation() == 2, EDIT_S)
        daemon.wait_for(lambda: "the policy file was removed or altered" in daemon.out())


def test_healthz_tells_whether_there_is_policy(root):
    """It is 503 before the first publish, and 200 with the generation from then on."""
    (root / "mesh" / "shop.yaml").write_text(BROKEN, encoding="utf-8")
    with running(root) as daemon:
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.listen)
        address = daemon.status().listen
        assert get(address, "/healthz") == (503, b'{"generation":null,"refused":true}')
        (root / "mesh" / "shop.yaml").write_text(service("shop"), encoding="utf-8")
        daemon.wait_for(lambda: get(address, "/healthz")[0] == 200, EDIT_S)
        assert get(address, "/healthz") == (200, b'{"generation":1,"refused":false}')
        assert b"\nmeshware_sync_generation 1.0\n" in get(address, "/metrics")[1]
        assert get(address, "/nowhere")[0] == 404
