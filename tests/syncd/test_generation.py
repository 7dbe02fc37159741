"""The number of the next generation."""

from __future__ import annotations

import pytest

from meshware.errors import SyncError
from meshware.policy.file import MAX_GENERATION
from meshware.syncd.generation import next_generation

NOW = 1_800_000_000.0
HONEST = 2 * int(NOW)  # two a second since 1970


@pytest.mark.parametrize(
    ("known", "claims", "number"),
    [
        pytest.param([], [], 1, id="nothing is known: the first"),
        pytest.param([None, None, None], [None], 1, id="nothing is there: the first"),
        pytest.param([7, 6, 7], [], 8, id="the file's and one"),
        pytest.param([None, 6, 7], [], 8, id="the file is gone: the state's and one"),
        pytest.param([7, 9, 7], [], 10, id="the file before may be later: of a torn file"),
        pytest.param([None, None, None], [41, 40], 42, id="all is gone: the workers know"),
        pytest.param([50, None, None], [41], 51, id="workers behind change nothing"),
        pytest.param([3], [HONEST], HONEST + 1, id="a claim that could be true counts"),
        pytest.param([3], [HONEST + 1], 4, id="one that could not does not"),
        pytest.param([3], [MAX_GENERATION], 4, id="nor the largest number there is"),
        pytest.param([3], [-5, 0], 4, id="nor what is no generation"),
        pytest.param([3], [MAX_GENERATION, 9], 10, id="a liar does not silence the others"),
        pytest.param([HONEST + 7], [HONEST], HONEST + 8, id="after a lie it goes on by one"),
    ],
)
def test_it_is_one_more_than_anybody_has_seen(known, claims, number):
    """Workers refuse what is not later than what they have."""
    assert next_generation(known, claims, NOW) == number


def test_a_liar_that_always_claims_the_most_cannot_use_up_the_numbers():
    """A year of the boldest lies, one with each publish, leaves more than 100,000 years."""
    number, now = 1, NOW
    for _ in range(1000):
        number = next_generation([number], [2 * int(now)], now)
        now += 31_536
    assert number < MAX_GENERATION / 100_000


def test_the_end_of_the_numbers_is_told():
    """Only a forged file can bring it about, and whoever owns it can mend that."""
    assert next_generation([MAX_GENERATION - 1], [], NOW) == MAX_GENERATION
    with pytest.raises(SyncError, match="no larger one can follow"):
        next_generation([MAX_GENERATION], [], NOW)
