"""Where the daemon reads, publishes and keeps its state."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from lesser_user import lesser_user

from meshware.errors import SyncError
from meshware.syncd.places import (
    default_state_dir,
    make_run_dir,
    make_state_dir,
    settle_places,
)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/meshware", id="XDG's"),
        pytest.param({"HOME": "/h"}, "/h/.local/state/meshware", id="XDG's default"),
        pytest.param(
            {"XDG_STATE_HOME": "x", "HOME": "/h"},
            "/h/.local/state/meshware",
            id="XDG has relative paths ignored",
        ),
    ],
)
def test_a_user_keeps_state_at_home(environ, expected):
    """Source: XDG base directory specification."""
    assert default_state_dir(environ, user=1000) == Path(expected)


def test_a_user_without_a_home_must_name_a_place():
    """A container's user may have none."""
    with pytest.raises(SyncError, match="--state-dir"):
        default_state_dir({}, user=1000)


@pytest.mark.parametrize(
    ("run", "state", "complaint"),
    [
        pytest.param("run", "run", "lies in the run directory", id="state is run"),
        pytest.param("run", "run/state", "lies in the run directory", id="state in run"),
        pytest.param("run", "link/state", "lies in the run directory", id="state in run by a link"),
        pytest.param("mesh/run", "state", "lies in the source", id="run in the source"),
        pytest.param("mesh", "state", "lies in the source", id="run is the source"),
        pytest.param("run", "mesh/state", "lies in the source", id="state in the source"),
    ],
)
def test_no_place_lies_where_another_reads_or_writes(tmp_path, run, state, complaint):
    """Keys are not for workers, and what the daemon writes is not policy."""
    (tmp_path / "run").mkdir()
    (tmp_path / "mesh").mkdir()
    (tmp_path / "link").symlink_to("run")
    with pytest.raises(SyncError, match=complaint):
        settle_places([tmp_path / "mesh"], tmp_path / run, tmp_path / state)


def test_run_directories_have_each_their_state(tmp_path):
    """Two daemons of one user, with the same state directory, do not meet."""
    one = settle_places([tmp_path / "mesh"], tmp_path / "a" / "run", tmp_path / "state")
    two = settle_places([tmp_path / "mesh"], tmp_path / "b" / "run", tmp_path / "state")
    again = settle_places([], tmp_path / "a" / "x" / ".." / "run", tmp_path / "state")
    assert one.state_dir != two.state_dir
    assert one.state_dir == again.state_dir
    assert one.state_dir.parent == tmp_path / "state"


def test_the_state_directory_is_for_its_user_alone(tmp_path):
    """Keys will lie there."""
    places = settle_places([], tmp_path / "run", tmp_path / "deep" / "state")
    make_state_dir(places)
    places.state_dir.chmod(0o755)
    make_state_dir(places)
    for path in (places.state_dir, places.state_dir.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_state_directory_that_is_a_link_is_refused(tmp_path):
    """Somebody else may have put it there."""
    places = settle_places([], tmp_path / "run", tmp_path / "state")
    places.state_dir.parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    places.state_dir.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SyncError, match="not a directory of this user"):
        make_state_dir(places)


@pytest.mark.parametrize("make", [make_run_dir, make_state_dir])
def test_a_file_in_the_way_is_one_sentence(tmp_path, make):
    """A path may be anything that a user types."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    places = settle_places([], tmp_path / "file" / "run", tmp_path / "file" / "state")
    with pytest.raises(SyncError, match="cannot be made") as caught:
        make(places)
    assert "\n" not in str(caught.value)


def test_a_directory_that_may_not_be_written_is_one_sentence():
    """As a user's first try below /run is."""
    with lesser_user() as place:
        place.chmod(0o500)
        with pytest.raises(SyncError, match="permission denied"):
            make_run_dir(settle_places([], place / "run", place / "state"))
