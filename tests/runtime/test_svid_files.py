"""Files of an identity, under every kind of writer: a pair is always a pair, the last one stays."""

from __future__ import annotations

import logging
import os
import threading

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from descriptors import no_descriptors
from identities import MeshAuthority

from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.svid import read_key
from meshware.runtime import followed_files
from meshware.runtime.files import replace_file
from meshware.runtime.svid_files import SVIDFiles

AUTHORITY = MeshAuthority()
SVIDS = [AUTHORITY.issue("default/app") for _ in range(3)]


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch):
    monkeypatch.setattr(followed_files, "_LOOK_AGAIN_S", 0.0)


@pytest.fixture
def files(tmp_path):
    return SVIDFiles(tmp_path)


def put(path, data, mode=0o600):
    replace_file(path, data if isinstance(data, bytes) else data.encode(), mode=mode)


def test_nothing_there_is_no_identity(files):
    assert files.svid() is None
    assert files.bundle("cluster.local") is None


def test_one_file_and_its_renewal(files, tmp_path):
    for svid in SVIDS:
        put(tmp_path / "svid.pem", svid.pem)
        assert files.svid() == svid


def test_two_files_replaced_one_after_the_other_are_never_taken_for_a_pair(files, tmp_path):
    old, new = SVIDS[:2]
    put(tmp_path / "tls.crt", old.cert_pem)
    assert files.svid() is None
    put(tmp_path / "tls.key", old.key_pem)
    assert files.svid() == old
    put(tmp_path / "tls.crt", new.cert_pem)
    assert files.svid() == old
    put(tmp_path / "tls.key", new.key_pem)
    assert files.svid() == new


def test_a_kubernetes_secret_is_swapped_whole(files, tmp_path):
    for nth, svid in enumerate(SVIDS):
        versioned = tmp_path / f"..{nth}"
        versioned.mkdir()
        put(versioned / "tls.crt", svid.cert_pem)
        put(versioned / "tls.key", svid.key_pem)
        put(versioned / "ca.crt", AUTHORITY.root_pem)
        (tmp_path / "..new").symlink_to(versioned.name)
        (tmp_path / "..new").rename(tmp_path / "..data")
        if nth == 0:
            for name in ("tls.crt", "tls.key", "ca.crt"):
                (tmp_path / name).symlink_to(f"..data/{name}")
        assert files.svid() == svid
        assert files.bundle("cluster.local").roots == (AUTHORITY.root.certificate,)


ENCRYPTED = SVIDS[0].key.private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
)
BAD = {
    "empty": b"",
    "garbage": os.urandom(4096),
    "cut": SVIDS[1].pem[:-200].encode(),
    "key only": SVIDS[1].key_pem.encode(),
    "chain only": SVIDS[1].cert_pem.encode(),
    "another's key": (SVIDS[1].key_pem + SVIDS[2].cert_pem).encode(),
    "encrypted": ENCRYPTED + SVIDS[0].cert_pem.encode(),
    "huge": SVIDS[1].pem.encode() + b"\n" * 300_000,
    "no id": AUTHORITY.root.key_pem.encode() + AUTHORITY.root_pem.encode(),
    "pem of nothing": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
}


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_used_is_told_once_and_the_last_one_stays(files, tmp_path, caplog, bad):
    put(tmp_path / "svid.pem", BAD[bad])
    for _ in range(3):
        assert files.svid() is None
    assert len(caplog.records) == 1
    put(tmp_path / "svid.pem", SVIDS[0].pem)
    assert files.svid() == SVIDS[0]
    put(tmp_path / "svid.pem", BAD[bad])
    for _ in range(3):
        assert files.svid() == SVIDS[0]
    assert len(caplog.records) == 2
    put(tmp_path / "svid.pem", SVIDS[1].pem)
    assert files.svid() == SVIDS[1]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o602])
def test_a_key_that_others_may_read_or_write_is_refused(files, tmp_path, caplog, mode):
    put(tmp_path / "svid.pem", SVIDS[0].pem, mode)
    assert files.svid() is None
    assert "chmod 600" in caplog.text
    (tmp_path / "svid.pem").chmod(0o600)
    assert files.svid() == SVIDS[0]


def test_a_pipe_does_not_hold_up_anybody(files, tmp_path):
    os.mkfifo(tmp_path / "svid.pem", 0o600)
    assert files.svid() is None
    (tmp_path / "svid.pem").unlink()
    (tmp_path / "svid.pem").mkdir()
    assert files.svid() is None
    (tmp_path / "svid.pem").rmdir()
    (tmp_path / "svid.pem").symlink_to("svid.pem")
    assert files.svid() is None


def test_one_that_could_not_be_opened_for_want_of_descriptors_is_read_later(files, tmp_path):
    put(tmp_path / "svid.pem", SVIDS[0].pem)
    with no_descriptors():
        assert files.svid() is None
    assert files.svid() == SVIDS[0]


@pytest.mark.parametrize("name", ["bundle.pem", "ca.crt"])
def test_roots_that_cannot_be_used_leave_the_last_ones_and_the_key(files, tmp_path, name):
    put(tmp_path / name, AUTHORITY.root_pem, 0o644)
    assert files.bundle("cluster.local").roots == (AUTHORITY.root.certificate,)
    put(tmp_path / name, b"garbage")
    put(tmp_path / "svid.pem", SVIDS[0].pem)
    kept = files.bundle("cluster.local")
    assert kept.roots == (AUTHORITY.root.certificate,)
    assert files.svid() == SVIDS[0]
    assert files.bundle("cluster.local") is kept
    assert files.bundle("other.org").trust_domain == "other.org"
    new = MeshAuthority()
    put(tmp_path / name, new.root_pem)
    put(tmp_path / "svid.pem", b"garbage")
    assert files.bundle("cluster.local").roots == (new.root.certificate,)


def test_bundle_pem_is_before_ca_crt(files, tmp_path):
    put(tmp_path / "ca.crt", MeshAuthority().root_pem)
    put(tmp_path / "bundle.pem", AUTHORITY.root_pem)
    assert files.bundle("cluster.local").roots == (AUTHORITY.root.certificate,)


def test_a_thousand_replacements_under_tight_readers(files, tmp_path):
    """Whatever is read is a whole pair, and no descriptor stays open."""
    path, stop, seen, wrong = tmp_path / "svid.pem", threading.Event(), set(), []
    put(path, SVIDS[0].pem)
    assert files.svid() == SVIDS[0]
    before = len(os.listdir("/proc/self/fd"))

    def read():
        while not stop.is_set():
            svid = files.svid()
            seen.add(svid.digest)
            if svid not in SVIDS or read_key(svid.key_pem, svid.leaf) is None:
                wrong.append(svid)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for nth in range(1000):
        put(path, SVIDS[nth % 3].pem)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not wrong
    assert seen == {one.digest for one in SVIDS}
    assert files.svid() == SVIDS[999 % 3]
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_key_is_in_a_repr_a_log_or_an_error(files, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    svid = SVIDS[0]
    bundles = Bundles([Bundle("cluster.local", (AUTHORITY.root.certificate,))])
    objects = (svid, AUTHORITY.root, files, bundles, bundles["cluster.local"])
    told = [repr(one) + str(one) for one in objects]
    for bad in BAD.values():
        put(tmp_path / "svid.pem", bad)
        files.svid()
    told.append(caplog.text)
    private = format(svid.key.private_numbers().private_value, "x")
    lines = [line for line in svid.key_pem.splitlines() if not line.startswith("--")]
    for text in told:
        assert "PRIVATE" not in text
        assert private not in text
        assert not any(line in text for line in lines)
