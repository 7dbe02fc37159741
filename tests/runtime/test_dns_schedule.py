"""When names are looked up, what their answers are worth, and what is told of them."""

from __future__ import annotations

import pytest

from meshware.runtime.dns_schedule import (
    LONGEST_S,
    Bad,
    Good,
    Schedule,
    hold_s,
    usable,
    wait_s,
)

A, B = ("10.0.0.1",), ("10.0.0.2",)
GONE = Bad("nxdomain", "no such name (NXDOMAIN)")
FAILS = Bad("servfail", "every DNS server failed (SERVFAIL)")


@pytest.fixture
def schedule():
    """A schedule that wants `api.test` since second 0."""
    made = Schedule()
    made.want(["api.test"], 60.0, 0.0)
    return made


def look_up(schedule, outcome, now, name="api.test"):
    """Take what is due, and answer it. Returns what is told."""
    assert schedule.take(now) == name
    return schedule.answered(name, outcome, now)


@pytest.mark.parametrize(
    ("ttl_s", "expected"),
    [(None, 60.0), (0, 60.0), (0.2, 1.0), (7, 7.0), (3600, 3600.0), (604800, LONGEST_S)],
)
def test_an_answer_holds_for_its_ttl_within_bounds(ttl_s, expected):
    """Envoy: without a TTL, or with 0, the refresh rate holds."""
    assert hold_s(ttl_s, 60.0) == expected


def test_the_refresh_rate_is_never_below_a_second():
    """`dnsRefreshRate: 1ms` would ask a thousand times a second."""
    assert hold_s(None, 0.001) == 1.0
    assert wait_s(9, 0.001) == 1.0


def test_failures_are_waited_for_ever_longer_up_to_the_refresh_rate():
    """A server that is down is not stormed, and a short outage is over soon."""
    assert [wait_s(n, 60.0) for n in (1, 2, 3, 6, 7, 1000)] == [1, 2, 4, 32, 60, 60]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["10.0.0.1", "10.0.0.1"], ("10.0.0.1",)),
        (["0.0.0.0", "::", "224.0.0.1", "ff02::1"], ()),
        (["::ffff:10.0.0.1", "2001:DB8::1"], ("10.0.0.1", "2001:db8::1")),
        (["nonsense", ""], ()),
    ],
)
def test_what_cannot_be_dialled_is_no_address(given, expected):
    """Filters answer 0.0.0.0 for what they block."""
    assert usable(given) == expected


def test_a_name_is_due_at_once_and_once(schedule):
    """Two threads never look up the same."""
    assert schedule.due_at() == 0.0
    assert schedule.take(0.0) == "api.test"
    assert schedule.take(0.0) is None
    assert schedule.due_at() is None


def test_a_name_is_due_again_when_its_ttl_is_over(schedule):
    """And not before."""
    look_up(schedule, Good(A, 7), 10.0)
    assert schedule.due_at() == 17.0
    assert schedule.take(16.9) is None
    assert schedule.take(17.0) == "api.test"


def test_who_is_due_the_longest_comes_first(schedule):
    """No name starves behind one with a short TTL."""
    schedule.want(["api.test", "b.test"], 60.0, 1.0)
    assert [schedule.take(5.0), schedule.take(5.0)] == ["api.test", "b.test"]


def test_the_last_good_answer_stays_through_every_failure(schedule):
    """Whatever the failure is, and however long it lasts."""
    look_up(schedule, Good(A, 5), 0.0)
    version = schedule.version
    now = 5.0
    for outcome in (GONE, FAILS, Bad("timeout", "late"), Bad("nodata", "empty"), GONE) * 200:
        look_up(schedule, outcome, now)
        now = schedule.due_at()
    assert now > 3600
    assert schedule.known() == {"api.test": A}
    assert schedule.version == version
    assert schedule.figures().failing == 1


def test_a_flapping_name_keeps_its_address_and_returns_to_its_ttl(schedule):
    """Good and bad in turn: the good ones count, and each ends the back-off."""
    now = 0.0
    for turn in range(50):
        look_up(schedule, Good(A if turn % 2 else B, 5), now)
        assert schedule.known() == {"api.test": A if turn % 2 else B}
        now = schedule.due_at()
        look_up(schedule, FAILS, now)
        assert schedule.due_at() == now + 1.0
        assert schedule.known() == {"api.test": A if turn % 2 else B}
        now = schedule.due_at()


def test_only_other_addresses_are_news(schedule):
    """The same answer again publishes nothing."""
    look_up(schedule, Good(A, 5), 0.0)
    version = schedule.version
    look_up(schedule, Good(A, 5), 5.0)
    assert schedule.version == version
    look_up(schedule, Good(B, 5), 10.0)
    assert schedule.version > version


def test_a_failure_is_told_once_and_its_end_once(schedule):
    """In words that say what happens to calls."""
    told = look_up(schedule, GONE, 0.0)
    assert told == (
        "api.test cannot be looked up: no such name (NXDOMAIN); it has no endpoint until it is "
        "found, and calls are 503; trying again"
    )
    assert look_up(schedule, GONE, 1.0) is None
    assert look_up(schedule, Good(A, 5), 3.0) == "api.test is found again: 10.0.0.1"
    assert look_up(schedule, Good(A, 5), 8.0) is None
    told = look_up(schedule, FAILS, 13.0)
    assert "calls go on to 10.0.0.1, as it was answered last" in told


def test_who_flaps_is_not_told_of_at_each_turn(schedule):
    """A log that says the same every five seconds is read by nobody."""
    told, now = [], 0.0
    while now < 1800.0:
        told.append(look_up(schedule, FAILS, now))
        now = schedule.due_at()
        told.append(look_up(schedule, Good(A, 5), now))
        now = schedule.due_at()
    assert len([sentence for sentence in told if sentence]) <= 2 * 3 + 2


def test_a_name_that_policy_drops_is_forgotten(schedule):
    """Its answer too, which may be on its way."""
    look_up(schedule, Good(A, 5), 0.0)
    schedule.want(["b.test"], 60.0, 1.0)
    assert schedule.known() == {}
    assert schedule.answered("api.test", Good(A, 5), 2.0) is None
    assert schedule.known() == {}
    assert schedule.take(2.0) == "b.test"


def test_a_name_that_stays_keeps_its_answer_and_its_time(schedule):
    """An edit of something else asks nobody anew."""
    look_up(schedule, Good(A, 30), 0.0)
    schedule.want(["api.test", "b.test"], 60.0, 1.0)
    assert schedule.known() == {"api.test": A}
    assert schedule.take(1.0) == "b.test"
    assert schedule.due_at() == 30.0


def test_what_an_earlier_process_found_holds_until_there_is_an_answer():
    """A daemon that starts while DNS is down takes no endpoint away."""
    schedule = Schedule()
    schedule.seed({"api.test": A, "dropped.test": B, "odd.test": ["0.0.0.0"]})
    schedule.want(["api.test", "odd.test"], 60.0, 0.0)
    assert schedule.known() == {"api.test": A}
    assert schedule.due_at() == 0.0
    look_up(schedule, FAILS, 0.0)
    assert schedule.known() == {"api.test": A}
    schedule.want(["dropped.test"], 60.0, 1.0)
    assert schedule.known() == {}


def test_new_policy_waits_only_for_names_without_address_and_answer(schedule):
    """A bad answer ends the waiting as a good one does."""
    assert schedule.is_waiting()
    look_up(schedule, GONE, 0.0)
    assert not schedule.is_waiting()


def test_everything_is_counted(schedule):
    """By what came of it, good or bad."""
    schedule.want(["api.test", "b.test"], 60.0, 0.0)
    look_up(schedule, Good(A, 1), 0.0)
    look_up(schedule, FAILS, 0.0, "b.test")
    look_up(schedule, GONE, 1.0)
    figures = schedule.figures()
    assert (figures.names, figures.failing, figures.unresolved) == (2, 2, 1)
    assert dict(figures.lookups) == {"ok": 1, "servfail": 1, "nxdomain": 1}
