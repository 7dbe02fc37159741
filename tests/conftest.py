"""What every test may use: engines that must be there, and how hard properties are tried."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]

hypothesis.settings.register_profile("default", deadline=None, max_examples=60)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=5000)

hypothesis.settings.register_profile("conformance", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("MESHWARE_HYPOTHESIS_PROFILE", "default"))


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
