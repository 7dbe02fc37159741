"""The environment that a command gets."""

from __future__ import annotations

import os

import pytest

from meshware.run.launch import INJECT, is_python, prepared


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, [str(INJECT)]),
        ("", [str(INJECT)]),
        ("/a", [str(INJECT), "/a"]),
        (f"/a{os.pathsep}{os.pathsep}/b", [str(INJECT), "/a", "", "/b"]),
        (f"/a{os.pathsep}{INJECT}", [str(INJECT), "/a"]),
        (f"{INJECT}{os.pathsep}/a", [str(INJECT), "/a"]),
    ],
    ids=["unset", "empty", "one", "with the working directory", "behind", "nested"],
)
def test_our_directory_is_first_and_the_others_stay(before, after):
    """Whatever the user's PYTHONPATH says, it still says behind ours, which is there once."""
    environ = {"X": "1"} | ({} if before is None else {"PYTHONPATH": before})
    made = prepared(environ, 17)
    assert made == {"X": "1", "MESHWARE_RUN": "17", "PYTHONPATH": os.pathsep.join(after)}


def test_the_directory_holds_what_python_looks_for():
    """`site` imports the first sitecustomize that it finds."""
    assert (INJECT / "sitecustomize.py").is_file()


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("python", True), ("python3", True), ("python3.13", True), ("python3.14t", True),
        ("pypy3", True), ("pypy3.11", True), ("pythonw-config", False), ("ipython", False),
        ("sh", False), ("python3-config", False),
    ],
)  # fmt: skip
def test_interpreters_are_known_by_name(name, is_one):
    """Only theirs are the options that would shut us out."""
    assert is_python(name) is is_one
