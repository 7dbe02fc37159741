"""Formats of times are `strftime`'s in the C locale, with Envoy's and Abseil's additions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.log_time import compile_time, complaint_about_time

AT = datetime(2026, 1, 4, 9, 7, 5, 60_078, tzinfo=UTC)  # a Sunday

TABLE = {
    "": "2026-01-04T09:07:05.060Z",
    "%Y/%m/%dT%H:%M:%S%z": "2026/01/04T09:07:05+0000",
    "%s": "1767517625",
    "%s.%3f": "1767517625.060",
    "%s.%6f": "1767517625.060078",
    "%s.%9f": "1767517625.060078000",
    "%f": "060078000",
    "%1f": "0",
    "%E3S": "05.060",
    "%E0S": "05",
    "%E*S": "05.060078",
    "%E*f": "060078",
    "%E4Y%ET%Ez": "2026T+00:00",
    "%E*z": "+00:00:00",
    "%a %A %b %h %B": "Sun Sunday Jan Jan January",
    "%I:%M %p %l %k": "09:07 AM  9  9",
    "%D %F %T %R %r": "01/04/26 2026-01-04 09:07:05 09:07 09:07:05 AM",
    "%c": "Sun Jan  4 09:07:05 2026",
    "%e|%-e|%_m|%-m|%^b|%#p": " 4|4| 1|1|JAN|am",
    "%j %u %w %V %G %g %U %W": "004 7 0 01 2026 26 01 00",
    "%C %y": "20 26",
    "%Z": "UTC",
    "plain 100%%": "plain 100%",
}


@pytest.mark.parametrize(("written", "said"), TABLE.items(), ids=TABLE)
def test_a_time_is_written_as_envoy_writes_it(written, said):
    """Source: Envoy, START_TIME; Abseil, FormatTime; strftime(3)."""
    assert compile_time(written)(AT) == said


def test_a_whole_second_has_no_fraction_where_none_is_asked_for():
    """Abseil: `%E*S` writes a point only where something is behind it."""
    whole = AT.replace(microsecond=0)
    assert compile_time("%E*S")(whole) == "05"
    assert compile_time("%E*f")(whole) == "0"
    assert compile_time("")(whole) == "2026-01-04T09:07:05.000Z"


def test_local_times_are_those_of_the_process():
    """START_TIME_LOCAL; the same instant in whatever zone the machine is in."""
    said = compile_time("", is_local=True)(AT)
    assert datetime.strptime(said, "%Y-%m-%dT%H:%M:%S.%f%z") == AT.replace(microsecond=60_000)
    assert compile_time("%s", is_local=True)(AT) == "1767517625"


@pytest.mark.parametrize("written", ["%n", "%Y%-n", "%Q", "%10f", "%", "%Y-%", "%E5Y"])
def test_what_is_no_directive_is_refused_with_a_remedy(written):
    """And none makes a line of its own."""
    told = complaint_about_time(written)
    assert told is not None
    assert "remove it" in told or "write" in told
    with pytest.raises(ValueError, match="write|remove"):
        compile_time(written)


LETTERS = "YCyGgmdeHkIlMSjuwVUWzFTRD"


@given(
    st.integers(10**8, 4 * 10**9),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(LETTERS),
)
def test_each_directive_agrees_with_the_c_librarys(at, offset, letter):
    """As far as the two have it, at any time and in any zone."""
    aware = datetime.fromtimestamp(at, timezone(timedelta(minutes=offset)))
    assert compile_time(f"%{letter}")(aware) == aware.strftime(f"%{letter}")
