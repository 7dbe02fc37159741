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


def test_what_is_remembered_ends_with_its_path_and_with_the_bundles():
    case = chains.case("good-intermediate")
    bundles = chains.ours()
    for _ in range(2):
        verify_chain(case.shown, bundles, chains.NOW, "client")
    assert len(bundles.known) == 1
    for at in (chains.NOW + 2 * chains.HOUR, chains.NOW - 2 * chains.HOUR):
        with pytest.raises(PeerIdentityError):
            verify_chain(case.shown, bundles, at, "client")
    for others in (chains.believing(chains.authority()), chains.ours(denied=[chains.root()])):
        with pytest.raises(PeerIdentityError):
            verify_chain(case.shown, others, chains.NOW, "client")
    purposes = chains.case("leaf-server-only")
    verify_chain(purposes.shown, bundles, chains.NOW, "server")
    with pytest.raises(PeerIdentityError):
        verify_chain(purposes.shown, bundles, chains.NOW, "client")


def test_what_is_remembered_has_a_bound_and_nothing_refused_is():
    bundles = chains.ours()
    with pytest.raises(PeerIdentityError):
        verify_chain(chains.case("foreign-root").shown, bundles, chains.NOW, "client")
    assert not bundles.known
    bundles.known.update({str(n).encode(): None for n in range(1024)})
    verify_chain(chains.case("good-leaf").shown, bundles, chains.NOW, "client")
    assert len(bundles.known) == 1


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
