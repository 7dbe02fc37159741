"""When keys are fetched, how seldom at the most, and what is told of it."""

from __future__ import annotations

from random import Random

import pytest

from meshware.policy.jwks_records import JwksSource, jwks_key
from meshware.policy.record_types import KeyFetching
from meshware.runtime.jwks_schedule import (
    KEPT_S,
    REFETCH_S,
    REFRESH_S,
    Failed,
    Fetched,
    FetchJob,
    JwksSchedule,
    wait_s,
)

URI = "https://id.example.com/keys"
OTHER = "https://other.example.com/keys"
RULES = KeyFetching()
A, B = Fetched('{"keys":["a"]}'), Fetched('{"keys":["b"]}')
DOWN = Failed("connect", "id.example.com cannot be reached: connection refused")
BROKEN = Failed("status", "the answer is 500 and not 200")


class NoChance(Random):
    """The longest waits."""

    def random(self) -> float:
        return 0.0


@pytest.fixture
def schedule():
    """A schedule that wants one address since second 0."""
    made = JwksSchedule(NoChance())
    made.want([JwksSource(URI)], RULES, 0.0)
    return made


def fetch(schedule, outcome, now, source=None):
    """Take what is due, and answer it. Returns what is told."""
    job = schedule.take(now)
    assert job == FetchJob(source or JwksSource(URI), RULES)
    return schedule.answered(job, outcome, now)


def test_a_new_address_is_due_at_once_and_to_one(schedule):
    """There are never two fetches of it at the same time."""
    assert schedule.due_at() == 0.0
    assert schedule.is_waiting()
    assert schedule.take(0.0) is not None
    assert schedule.take(0.0) is None
    assert schedule.due_at() is None


def test_good_keys_are_fetched_again_after_twenty_minutes(schedule):
    """Istio's, where MeshConfig has no field for it."""
    assert fetch(schedule, A, 1.0) is None
    assert schedule.known() == {URI: A.keys}
    assert not schedule.is_waiting()
    assert schedule.due_at() == 1.0 + REFRESH_S == 1201.0
    assert schedule.take(1200.9) is None


def test_what_is_as_before_is_no_news(schedule):
    """Else policy would be published every 20 minutes."""
    fetch(schedule, A, 0.0)
    before = schedule.version
    fetch(schedule, A, 1200.0)
    assert schedule.version == before
    fetch(schedule, B, 2400.0)
    assert schedule.version == before + 1


def test_failures_are_waited_for_ever_longer_up_to_an_hour():
    """A minute, doubling: Istio's."""
    waits = [wait_s(n, NoChance()) for n in (1, 2, 3, 6, 7, 8, 1000)]
    assert waits == [60, 120, 240, 1920, 3600, 3600, 3600]


def test_a_wait_is_shorter_by_chance_and_never_below_the_least_distance():
    """A thousand machines do not come at once, and none of them too early."""
    draw = Random(7)
    waits = {wait_s(1, draw) for _ in range(1000)}
    assert len(waits) > 900
    assert REFETCH_S < min(waits) < 46 and 59 < max(waits) <= 60


def test_a_failure_takes_nothing_away(schedule):
    """The last good keys go on."""
    fetch(schedule, A, 0.0)
    before = schedule.version
    fetch(schedule, DOWN, 1200.0)
    assert schedule.known() == {URI: A.keys}
    assert schedule.version == before
    assert schedule.due_at() == 1260.0
    fetch(schedule, DOWN, 1260.0)
    assert schedule.due_at() == 1380.0
    fetch(schedule, B, 1380.0)
    assert schedule.known() == {URI: B.keys}
    assert schedule.due_at() == 1380.0 + REFRESH_S


def test_keys_that_could_not_be_fetched_for_a_week_are_good_no_longer(schedule):
    """Whoever keeps an issuer from being asked would keep a stolen key alive for ever."""
    fetch(schedule, A, 0.0)
    before = schedule.version
    now = schedule.due_at()
    while now < KEPT_S:
        fetch(schedule, DOWN, now)
        assert schedule.known() == {URI: A.keys}
        now = schedule.due_at()
    assert "refused with 401" in fetch(schedule, DOWN, now)
    assert schedule.known() == {}
    assert schedule.version == before + 1


@pytest.mark.parametrize(
    ("asked_at", "unknown_at", "expected"),
    [
        (0.0, 100.0, 100.0),
        (0.0, 30.0, 30.0),
        (0.0, 29.9, 30.0),
        (0.0, 0.5, 30.0),
        (50.0, 60.0, 80.0),
    ],
)
def test_an_unknown_key_is_asked_for_at_once_but_not_too_often(
    schedule, asked_at, unknown_at, expected
):
    """At most one fetch in 30 s."""
    fetch(schedule, A, asked_at)
    schedule.unknown_key(jwks_key(URI), unknown_at)
    assert schedule.due_at() == expected


@pytest.mark.parametrize("outcome", [A, DOWN], ids=["good", "down"])
def test_a_flood_of_unknown_keys_is_one_fetch_in_thirty_seconds(schedule, outcome):
    """A thousand a second for a minute and a half, whether or not the issuer answers."""
    fetched_at = []
    for millisecond in range(90_000):
        now = millisecond / 1000
        schedule.unknown_key(jwks_key(URI), now)
        job = schedule.take(now)
        if job is not None:
            fetched_at.append(now)
            schedule.answered(job, outcome, now)
    assert fetched_at == [0.0, 30.0, 60.0]


def test_an_unknown_key_during_a_fetch_is_no_second_one(schedule):
    """The answer that is on its way may well have it."""
    job = schedule.take(0.0)
    schedule.unknown_key(jwks_key(URI), 1.0)
    assert schedule.take(1.0) is None
    schedule.answered(job, A, 2.0)
    assert schedule.due_at() == 1202.0


def test_an_unknown_key_of_no_address_means_nothing(schedule):
    """A report may say anything."""
    fetch(schedule, A, 0.0)
    schedule.unknown_key("jwks/" + "0" * 64, 100.0)
    assert schedule.due_at() == REFRESH_S


def test_policy_that_drops_and_names_an_address_again_is_no_way_around_that(schedule):
    """Its keys are there again, and its turn is what it was."""
    fetch(schedule, A, 0.0)
    schedule.want([], RULES, 1.0)
    assert (schedule.known(), schedule.due_at()) == ({}, None)
    schedule.want([JwksSource(URI)], RULES, 2.0)
    assert (schedule.known(), schedule.due_at()) == ({URI: A.keys}, REFRESH_S)
    schedule.want([], RULES, 3.0)
    schedule.want([], RULES, 31.0)
    schedule.want([JwksSource(URI)], RULES, 32.0)
    assert (schedule.known(), schedule.due_at()) == ({}, 32.0)


def test_other_rules_of_fetching_make_all_due(schedule):
    """Whoever has just allowed a host waits for it."""
    fetch(schedule, DOWN, 0.0)
    rules = KeyFetching(internal_hosts=("id.example.com",))
    schedule.want([JwksSource(URI)], rules, 5.0)
    assert schedule.take(5.0) == FetchJob(JwksSource(URI), rules)


def test_what_is_answered_to_an_earlier_question_does_not_count(schedule):
    """The rules changed while it was under way: it may be of a host that is forbidden now."""
    job = schedule.take(0.0)
    rules = KeyFetching(ca_file="/ca.pem")
    schedule.want([JwksSource(URI)], rules, 1.0)
    assert schedule.answered(job, A, 2.0) is None
    assert schedule.known() == {}
    assert schedule.take(2.0) == FetchJob(JwksSource(URI), rules)


def test_the_keys_of_another_issuer_at_the_same_address_are_not_kept(schedule):
    """Its configuration must say its name."""
    fetch(schedule, A, 0.0)
    source = JwksSource(URI, is_discovery=True, issuer="https://id.example.com")
    schedule.want([source], RULES, 1.0)
    assert schedule.known() == {}
    assert schedule.take(1.0) == FetchJob(source, RULES)


def test_a_longer_time_out_is_no_other_question(schedule):
    """What is under way counts."""
    job = schedule.take(0.0)
    schedule.want([JwksSource(URI, timeout_s=9.0)], RULES, 1.0)
    schedule.answered(job, A, 2.0)
    assert schedule.known() == {URI: A.keys}


def test_what_was_found_before_this_process_holds_until_there_is_an_answer():
    """Nobody waits for it, and a failure does not take it away."""
    schedule = JwksSchedule(NoChance())
    schedule.seed({URI: A.keys, OTHER: B.keys})
    schedule.want([JwksSource(URI)], RULES, 0.0)
    assert schedule.known() == {URI: A.keys}
    assert not schedule.is_waiting()
    assert schedule.is_waiting(are_known_enough=False)
    told = fetch(schedule, DOWN, 0.0)
    assert told.endswith("connection refused; those fetched before go on; trying again")
    assert not schedule.is_waiting(are_known_enough=False)
    assert schedule.known() == {URI: A.keys}


def test_a_failure_is_told_once_and_again_when_it_is_another(schedule):
    """And that it is over."""
    assert fetch(schedule, DOWN, 0.0) == (
        "the keys of https://id.example.com/keys cannot be fetched: id.example.com cannot be "
        "reached: connection refused; tokens that need them are refused with 401; trying again"
    )
    assert fetch(schedule, DOWN, 60.0) is None
    assert "the answer is 500" in fetch(schedule, BROKEN, 180.0)
    assert fetch(schedule, BROKEN, 420.0) is None
    assert fetch(schedule, A, 900.0) == "the keys of https://id.example.com/keys are fetched again"
    assert fetch(schedule, A, 2100.0) is None


def test_figures_say_what_fails(schedule):
    """For the status and for metrics."""
    schedule.want([JwksSource(URI), JwksSource(OTHER)], RULES, 0.0)
    fetch(schedule, A, 0.0)
    assert schedule.figures().unanswered == 1
    fetch(schedule, BROKEN, 0.0, JwksSource(OTHER))
    figures = schedule.figures()
    assert (figures.sources, figures.missing, figures.unanswered) == (2, 1, 0)
    assert dict(figures.fetches) == {"ok": 1, "status": 1}
    [finding] = figures.findings
    assert (finding.uri, finding.has_keys) == (OTHER, False)


def test_who_was_fetching_is_gone_and_another_does(schedule):
    """In a forked child the parent's threads do not run."""
    job = schedule.take(0.0)
    schedule.give_back()
    assert schedule.take(0.0) == job
