"""The daemon takes away what ended workers have left to be seen, after a while."""

from __future__ import annotations

import os

from sync_world import Recorded

from meshware.runtime.lookups import Lookups
from meshware.syncd.directory import DirectorySource
from meshware.syncd.keeper import Keeper
from meshware.syncd.rings import KEPT_S


def test_files_of_ended_workers_go_after_a_while_and_no_sooner(places, clock):
    told = Recorded()
    lookups = Lookups(lambda: lambda name: None, told.note)
    keeper = Keeper(places, DirectorySource(places.sources), told, clock, lookups)
    try:
        directory = places.reports / "default/web"
        directory.mkdir(parents=True)
        path = directory / f"{'0' * 16}.rings"
        path.write_bytes(b"")
        now = clock.now().timestamp()
        os.utime(path, (now, now))
        clock.advance(KEPT_S - 1)
        keeper.read_reports()
        assert path.exists()
        clock.advance(2)
        keeper.read_reports()
        assert path.exists(), "it is not looked at each second"
        clock.advance(10)
        keeper.read_reports()
        assert not path.exists()
    finally:
        lookups.stop()
        keeper.close()
