"""Publishing: whole, under a later generation, with the one before kept."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path

import pytest
from policy_files import records_of
from sync_world import header_of

from meshware.errors import PolicyError, SyncError
from meshware.policy.file import MAX_GENERATION, decode, encode
from meshware.runtime.policy_file import open_policy_file, trusted_owners
from meshware.runtime.sources import signature_of
from meshware.syncd.publish import Publisher


def publish(publisher: Publisher, word: str, claims: tuple[int | None, ...] = ()) -> bool:
    """Publish policy that says one word."""
    return publisher.publish(
        records_of(word), trust_domain="cluster.local", source="mesh", claims=claims
    )


def word_of(path: Path) -> str:
    """The word that a policy file says, with everything verified."""
    _header, records = decode(path.read_bytes())
    [word] = set(records.values())
    return word.decode().strip('"')


def previous(places) -> Path:
    """The file before."""
    return places.run_dir / "policy.mesh.prev"


def test_the_first_publish_is_generation_1(places, clock):
    """What workers of any user on the machine can read and trust."""
    publisher = Publisher(places, clock)
    assert publisher.current is None
    assert publish(publisher, "one")
    records = open_policy_file(places.policy_file, trusted_owners(None))
    assert records.header.generation == 1
    assert records.header.source == "mesh"
    assert records.header.made_at == "2030-01-01T00:00:00.000+00:00"
    assert records.get("a") == b'"one"'
    assert stat.S_IMODE(places.policy_file.stat().st_mode) == 0o644
    assert stat.S_IMODE(places.last_file.stat().st_mode) == 0o600


def test_a_further_one_keeps_the_one_before(places, clock):
    """A power cut may leave the newest torn on some disks."""
    publisher = Publisher(places, clock)
    for word in ("one", "two", "three"):
        assert publish(publisher, word)
    assert word_of(places.policy_file) == "three"
    assert header_of(places.policy_file).generation == 3
    assert word_of(previous(places)) == "two"
    assert header_of(previous(places)).generation == 2


def test_the_same_policy_is_not_written_again(places, clock):
    """Workers would compile for nothing; and no number is used up."""
    publisher = Publisher(places, clock)
    publish(publisher, "one")
    before = signature_of(places.policy_file.stat())
    assert not publish(publisher, "one")
    assert not publish(Publisher(places, clock), "one")
    assert signature_of(places.policy_file.stat()) == before
    publish(publisher, "two")
    assert header_of(places.policy_file).generation == 2


def test_old_content_comes_back_under_a_new_generation(places, clock):
    """A rollback is an edit like any other."""
    publisher = Publisher(places, clock)
    for word in ("one", "two", "one"):
        publish(publisher, word)
    assert word_of(places.policy_file) == "one"
    assert header_of(places.policy_file).generation == 3


@pytest.mark.parametrize(
    ("lost", "generation"),
    [
        pytest.param(("policy.mesh",), 4, id="the file: the state and the one before know"),
        pytest.param(("policy.mesh", "policy.mesh.prev"), 4, id="the run directory: the state"),
        pytest.param(("last.mesh",), 4, id="the state: the file knows"),
        pytest.param(("last.mesh", "policy.mesh"), 3, id="all but the one before"),
        pytest.param(("last.mesh", "policy.mesh", "policy.mesh.prev"), 1, id="all: none knows"),
    ],
)
def test_the_generation_survives_where_one_of_its_places_does(places, clock, lost, generation):
    """Three publishes, a loss, a new daemon, and the fourth."""
    publisher = Publisher(places, clock)
    for word in ("one", "two", "three"):
        publish(publisher, word)
    for name in lost:
        (places.run_dir / name).unlink(missing_ok=True)
        (places.state_dir / name).unlink(missing_ok=True)
    publish(Publisher(places, clock), "four")
    assert header_of(places.policy_file).generation == generation


def test_live_workers_know_the_generation_when_all_files_are_lost(places, clock):
    """Nobody has to restart them."""
    publish(Publisher(places, clock), "one", claims=(None, 41, 7))
    assert header_of(places.policy_file).generation == 42


@pytest.mark.parametrize("size", [0, 10, -200, -1])
def test_a_torn_file_is_replaced_and_its_number_not_used_again(places, clock, size):
    """The header may still be whole; what is cut short is no policy."""
    publisher = Publisher(places, clock)
    for word in ("one", "two"):
        publish(publisher, word)
    places.last_file.unlink()
    whole = places.policy_file.read_bytes()
    places.policy_file.write_bytes(whole[:size])
    again = Publisher(places, clock)
    assert again.current is None
    assert publish(again, "two")
    assert word_of(places.policy_file) == "two"
    assert header_of(places.policy_file).generation == (2 if size in (0, 10) else 3)
    assert word_of(previous(places)) == "one"  # a torn file does not take its place


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda path: path.unlink(), id="removed"),
        pytest.param(lambda path: path.write_bytes(b"x"), id="overwritten"),
        pytest.param(lambda path: path.chmod(0o666), id="opened to all: no worker would take it"),
        pytest.param(lambda path: shutil.rmtree(path.parent), id="removed with its directory"),
        pytest.param(
            lambda path: path.write_bytes(
                encode(records_of("alien"), generation=77, trust_domain="cluster.local")
            ),
            id="replaced by somebody else's",
        ),
    ],
)
def test_a_file_that_was_harmed_is_noticed_and_written_again(places, clock, harm):
    """Under a generation later than any that workers can have met."""
    publisher = Publisher(places, clock)
    publish(publisher, "one")
    assert publisher.is_in_place()
    harm(places.policy_file)
    assert not publisher.is_in_place()
    found = header_of(places.policy_file).generation if _is_header(places.policy_file) else 1
    header = publisher.republish()
    assert header is not None
    assert header == header_of(places.policy_file)
    assert header.generation == found + 1
    assert word_of(places.policy_file) == "one"
    assert publisher.is_in_place()


def _is_header(path: Path) -> bool:
    return path.exists() and path.read_bytes().startswith(b"{")


def test_a_second_name_of_the_file_is_no_harm(places, clock):
    """A backup by hard links changes a file's times, and not what it says."""
    publisher = Publisher(places, clock)
    publish(publisher, "one")
    os.link(places.policy_file, places.run_dir / "backup")
    assert publisher.is_in_place()
    assert not publish(publisher, "one")


def test_what_a_killed_daemon_left_is_removed_at_the_next_start(places, clock):
    """And nothing else."""
    left = [
        places.run_dir / ".policy.mesh.0123456789ab.tmp",
        places.run_dir / ".policy.mesh.prev.0123456789ab.tmp",
        places.state_dir / ".last.mesh.0123456789ab.tmp",
    ]
    kept = [places.run_dir / ".policy.mesh.mine", places.run_dir / "policy.mesh.tmp"]
    for path in left + kept:
        path.write_bytes(b"half")
    Publisher(places, clock)
    assert [path for path in left + kept if path.exists()] == kept


def test_a_kill_between_state_and_file_uses_the_number_up(places, clock):
    """No two contents ever bear one generation."""
    publish(Publisher(places, clock), "one")
    places.last_file.write_bytes(
        encode(records_of("two"), generation=2, trust_domain="cluster.local")
    )
    publish(Publisher(places, clock), "three")
    assert header_of(places.policy_file).generation == 3


class TestRestore:
    """What is served while the sources cannot be used."""

    def test_nothing_was_ever_published(self, places, clock):
        """Then there is nothing to serve."""
        assert Publisher(places, clock).restore() is None

    def test_the_file_that_is_there_stays(self, places, clock):
        """No worker is disturbed."""
        publish(Publisher(places, clock), "one")
        before = places.policy_file.stat()
        restored = Publisher(places, clock).restore()
        assert restored is not None and not restored.is_republished
        assert restored.header.generation == 1
        assert places.policy_file.stat() == before

    @pytest.mark.parametrize(
        ("lost", "word"),
        [
            pytest.param(("policy.mesh", "policy.mesh.prev"), "two", id="from the daemon's copy"),
            pytest.param(("policy.mesh", "last.mesh"), "one", id="from the one before"),
        ],
    )
    def test_a_lost_one_is_published_again(self, places, clock, lost, word):
        """Under a new generation, for workers may have met later ones."""
        publisher = Publisher(places, clock)
        for each in ("one", "two"):
            publish(publisher, each)
        for name in lost:
            (places.run_dir / name).unlink(missing_ok=True)
            (places.state_dir / name).unlink(missing_ok=True)
        restored = Publisher(places, clock).restore(claims=(5,))
        assert restored is not None and restored.is_republished
        assert restored.header.generation == 6
        assert word_of(places.policy_file) == word

    def test_a_file_that_others_may_write_is_not_believed(self, places, clock):
        """Else anybody's policy would come into force by way of the daemon."""
        places.policy_file.write_bytes(
            encode(records_of("alien"), generation=5, trust_domain="cluster.local")
        )
        places.policy_file.chmod(0o666)
        assert Publisher(places, clock).restore() is None
        publish(Publisher(places, clock), "one")
        assert header_of(places.policy_file).generation == 6


def test_policy_that_no_worker_would_read_is_refused(places, clock):
    """A record that breaks the format, or 32 MiB of them; the old file stays."""
    publisher = Publisher(places, clock)
    publish(publisher, "one")
    for records in ({"two words": b"1"}, {"a": b"1" * (33 * 1024 * 1024)}):
        with pytest.raises(PolicyError):
            publisher.publish(records, trust_domain="x", source="")
    assert word_of(places.policy_file) == "one"
    assert header_of(places.policy_file).generation == 1
    assert publisher.is_in_place()


def test_a_forged_last_generation_is_told(places, clock):
    """There is no later one, so nothing can be published."""
    places.policy_file.write_bytes(
        encode(records_of("x"), generation=MAX_GENERATION, trust_domain="cluster.local")
    )
    with pytest.raises(SyncError, match="no larger one can follow"):
        publish(Publisher(places, clock), "one")


def test_a_pipe_in_the_place_of_the_file_does_not_hold_the_daemon(places, clock):
    """Whoever may write the run directory could put one there."""
    os.mkfifo(places.policy_file)
    publish(Publisher(places, clock), "one")
    assert word_of(places.policy_file) == "one"


def test_a_file_that_is_removed_in_the_middle_is_only_missed(places, clock):
    """Somebody cleans up all the time: every publish goes through, and the next look tells."""
    publisher = Publisher(places, clock)
    is_done = threading.Event()

    def clean_up() -> None:
        while not is_done.is_set():
            places.policy_file.unlink(missing_ok=True)

    cleaner = threading.Thread(target=clean_up)
    cleaner.start()
    try:
        for number in range(100):
            assert publish(publisher, f"word {number}")
    finally:
        is_done.set()
        cleaner.join()
    places.policy_file.unlink(missing_ok=True)
    assert not publisher.is_in_place()
    assert publisher.republish() is not None
    assert publisher.is_in_place()
    assert header_of(places.policy_file).generation == 101
