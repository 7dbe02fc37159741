"""When a burst of edits has settled, told by a clock that the test moves."""

from __future__ import annotations

import pytest

from meshware.syncd.settle import Settle


def settle() -> Settle:
    """One with times that are easy to add."""
    return Settle(quiet_s=1.0, most_s=5.0, apart_s=3.0)


@pytest.mark.parametrize(
    ("changes", "due_at"),
    [
        pytest.param([], None, id="nothing changed: nothing to read"),
        pytest.param([10.0], 11.0, id="one change is read after the quiet"),
        pytest.param([10.0, 10.5], 11.5, id="a further change begins the quiet anew"),
        pytest.param([10.0, 10.9, 11.8, 12.7], 13.7, id="and so does each"),
        pytest.param(
            [10.0, 10.9, 11.8, 12.7, 13.6, 14.5, 14.9], 15.0, id="but not past the longest wait"
        ),
    ],
)
def test_a_burst_is_read_after_a_quiet_or_at_the_longest_wait(changes, due_at):
    """Who edits without a pause is published all the same."""
    one = settle()
    for at in changes:
        one.changed(at)
    assert one.due_at() == due_at


@pytest.mark.parametrize(
    ("change", "due_at"),
    [
        pytest.param(10.1, 13.0, id="at once after a publish: when that is long enough ago"),
        pytest.param(12.5, 13.5, id="a little later: after the quiet"),
        pytest.param(20.0, 21.0, id="long after: after the quiet"),
    ],
)
def test_publishes_keep_their_distance(change, due_at):
    """Each makes every worker of the node compile."""
    one = settle()
    one.published(10.0)
    one.changed(change)
    assert one.due_at() == due_at


def test_what_is_being_read_is_no_longer_due():
    """A change during the reading begins a burst of its own."""
    one = settle()
    one.changed(10.0)
    one.take()
    assert one.due_at() is None
    one.changed(11.2)
    assert one.due_at() == 12.2


def test_continuous_edits_are_each_read_within_a_second_of_the_defaults():
    """With 0.1 s to hear of it and 0.15 s to read, every edit is out within a second."""
    one, reads, pending, worst = Settle(), 0, [], 0.0
    for tick in range(1000):  # an edit every 10 ms, for 10 s
        now = tick * 0.01
        one.changed(now)
        pending.append(now)
        due_at = one.due_at()
        if due_at is not None and now >= due_at:
            one.take()
            one.published(now)
            reads += 1
            worst = max(worst, now - pending[0])
            pending.clear()
    assert 10 <= reads <= 20
    assert worst <= 0.75
