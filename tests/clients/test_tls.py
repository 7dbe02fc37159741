"""Contexts for rules: when they are made, made again, shared, and not to be had."""

from __future__ import annotations

import os
import ssl
import threading

import pytest
from certificates import Authority

from meshware.call import Send
from meshware.clients import tls
from meshware.clients.tls import origination
from meshware.errors import IdentityError
from meshware.policy.pool_rule import PoolRule, TLSRule


class Clock:
    """Stands for the module `time` where looks at files are spaced."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tls, "time", clock)
    monkeypatch.setattr(tls, "_contexts", tls._Contexts())
    return clock


@pytest.fixture
def ca_file(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(Authority().cert_pem)
    return path


def send(rule: TLSRule | None, name: str | None = "orders") -> Send:
    pool = PoolRule(name="orders", tls=rule)
    return Send("127.0.0.1", 80, pool, 1, None, None, (), server_name=name)


def test_nothing_is_originated_where_policy_says_so_or_the_caller_does_it():
    """`https://` has TLS of its own."""
    assert origination(send(None, None), "http") is None
    assert origination(send(TLSRule(ca_file="/nowhere")), "https") is None


def test_a_rule_has_one_context_whatever_the_name(ca_file):
    """And equal rules are one."""
    one = origination(send(TLSRule(ca_file=str(ca_file))), "http")
    same = origination(send(TLSRule(ca_file=str(ca_file))), "http")
    other = origination(send(TLSRule(ca_file=str(ca_file)), "stock."), "http")
    assert one == same != other
    assert one.context is other.context
    assert other.server_name == "stock"


def test_a_context_is_made_again_when_a_file_changes(ca_file, clock):
    """At the next look, and never for nothing."""
    rule = TLSRule(ca_file=str(ca_file))
    before = origination(send(rule), "http")
    clock.now += 10
    assert origination(send(rule), "http") == before
    ca_file.write_bytes(Authority("another").cert_pem)
    assert origination(send(rule), "http") == before  # too early to look again
    clock.now += 10
    after = origination(send(rule), "http")
    assert after.context is not before.context
    assert origination(send(rule), "http") == after


def test_a_file_that_is_replaced_by_one_as_old_and_as_long_is_another(ca_file, clock):
    """As mounts and synchronising programs do it."""
    rule = TLSRule(ca_file=str(ca_file))
    before = origination(send(rule), "http")
    status = ca_file.stat()
    other = ca_file.with_name("new.pem")
    other.write_bytes(ca_file.read_bytes())
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(ca_file)
    clock.now += 10
    assert origination(send(rule), "http").context is not before.context


@pytest.mark.parametrize("name", [None, "", ".", ".orders", "a..b", "a" * 64, "a\0b", "a\nb"])
def test_what_is_no_name_of_a_server_is_refused_before_dialling(name, ca_file):
    """`ssl` would raise whatever comes to it, in the middle of connecting."""
    with pytest.raises(IdentityError, match="no name of a server"):
        origination(send(TLSRule(ca_file=str(ca_file)), name), "http")


def test_without_any_authority_of_the_system_nothing_is_trusted(monkeypatch, tmp_path, caplog):
    """A container without them says so, in place of a puzzling refusal of every server."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(IdentityError):
        origination(send(TLSRule()), "http")
    assert "name some in caCertificates" in caplog.text


def test_a_pipe_is_not_waited_for(tmp_path, caplog):
    """Opening one would hang until somebody writes into it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(IdentityError):
        origination(send(TLSRule(ca_file=str(path))), "http")
    assert "it is not a file" in caplog.text


def test_the_log_names_file_and_reason_and_the_caller_learns_neither(ca_file, tmp_path, caplog):
    """Paths are nobody's business but the operator's."""
    rule = TLSRule(
        ca_file=str(ca_file), certificate_file=str(tmp_path / "none"), key_file=str(ca_file)
    )
    with pytest.raises(IdentityError) as raised:
        origination(send(rule), "http")
    assert str(tmp_path) not in str(raised.value)
    assert f"clientCertificate {tmp_path}/none cannot be used: No such file" in caplog.text


def test_what_fails_for_a_moment_is_tried_again_though_no_file_changed(ca_file, clock, monkeypatch):
    """Out of descriptors, say."""
    rule = TLSRule(ca_file=str(ca_file))

    def fails(_context, _path):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(ssl.SSLContext, "load_verify_locations", fails)
        with pytest.raises(IdentityError):
            origination(send(rule), "http")
    clock.now += 10
    assert origination(send(rule), "http")


def test_many_threads_make_one_context(ca_file):
    """However they meet."""
    rule = TLSRule(ca_file=str(ca_file))
    together = threading.Barrier(8, timeout=10)
    found = []

    def look() -> None:
        together.wait()
        found.append(origination(send(rule), "http"))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.context for each in found}) == 1
