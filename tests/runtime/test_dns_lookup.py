"""Looking one name up, of a real server on the loopback: what counts as an answer, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest
from dns_server import GARBAGE, NXDOMAIN, SERVFAIL, SILENCE, TRUNCATED, Says, dns_server, says

from meshware.errors import SettingsError
from meshware.runtime import dns_lookup
from meshware.runtime.dns_lookup import lookup_for, parse_servers
from meshware.runtime.dns_schedule import Bad, Good


@pytest.fixture
def server():
    with dns_server() as running:
        yield running


@pytest.fixture
def lookup(server, tmp_path: Path):
    """Ask that server; with a hosts file and settings of the test's own."""
    (tmp_path / "hosts").write_text(
        "127.0.0.1 localhost\n10.9.9.9\tWritten.test alias # and a comment\n"
        "fe80::1%eth0 zoned\nnonsense line\n::1 localhost\n"
    )
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\nsearch corp.test\n")
    return lookup_for(
        parse_servers(server.address, "test"),
        hosts=tmp_path / "hosts",
        resolv_conf=tmp_path / "resolv.conf",
    )


def test_all_addresses_of_an_answer_count_with_its_ttl(server, lookup):
    """In the order of the answer, each once."""
    server.say("api.test", says("10.0.0.2", "10.0.0.1", ttl_s=7))
    found = lookup("api.test")
    assert isinstance(found, Good)
    assert sorted(found.addresses) == ["10.0.0.1", "10.0.0.2"]
    assert found.ttl_s == 7
    assert server.asked == [("api.test", "A")]


def test_addresses_of_ipv6_count_where_there_are_no_others(server, lookup):
    """As with a sidecar: half of all calls would fail where IPv6 leads nowhere."""
    server.say("both.test", says("10.0.0.1", "2001:db8::1"))
    server.say("six.test", says("2001:db8::1", ttl_s=5))
    assert lookup("both.test") == Good(("10.0.0.1",), 60)
    assert lookup("six.test") == Good(("2001:db8::1",), 5)


def test_the_shortest_ttl_on_the_way_counts(server, lookup):
    """An alias that moves within five seconds takes its target's hour along."""
    server.say("www.test", Says(("10.0.0.1",), 3600, alias="edge.test", alias_ttl_s=5))
    assert lookup("www.test") == Good(("10.0.0.1",), 5)


def test_an_answer_too_long_for_udp_is_asked_for_over_tcp(server, lookup):
    """A service with a hundred addresses."""
    server.say("long.test", TRUNCATED)
    assert lookup("long.test") == Good(("192.0.2.1",), 60)
    assert server.times_asked("long.test") == 2


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (NXDOMAIN, "nxdomain", "no such name"),
        (SERVFAIL, "servfail", "every DNS server failed (SERVFAIL)"),
        (says(), "nodata", "neither A nor AAAA"),
        (says("0.0.0.0", "224.0.0.1"), "unusable", "nothing to be dialled ("),
    ],
    ids=["nxdomain", "servfail", "nodata", "unusable"],
)
def test_a_bad_answer_says_what_is_wrong(server, lookup, answer, reason, words):
    """In words that are told as they are."""
    server.say("bad.test", answer)
    found = lookup("bad.test")
    assert isinstance(found, Bad)
    assert found.reason == reason
    assert words in found.detail


@pytest.mark.parametrize("answer", [SILENCE, GARBAGE])
def test_a_server_that_does_not_answer_costs_a_bounded_time(server, lookup, answer, monkeypatch):
    """Whatever is no answer is waited past; the last good one holds meanwhile."""
    monkeypatch.setattr(dns_lookup, "LIFETIME_S", 0.5)
    server.say("mute.test", answer)
    found = lookup("mute.test")
    assert isinstance(found, Bad)
    assert found.reason in ("timeout", "servfail")


def test_what_cannot_be_dialled_is_left_out_of_a_good_answer(server, lookup):
    """One good address among others is one endpoint."""
    server.say("mixed.test", says("0.0.0.0", "10.0.0.1"))
    assert lookup("mixed.test") == Good(("10.0.0.1",), 60)


def test_the_hosts_file_comes_first(server, lookup):
    """Nobody is asked for what is written there, and it knows no TTL."""
    assert lookup("written.test") == Good(("10.9.9.9",))
    assert lookup("alias") == Good(("10.9.9.9",))
    assert lookup("localhost") == Good(("127.0.0.1",))
    assert server.asked == []


def test_the_hosts_file_is_read_again_when_it_was_changed(server, lookup, tmp_path):
    """A laptop's hosts file is edited while the mesh runs."""
    server.say("written.test", says("10.0.0.1"))
    assert lookup("written.test") == Good(("10.9.9.9",))
    (tmp_path / "hosts").write_text("")
    assert lookup("written.test") == Good(("10.0.0.1",), 60)


def test_a_short_name_is_looked_for_in_the_search_domains(server, lookup):
    """As every other program on the machine finds it."""
    server.say("orders.corp.test", says("10.0.0.1"))
    assert lookup("orders") == Good(("10.0.0.1",), 60)


def test_settings_without_a_server_are_said_to_be(tmp_path):
    """A container whose resolv.conf is missing or empty."""
    look = lookup_for(hosts=tmp_path / "none", resolv_conf=tmp_path / "none")
    found = look("api.test")
    assert isinstance(found, Bad)
    assert "no DNS server" in found.detail


def test_settings_that_change_are_followed(server, tmp_path, monkeypatch):
    """A VPN comes up and brings its own search domain."""
    settings = tmp_path / "resolv.conf"
    settings.write_text("search old.test\n")
    look = lookup_for(
        parse_servers(server.address, "test"), hosts=tmp_path / "none", resolv_conf=settings
    )
    server.say("api.newer.test", says("10.0.0.1"))
    assert isinstance(look("api"), Bad)
    settings.write_text("search newer.test\n")
    assert look("api") == Good(("10.0.0.1",), 60)


# --- without dnspython ----------------------------------------------------------------------------


@pytest.fixture
def without_dnspython(monkeypatch):
    """Make the import fail, as where the extra is not installed."""
    import sys

    for name in [name for name in sys.modules if name == "dns" or name.startswith("dns.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dns", None)


def test_without_dnspython_the_systems_resolver_is_asked(without_dnspython):
    """It knows no TTL; /etc/hosts is known to it."""
    look = lookup_for()
    found = look("localhost")
    assert isinstance(found, Good)
    assert found.ttl_s is None
    assert set(found.addresses) <= {"127.0.0.1", "::1"}
    missing = look("does-not-exist.invalid")
    assert isinstance(missing, Bad)
    assert missing.reason in ("nxdomain", "servfail", "error")  # as far as there is a network


def test_without_dnspython_a_server_of_ones_own_is_refused(without_dnspython):
    """Else the wrong one would be asked in silence."""
    with pytest.raises(SettingsError, match=r"--dns names .* meshware\[dns\]"):
        parse_servers("127.0.0.1", "--dns")
    assert parse_servers("", "--dns") == ()


# --- servers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", ()),
        ("10.0.0.2", (("10.0.0.2", 53),)),
        ("127.0.0.1:8600, [::1]:54,::1", (("127.0.0.1", 8600), ("::1", 54), ("::1", 53))),
    ],
)
def test_servers_are_addresses_with_or_without_a_port(written, expected):
    """Consul's listens at 8600."""
    assert parse_servers(written, "MESH_DNS") == expected


@pytest.mark.parametrize(
    "written", ["dns.test", "10.0.0.1:0", "10.0.0.1:70000", "10.0.0.1:", "::x"]
)
def test_what_is_no_server_is_refused(written):
    """A name would have to be looked up itself."""
    with pytest.raises(SettingsError, match="MESH_DNS is"):
        parse_servers(written, "MESH_DNS")
