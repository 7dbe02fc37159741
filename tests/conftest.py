"""What every test may use: engines that must be there, and how hard properties are tried.

Also how a run is shared among processes (`pytest -n`, as `make test` does): see `side_by_side`.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from side_by_side import Room

ROOT = Path(__file__).resolve().parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in the background of a shell. Servers would inherit that, and not end when they are told.
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("default", deadline=None, max_examples=60)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=5000)

hypothesis.settings.register_profile("conformance", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("MESHWARE_HYPOTHESIS_PROFILE", "default"))

SHARED = pytest.StashKey[str]()  # the directory of those who share a run
ROOM = pytest.StashKey[Room]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell a worker where all of them meet; in the process that hands out the tests."""
    if SHARED not in node.config.stash:
        node.config.stash[SHARED] = tempfile.mkdtemp(prefix="meshware-tests-")
    node.workerinput["meshware_shared"] = node.config.stash[SHARED]


def pytest_configure(config: pytest.Config) -> None:
    """Join the others, in a worker; without `-n` there are none."""
    told = getattr(config, "workerinput", None)
    if told is not None:
        config.stash[ROOM] = Room(Path(told["meshware_shared"]))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    if ROOM in config.stash:
        config.stash[ROOM].close()
    if SHARED in config.stash:
        shutil.rmtree(config.stash[SHARED], ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers begin with what takes long, and end with what runs alone: nobody waits for it."""
    if ROOM in config.stash:
        items.sort(key=lambda item: (_is_alone(item), not _takes_long(item)))


def pytest_collection_finish() -> None:
    """Spare each later collection of garbage the thousands of tests, which stay anyway."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Keep others away while a test runs that is marked `alone`."""
    room = item.config.stash.get(ROOM, None)
    if room is None:
        return (yield)
    room.enter(alone=_is_alone(item))
    try:
        return (yield)
    finally:
        if nextitem is None or not _is_alone(item) or not _is_alone(nextitem):
            room.leave()


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def _takes_long(item: pytest.Item) -> bool:
    return item.path.parent.name in ("conformance", "e2e")


@pytest.fixture(scope="session")
def engine() -> Callable[[str], str]:
    """Find a program that a test needs: beside this Python, in its own environment, on the path.

    Where it is missing the test is skipped and says so, or fails if MESHWARE_REQUIRE_ENGINES is 1
    (continuous integration installs all of them).
    """

    def find(command: str) -> str:
        beside = shutil.which(command, path=str(Path(sys.executable).parent))
        own = shutil.which(command, path=str(ROOT / f".venv-{command}" / "bin"))
        found = beside or own or shutil.which(command)
        if found is None:
            reason = f"{command} is not installed"
            if os.environ.get("MESHWARE_REQUIRE_ENGINES") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        return found

    return find
