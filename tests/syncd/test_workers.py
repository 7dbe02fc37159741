"""What a report comes to: a state, numbers of now, and what is amiss in words."""

from __future__ import annotations

import msgspec
import pytest

from meshware.runtime.reporter import Refusal, Report
from meshware.runtime.vitals import Certificate, Vitals
from meshware.syncd.workers import worker_seen

NOW_S = 2_000_000_000.0
HOUR_S = 3600.0
REFUSAL = Refusal(reason="spec: is broken", generation=8)


def report(generation: int | None = 7, *refusals: Refusal, **vitals) -> Report:
    """A report, read."""
    told = Vitals(**vitals) if vitals else None
    return Report(
        id="0123456789abcdef", pid=1, namespace="shop", workload="web", generation=generation,
        refusals=refusals, vitals=told,
    )  # fmt: skip


def certificate(left_s: float, life_s: float = HOUR_S) -> Certificate:
    """One of which so much is left."""
    until_s = NOW_S + left_s
    return Certificate(id="spiffe://a/b", from_s=until_s - life_s, until_s=until_s, source="files")


@pytest.mark.parametrize(
    ("told", "published", "state", "troubles"),
    [
        pytest.param(report(), 7, "current", [], id="all is well"),
        pytest.param(report(5), 7, "behind", ["2 behind"], id="behind"),
        pytest.param(report(9), 7, "behind", ["2 ahead"], id="of another daemon"),
        pytest.param(report(None), 7, "waits", ["has no policy yet"], id="just started"),
        pytest.param(
            report(7), None, "behind", ["no policy is published"], id="the policy file is gone"
        ),
        pytest.param(report(None), None, "waits", ["has no policy yet"], id="nothing anywhere"),
        pytest.param(report(7, REFUSAL), 7, "refuses", ["refuses policy"], id="a service of it"),
        pytest.param(
            report(7, REFUSAL), 8, "refuses", ["refuses policy", "1 behind"], id="all of it"
        ),
        pytest.param(report(certificate=certificate(HOUR_S / 4)), 7, "current", [], id="in time"),
        pytest.param(
            report(certificate=certificate(HOUR_S / 4 - 1)), 7, "current",
            ["certificate ends soon"], id="its renewal is overdue",
        ),
        pytest.param(
            report(certificate=certificate(600, life_s=900)), 7, "current", [], id="a short life"
        ),
        pytest.param(
            report(certificate=certificate(0)), 7, "current", ["certificate has ended"], id="ended"
        ),
        pytest.param(report(lag_s=0.1, lag_of="loop"), 7, "current", [], id="a lag to live with"),
        pytest.param(
            report(lag_s=0.101, lag_of="loop"), 7, "current", ["event loop lags"], id="a slow loop"
        ),
        pytest.param(
            report(lag_s=2, lag_of="thread"), 7, "current", ["threads wait"], id="slow threads"
        ),
    ],
)  # fmt: skip
def test_what_is_amiss_is_said_in_words(told, published, state, troubles):
    seen = worker_seen(told, published, NOW_S)
    assert (seen.state, list(seen.troubles)) == (state, troubles)


@pytest.mark.parametrize(("silent_s", "said"), [(9.9, ()), (61, ("not heard of for 61 s",))])
def test_a_worker_that_says_nothing_any_more_is_not_well(silent_s, said):
    """Whatever it said last."""
    told = msgspec.structs.replace(report(), heard_at=NOW_S - silent_s)
    assert worker_seen(told, 7, NOW_S).troubles == said


def test_numbers_are_those_of_now():
    seen = worker_seen(
        report(applied_s=NOW_S - 90.25, certificate=certificate(1800), in_flight=3), 7, NOW_S
    )
    assert (seen.applied_at, seen.policy_age_s) == ("2033-05-18T03:31:49+00:00", 90.2)
    assert seen.certificate is not None
    assert (seen.certificate.until, seen.certificate.left_s) == ("2033-05-18T04:03:20+00:00", 1800)
    assert seen.in_flight == 3


def test_a_clock_that_is_behind_makes_no_negative_age():
    assert worker_seen(report(applied_s=NOW_S + 5), 7, NOW_S).policy_age_s == 0


def test_a_worker_of_an_earlier_version_tells_none_of_it():
    seen = worker_seen(report(), 7, NOW_S)
    assert seen.version is seen.memory_bytes is seen.lag_s is seen.certificate is None
    assert seen.troubles == ()


EVIL = "\x1b]0;owned\x07\x9b2J\u202e\r\n"
LEGIBLE = r"\x1b]0;owned\x07\x9b2J\u202e\r\n"


def test_what_a_terminal_would_obey_is_escaped_in_all_that_is_claimed():
    """Each text of a report is a claim; the numbers are bounded by their types."""
    told = Report(
        id="0123456789abcdef", pid=1, namespace="shop", workload="web", generation=7,
        address=EVIL, started_at=EVIL, refusals=(Refusal(reason=EVIL, subject=EVIL),),
        vitals=Vitals(
            version=EVIL, python=EVIL, server=EVIL,
            certificate=Certificate(id=EVIL, from_s=0, until_s=1, source=EVIL),
        ),
    )  # fmt: skip
    seen = msgspec.to_builtins(worker_seen(told, 7, NOW_S))
    texts = [seen[key] for key in ("version", "python", "server", "address", "started_at")]
    texts += [seen["certificate"]["id"], seen["certificate"]["source"]]
    texts.append(seen["refusals"][0]["subject"])
    assert texts == [LEGIBLE] * 8
    assert seen["refusals"][0]["reason"] == LEGIBLE[:-2] + "\n"  # problems stand on lines
