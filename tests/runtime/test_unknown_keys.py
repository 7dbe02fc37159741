"""Tokens with keys that nobody knows: noted by calls that wait for nobody, and told once."""

from __future__ import annotations

import msgspec
import pytest

from meshware.policy.jwks_records import jwks_key
from meshware.policy.view import Client
from meshware.runtime.mesh import Mesh
from meshware.runtime.reporter import MAX_REPORT_BYTES, Report, Reporter
from meshware.runtime.unknown_keys import MOST_UNKNOWN, UnknownKeys
from meshware.testing import FakeClock

URI, OTHER = "https://id.example.com/keys", "https://other.example.com/keys"


def digest(uri: str) -> str:
    """How a report names an address."""
    return jwks_key(uri).removeprefix("jwks/")


def test_what_is_noted_many_times_is_taken_once():
    """A thousand a second are one."""
    noted = UnknownKeys()
    for _ in range(1000):
        noted.note(URI)
    noted.note(OTHER)
    assert noted.take() == sorted([jwks_key(URI), jwks_key(OTHER)])
    assert noted.take() == ()
    noted.note(URI)
    assert noted.take() == [jwks_key(URI)]


def test_only_so_many_addresses_are_remembered():
    """No workload has more issuers."""
    noted = UnknownKeys()
    for number in range(1000):
        noted.note(f"https://{number}.example.com/")
    assert len(noted.take()) == MOST_UNKNOWN


class Reported:
    """A reporter that a test flushes by hand, and what it wrote."""

    def __init__(self, run_dir):
        (run_dir / "reports").mkdir()
        self._run_dir = run_dir
        client = Client(namespace="shop", name="web")
        self.reporter = Reporter(run_dir, client, clock=FakeClock())

    def flush(self) -> bool:
        return self.reporter.flush_once()

    def says(self) -> Report:
        [path] = self._run_dir.glob("reports/*/*/*.json")
        data = path.read_bytes()
        assert len(data) <= MAX_REPORT_BYTES
        return msgspec.json.decode(data, type=Report)


@pytest.fixture
def reported(tmp_path):
    made = Reported(tmp_path)
    yield made
    made.reporter.stop()


def test_a_report_counts_so_that_a_later_want_is_seen_anew(reported):
    """Once a flush, however many calls there were."""
    reported.flush()
    assert reported.says().unknown_keys == {}
    for expected in (1, 2):
        for _ in range(1000):
            reported.reporter.key_unknown(URI)
        assert reported.flush()
        assert reported.says().unknown_keys == {digest(URI): expected}
        assert not reported.flush()


def test_a_report_stays_small(reported):
    """The newest addresses count, beside the longest of refusals."""
    for number in range(20):
        reported.reporter.refused(f"{number} " + "ü" * 10_000, number)
    for number in range(200):
        reported.reporter.key_unknown(f"https://{number}.example.com/")
        reported.flush()
    found = reported.says().unknown_keys
    assert list(found) == [digest(f"https://{n}.example.com/") for n in range(168, 200)]


def test_a_mesh_without_a_daemon_takes_note_too():
    """Nothing is followed here: nothing happens, and nothing breaks."""
    Mesh().key_unknown(URI)
