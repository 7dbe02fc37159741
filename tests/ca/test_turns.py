"""Turns over accounts: none is starved by another, and an error names whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshware.ca.plan import Account
from meshware.ca.turns import Turns
from meshware.errors import IdentityError

ACCOUNTS = tuple(Account("default", name) for name in "abc")


def never():
    return False


def always():
    return True


def test_a_turn_begins_where_the_last_one_stopped():
    """However little time there is, each has its turn."""
    turns, done = Turns(Path("/run/identity")), []

    def do(account):
        done.append(account.name)
        return 60.0

    for _ in range(4):
        assert turns.take(ACCOUNTS, do, 5.0, never) == 5.0
    assert done == ["a", "b", "c", "a"]
    assert turns.take(ACCOUNTS, do, 5.0, always) == 60.0
    assert done[4:] == ["b", "c", "a"]
    turns.take(ACCOUNTS, do, 5.0, never)
    assert turns.take(ACCOUNTS[:1], do, 5.0, never) == 60.0, "where it stopped is gone"


def test_who_fails_slowly_each_time_costs_the_others_a_turn():
    turns, done = Turns(Path("/run/identity")), []

    def do(account):
        done.append(account.name)
        if account.name == "a":
            raise OSError(21, "Is a directory", "svid.pem")
        return 60.0

    for _ in range(3):
        try:
            turns.take(ACCOUNTS, do, 5.0, never)
        except OSError as error:
            assert error.filename == "/run/identity/default/a"
    assert done == ["a", "b", "c"]


def test_the_first_error_is_told_when_all_others_had_their_turn():
    turns, done = Turns(Path("/run/identity")), []

    def do(account):
        done.append(account.name)
        raise IdentityError(f"{account.name} is wrong")

    with pytest.raises(IdentityError, match="^/run/identity/default/a: a is wrong$"):
        turns.take(ACCOUNTS, do, 5.0, always)
    assert done == ["a", "b", "c"]


def test_without_accounts_nothing_is_ever_due():
    assert Turns(Path("/run/identity")).take((), pytest.fail, 5.0, always) == float("inf")
