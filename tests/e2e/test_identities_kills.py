"""A daemon that is killed while it writes keys: what lies there is always a pair."""

from __future__ import annotations

import threading

from ca_world import authority, later, plan
from identity_kills import killed_writers
from identity_world import wait_until

from meshware.ca.identities import IdentityFiles
from meshware.identity.svid import X509SVID
from meshware.runtime.svid_files import SVIDFiles

KILLS = 200


class Reader(threading.Thread):
    """Reads an identity over and over, as workers do, and notes what it could not load."""

    def __init__(self, directory) -> None:
        super().__init__(daemon=True)
        self.wrong: list[str] = []
        self.seen: set[str] = set()
        self.is_over = threading.Event()
        self._path = directory / "svid.pem"

    def run(self) -> None:
        """Read until told to end."""
        while not self.is_over.wait(0.001):
            try:
                self.seen.add(X509SVID.from_pem(self._path.read_bytes()).digest)
            except FileNotFoundError:
                if self.seen:
                    self.wrong.append("the file is absent")
            except Exception as error:
                self.wrong.append(repr(error))


def test_two_hundred_kills_leave_no_pair_that_does_not_fit(tmp_path):
    """After each kill, and for whoever reads meanwhile; the next daemon clears away the rest."""
    place = tmp_path / "run" / "identity" / "default" / "web"
    reader = Reader(place)
    reader.start()
    found = killed_writers(tmp_path, KILLS, seed=20)
    reader.is_over.set()
    reader.join(10)
    assert len(found) == KILLS
    assert all(each["was_killed"] for each in found)
    assert [each["problem"] for each in found if each["problem"]] == []
    assert {mode for each in found for mode in each["modes"]} == {"0o600"}
    assert reader.wrong == []
    assert len(reader.seen) > KILLS / 2
    # Some were killed between a new file and its place, which is what all this is about.
    assert any(each["left"] for each in found)
    assert all(len(each["left"]) <= 1 for each in found)

    follower = SVIDFiles(place)
    assert follower.svid() is not None
    IdentityFiles(tmp_path / "run").keep(plan("web"), authority(tmp_path), later(1e7), lambda: True)
    assert sorted(path.name for path in place.iterdir()) == ["bundle.pem", "svid.pem"]
    left = X509SVID.from_pem((place / "svid.pem").read_bytes()).digest
    wait_until(lambda: (now := follower.svid()) and now.digest == left)
