"""Where the socket of the Workload API may lie, and what it takes the place of."""

from __future__ import annotations

import os
import socket

import pytest
from ca_world import mode_of, needs_root, users

from meshware.ca.listening_socket import listen_at, remove_socket
from meshware.errors import SyncError


@pytest.fixture
def place(tmp_path):
    """A directory for a socket."""
    (tmp_path / "api").mkdir(mode=0o755)
    return tmp_path / "api"


def reaches(path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(str(path)) == 0


def test_it_takes_the_place_of_what_a_killed_process_left(place):
    """Everybody may connect, and nothing else lies there."""
    path = place / "new" / "api.sock"
    listen_at(path).close()
    with listen_at(path):
        assert reaches(path)
        assert mode_of(path) == 0o666
        assert os.listdir(path.parent) == ["api.sock"]
        with pytest.raises(SyncError, match="another process listens there"):
            listen_at(path)
        remove_socket(path, path.stat().st_ino)
        assert os.listdir(path.parent) == []


def test_no_other_file_is_replaced(place):
    (place / "api.sock").write_text("a file")
    with pytest.raises(SyncError, match="no socket; remove it"):
        listen_at(place / "api.sock")
    assert (place / "api.sock").read_text() == "a file"


def test_a_directory_in_which_others_may_rename_is_refused(place):
    """They could have root give everybody rights to any file."""
    place.chmod(0o777)
    with pytest.raises(SyncError, match="others than root and the daemon's user can rename"):
        listen_at(place / "api.sock")
    assert os.listdir(place) == []
    place.chmod(0o1777)  # as /tmp is
    listen_at(place / "api.sock").close()


@needs_root
def test_a_users_own_directory_is_refused(place):
    [user] = users(1)
    os.chown(place, user.pw_uid, user.pw_gid)
    with pytest.raises(SyncError, match="name a path in a directory of the daemon's own"):
        listen_at(place / "api.sock")
    assert os.listdir(place) == []
