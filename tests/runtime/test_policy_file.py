"""Opening policy files: whose they are, whether they are whole, and reading single records."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from policy_files import write

from meshware.errors import PolicyFileError, SettingsError
from meshware.policy.file import MAX_BYTES, encode
from meshware.runtime.policy_file import open_policy_file, trusted_owners

OURS = trusted_owners(None)


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


def test_records_come_out_of_the_file_one_by_one(tmp_path):
    """Header and index are read at once, a record when it is asked for."""
    records = open_policy_file(write(tmp_path / "policy.mesh", "one", 3), OURS)
    assert records.header.generation == 3
    assert list(records.keys()) == ["a", "b/1", "b/2", "c"]
    assert list(records.keys("b/")) == ["b/1", "b/2"]
    assert records.get("b/2") == b'"one"'
    assert records.get("d") is None
    assert records.digest("d") is None
    assert records.digest("a") == records.digest("c") is not None


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 30_000])
def test_an_index_of_any_length_is_read(tmp_path, count):
    """The index is read in pieces; where they meet makes no difference."""
    path = tmp_path / "policy.mesh"
    many = {f"svc/{number:05d}{'x' * (number % 90)}": b"%d" % number for number in range(count)}
    path.write_bytes(encode(many, generation=1, trust_domain="x"))
    records = open_policy_file(path, OURS)
    assert list(records.keys()) == sorted(many)
    for key in sorted(many)[:: max(1, count // 50)]:
        assert records.get(key) == many[key]


def test_an_open_file_is_read_on_after_it_was_replaced(tmp_path):
    """A snapshot goes on with the file that it was made from: no call sees two versions."""
    path = write(tmp_path / "policy.mesh", "one", 1)
    records = open_policy_file(path, OURS)
    write(path, "two", 2)
    assert records.get("a") == b'"one"'
    path.unlink()
    assert records.get("c") == b'"one"'


def test_the_descriptor_is_closed_with_the_last_use(tmp_path):
    """A thousand swaps leave no descriptor behind."""
    path = write(tmp_path / "policy.mesh", "one", 1)
    before = descriptors()
    for _ in range(50):
        open_policy_file(path, OURS)
    gc.collect()
    assert descriptors() == before


def test_a_refused_file_leaves_no_descriptor_behind(tmp_path):
    """Refusals can come for ever, and cost nothing."""
    path = tmp_path / "policy.mesh"
    path.write_bytes(b"nothing\n")
    before = descriptors()
    for _ in range(10):
        with pytest.raises(PolicyFileError):
            open_policy_file(path, OURS)
    assert descriptors() == before


def test_a_descriptor_that_became_somebody_elses_is_left_alone(tmp_path):
    """Programs that become daemons close every descriptor; the number may be reused."""
    records = open_policy_file(write(tmp_path / "policy.mesh", "one", 1), OURS)
    number = records._descriptor
    other = os.open(tmp_path, os.O_RDONLY)
    os.dup2(other, number)
    os.close(other)
    del records
    gc.collect()
    os.close(number)  # still open: nobody closed it for us


def test_a_record_that_was_overwritten_in_place_is_refused(tmp_path):
    """Whoever writes into the file instead of replacing it cannot change what policy says."""
    path = write(tmp_path / "policy.mesh", "one", 1)
    records = open_policy_file(path, OURS)
    path.write_bytes(path.read_bytes().replace(b'"one"\n"one"', b'"two"\n"one"'))
    with pytest.raises(PolicyFileError, match="record a .* does not fit its digest"):
        records.get("a")
    assert records.get("c") == b'"one"'


def test_a_file_that_was_cut_in_place_is_refused_at_the_record(tmp_path):
    """A record that is not all there is an error and never a shorter record."""
    path = write(tmp_path / "policy.mesh", "one", 1)
    records = open_policy_file(path, OURS)
    os.truncate(path, path.stat().st_size - 3)
    with pytest.raises(PolicyFileError):
        records.get("c")


def torn(data: bytes) -> bytes:
    return data[:-3]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (torn, "torn"),
        (lambda data: data + b"x", "torn"),
        (lambda data: data[: data.index(b"\n") + 20], "torn"),
        (lambda data: b"\0" * len(data), "no header line"),
        (lambda data: b"", "empty"),
        (lambda data: b"{}" * MAX_BYTES, "bytes"),
        (lambda data: data + b" " * 70_000, "torn"),
        (lambda data: b" " * 70_000 + data, "no header line"),
        (lambda data: b"\n" + data, "not the header"),
    ],
    ids=[
        "cut-short",
        "longer",
        "cut-in-the-index",
        "zeros",
        "empty",
        "too-large",
        "padded",
        "long-header",
        "no-header",
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage, words):
    """What a power cut or a full disk leaves is one named error."""
    path = write(tmp_path / "policy.mesh", "one", 1)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(PolicyFileError, match=words):
        open_policy_file(path, OURS)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o620])
def test_a_file_that_others_may_write_is_refused(tmp_path, mode):
    """Whoever can write the policy file decides who may call whom."""
    path = write(tmp_path / "policy.mesh", "one", 1, mode=mode)
    with pytest.raises(PolicyFileError, match=rf"written by others \(mode {mode:04o}\)"):
        open_policy_file(path, OURS)


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o444, 0o440])
def test_a_file_that_others_may_only_read_is_taken(tmp_path, mode):
    """Readers of the policy do no harm; a ConfigMap's files are read-only."""
    path = write(tmp_path / "policy.mesh", "one", 1, mode=mode)
    assert open_policy_file(path, OURS).header.generation == 1


def test_a_file_of_another_user_is_refused_until_that_user_is_named(tmp_path):
    """Root, oneself and MESH_POLICY_OWNER are trusted, and nobody else."""
    path = write(tmp_path / "policy.mesh", "one", 1)
    with pytest.raises(PolicyFileError, match="MESH_POLICY_OWNER"):
        open_policy_file(path, OURS - {path.stat().st_uid})
    owner = str(path.stat().st_uid)
    assert open_policy_file(path, trusted_owners(owner)).header.generation == 1


@pytest.mark.parametrize(("written", "expected"), [("1234", {1234}), ("root", {0}), (None, set())])
def test_the_owner_is_a_name_or_an_id(written, expected):
    """MESH_POLICY_OWNER reads as `chown` would read it."""
    assert trusted_owners(written) == {0, os.geteuid()} | expected


def test_an_owner_whom_nobody_knows_is_said_clearly():
    """A misspelt name must not mean "nobody else"."""
    with pytest.raises(SettingsError, match="MESH_POLICY_OWNER is 'no-such-user'"):
        trusted_owners("no-such-user")


def test_the_path_may_lead_through_symbolic_links(tmp_path):
    """A Kubernetes ConfigMap: policy.mesh -> ..data/policy.mesh, ..data -> ..2026_01."""
    (tmp_path / "..2026_01").mkdir()
    write(tmp_path / "..2026_01" / "policy.mesh", "one", 1)
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "policy.mesh").symlink_to("..data/policy.mesh")
    assert open_policy_file(tmp_path / "policy.mesh", OURS).get("a") == b'"one"'


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, make):
    """A named pipe would otherwise hold the following thread for ever."""
    path = tmp_path / "policy.mesh"
    make(path)
    with pytest.raises(PolicyFileError, match="not a regular file"):
        open_policy_file(path, OURS)


def test_a_missing_file_is_a_missing_file(tmp_path: Path):
    """Absent is not broken: the caller decides what that means."""
    with pytest.raises(FileNotFoundError):
        open_policy_file(tmp_path / "policy.mesh", OURS)
