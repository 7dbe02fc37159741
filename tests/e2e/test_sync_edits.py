"""Edits as they happen: in bursts, by halves, with volumes that go and names that are no text."""

from __future__ import annotations

import json

import pytest
from command_forge import forging
from sync_runs import daemon, write
from sync_world import BROKEN, header_of, service


@pytest.fixture
def place(tmp_path):
    """A directory with a source of one service."""
    (tmp_path / "mesh").mkdir()
    write(tmp_path / "mesh" / "shop.yaml", service("shop"))
    return tmp_path


@pytest.fixture
def forge(place):
    """A maker of daemons."""
    with forging(place) as made:
        yield made


def test_a_burst_of_edits_settles_into_few_publishes(place, forge):
    """`git checkout` writes a hundred files; workers compile once or twice for it."""
    with daemon(forge) as made:
        for number in range(100):
            write(place / "mesh" / f"s{number:03}.yaml", service(f"s{number:03}"))
        made.wait_for(lambda: "101 resources" in made.out())
        assert made.says("s000.") and made.says("s099.")
        assert made.generation() <= 4
        published = header_of(made.policy_file).generation
        made.wait_for(
            lambda: (said := made.status_yet()) and said.generation == published
        )  # which is written last


def test_half_an_edit_that_is_mended_at_once_is_not_told(place, forge):
    """A file that names another which is saved a moment later is one edit."""
    with daemon(forge) as made:
        write(place / "mesh" / "broken.yaml", BROKEN)
        write(place / "mesh" / "broken.yaml", service("late"))
        made.wait_for(lambda: made.says("late.example.com"))
        assert made.err() == ""
        assert made.generation() == 2


def test_a_source_that_goes_takes_no_policy_away(place, forge):
    """A volume that is unmounted looks empty, or absent; what is published stays."""
    with daemon(forge) as made:
        before = made.policy_file.read_bytes()
        (place / "mesh").rename(place / "away")
        made.wait_for(lambda: "refused" in made.err())
        (place / "mesh").mkdir()
        made.wait_for(lambda: made.err().count("refused") == 2)
        assert made.policy_file.read_bytes() == before
        (place / "mesh").rmdir()
        (place / "away").rename(place / "mesh")
        write(place / "mesh" / "shop.yaml", service("shop", "10.0.0.2"))
        made.wait_for(lambda: made.says('"10.0.0.2"'))


def test_a_name_that_is_no_utf_8_refuses_the_edit_and_not_the_daemon(place, forge):
    """Names of files are bytes; what is said of them stays text and JSON."""
    name = b"caf\xe9.yaml"
    with daemon(forge, "--format", "json") as made:
        (place / "mesh" / name.decode(errors="surrogateescape")).write_text(BROKEN, "utf-8")
        made.wait_for(lambda: "refused" in made.out())
        [event] = [json.loads(line) for line in made.out().splitlines() if "refused" in line]
        assert event["problems"][0]["file"] == "mesh/caf\\udce9.yaml"
        made.wait_for(lambda: (said := made.status_yet()) and said.refused is not None)
        assert forge.run("status", "--run-dir", "run", "--format", "json").json()["ok"] is False
        (place / "mesh" / name.decode(errors="surrogateescape")).unlink()
        made.wait_for(lambda: (said := made.status_yet()) and said.refused is None)
