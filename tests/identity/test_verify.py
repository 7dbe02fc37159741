from __future__ import annotations

import re

import hostile_chains as chains
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from meshware.errors import PeerIdentityError
from meshware.identity.verify import load_chain, verify_chain


@pytest.mark.parametrize("name", chains.names(good=False))
def test_a_hostile_chain_is_refused_for_its_reason(name):
    case = chains.case(name)
    for role in case.roles:
        with pytest.raises(PeerIdentityError) as refused:
            verify_chain(case.shown, case.bundles, chains.NOW, role)
        assert re.search(case.reason, str(refused.value)), refused.value


@pytest.mark.parametrize("name", chains.names(good=True))
def test_a_good_chain_is_who_it_says(name):
    case = chains.case(name)
    for role in case.roles:
        found = verify_chain(case.shown, case.bundles, chains.NOW, role)
        assert str(found.id) == chains.ID
        assert found.until == (chains.NOW + chains.HOUR).timestamp()


def test_there_are_many_of_both_kinds():
    assert len(chains.names(good=False)) >= 80
    assert len(chains.names(good=True)) >= 15


def _der(name):
    return [one.public_bytes(Encoding.DER) for one in chains.case(name).shown]


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_garbage_is_refused_and_never_more_than_that(garbage):
    with pytest.raises(PeerIdentityError):
        verify_chain(load_chain(garbage), chains.ours(), chains.NOW, "client")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutated_chain_is_refused_or_says_the_same(data):
    """Bytes changed, cut or put in anywhere: whatever is still taken names the same workload."""
    name = data.draw(st.sampled_from(["good-intermediate", "good-rsa", "good-spire-like"]))
    chain = [bytearray(der) for der in _der(name)]
    for _ in range(data.draw(st.integers(1, 3))):
        der = data.draw(st.sampled_from(chain))
        at = data.draw(st.integers(0, len(der) - 1))
        cut = data.draw(st.integers(0, 2))
        der[at : at + cut] = data.draw(st.binary(max_size=3))
    case = chains.case(name)
    try:
        found = verify_chain(
            load_chain([bytes(one) for one in chain]), case.bundles, chains.NOW, "client"
        )
    except PeerIdentityError:
        return
    assert str(found.id) == chains.ID
