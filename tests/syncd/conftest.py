"""What the tests of this package share."""

from __future__ import annotations

import pytest
from sync_world import made_places, workers

from meshware.testing import FakeClock


@pytest.fixture
def clock():
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def places(tmp_path):
    """A source with one service, and run and state directory."""
    return made_places(tmp_path)


@pytest.fixture
def worker():
    """A maker of worker processes, all of which are ended."""
    with workers() as make:
        yield make
