"""A workload's token in its file: taken up when it changes, kept when what comes is no good."""

from __future__ import annotations

import json
import logging

import pytest
from descriptors import no_descriptors
from tokens import CALLER, NOW, TokenWorld

from meshware.ca.tokens import IssuedToken
from meshware.errors import IdentityError
from meshware.identity.issue import new_key
from meshware.runtime import followed_files
from meshware.runtime.identity_sources import IdentitySources
from meshware.runtime.token_files import TokenFile, WorkloadToken
from meshware.testing import TestMesh

WORLD = TokenWorld()


def written(now: float = NOW) -> str:
    return IssuedToken(WORLD.wit(now), WORLD.workload_key, now, now + 3600).json


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory, looked at each time that somebody asks."""
    monkeypatch.setattr(followed_files, "_LOOK_AGAIN_S", 0.0)
    return tmp_path


def put(place, text: str, mode: int = 0o600) -> None:
    path = place / "token.new"
    path.write_text(text)
    path.chmod(mode)
    path.replace(place / "token.json")


def test_a_token_is_taken_up_and_ends(place):
    """It may appear later, is followed, and is not used past its end."""
    file = TokenFile(place / "not yet")
    assert file.token(NOW) is None
    file = TokenFile(place)
    put(place, written())
    first = file.token(NOW)
    assert (first.id, first.until) == (CALLER, NOW + 3600)
    put(place, written(NOW + 1800))
    assert file.token(NOW).until == NOW + 5400
    assert file.token(NOW + 5400) is None


BROKEN = {
    "empty": "",
    "half of it": written()[:200],
    "a list": "[]",
    "without a key": json.dumps({"wit": WORLD.wit()}),
    "without a token": json.dumps({"key": "x"}),
    "no token": json.dumps({"wit": "x", "key": json.loads(written())["key"]}),
    "no key": json.dumps({"wit": WORLD.wit(), "key": "x"}),
    "another's key": json.dumps(
        {"wit": WORLD.wit(), "key": json.loads(IssuedToken("", new_key(), 0, 0).json)["key"]}
    ),
    "two tokens": written()[:-1] + ', "wit": "x"}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_used_changes_nothing(place, caplog, text):
    """It is told once, without a word of what is in it."""
    file = TokenFile(place)
    put(place, written())
    before = file.token(NOW)
    put(place, text)
    with caplog.at_level(logging.ERROR, "meshware.identity"):
        assert file.token(NOW) is before
        assert file.token(NOW) is before
    [record] = caplog.records
    assert "what was read before stays" in record.getMessage()
    assert "PRIVATE" not in record.getMessage()
    assert WORLD.wit() not in record.getMessage()


def test_one_that_could_not_be_opened_for_want_of_descriptors_is_read_later(place):
    """It has not changed since."""
    put(place, written())
    file = TokenFile(place)
    with no_descriptors():
        assert file.token(NOW) is None
    assert file.token(NOW).id == CALLER


def test_a_file_that_others_may_read_is_not_used(place, caplog):
    """Its key may be anybody's by now."""
    put(place, written(), mode=0o644)
    assert TokenFile(place).token(NOW) is None
    assert "others may read" in caplog.text


def test_a_pair_that_does_not_fit_is_refused():
    """A proof by another key would be refused by everybody."""
    with pytest.raises(IdentityError, match="another key"):
        WorkloadToken.from_json(BROKEN["another's key"].encode())


WORKLOAD = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: web, namespace: shop}
spec: {metadata: {labels: {app: web}}, template: {serviceAccount: web}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: other, namespace: shop}
spec: {metadata: {labels: {app: other}}, template: {}}
"""


@pytest.mark.parametrize(("workload", "is_found"), [("shop/web", True), ("shop/other", False)])
def test_a_process_takes_the_token_of_its_own_service_account(place, workload, is_found):
    """By policy's word, from its directory in the run directory."""
    own = place / "identity" / "shop" / "web"
    own.mkdir(parents=True)
    put(own, written())
    snapshot = TestMesh(WORKLOAD, workload).cell.current
    found = IdentitySources(place).token(snapshot, NOW)
    assert (found is not None) is is_found
