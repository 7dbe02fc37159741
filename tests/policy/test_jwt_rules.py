"""RequestAuthentications compiled, and the keys that were found at an address."""

from __future__ import annotations

import msgspec
import pytest
from inbound_world import request, status_of, workload
from user_world import NOW, OTHER, authentication, bearer, jwk, jwks, rule, token

from meshware.clock import unix_time
from meshware.errors import PolicyError
from meshware.inbound.gate import Gate
from meshware.policy.document.request_authentication import RequestAuthenticationSpec
from meshware.policy.file import MemoryRecords
from meshware.policy.jwks_records import jwks_key
from meshware.policy.jwt_rules import NamedAuthentication, compile_user_rules
from meshware.policy.load import load_mapping
from meshware.policy.record_types import JwksRecord
from meshware.policy.records import build_records
from meshware.policy.snapshot import SnapshotCell, build_snapshot
from meshware.policy.view import Client
from meshware.runtime.mesh import Mesh
from meshware.testing import FakeClock

URI = "https://issuer.example/keys"


def named(*rules, name="it", **spec) -> NamedAuthentication:
    """A policy as it is decoded from its record."""
    written = {"jwtRules": list(rules), **spec}
    return NamedAuthentication(
        namespace="default", name=name, spec=msgspec.convert(written, RequestAuthenticationSpec)
    )


def compiled(*policies, keys=None):
    found = compile_user_rules(policies, (keys or {}).get)
    assert found is not None
    return found


def test_nothing_said_is_nothing_compiled():
    """A workload without rules pays nothing for them."""
    assert compile_user_rules([], lambda _: None) is None
    assert compile_user_rules([named()], lambda _: None) is None


def test_rules_are_sorted_by_issuer_and_keep_their_order_within_one():
    """As Istio does, so that it does not matter in which file they stand."""
    found = compiled(
        named(rule(issuer="b", audiences=["1"]), rule(issuer="b", audiences=["2"]), name="x"),
        named(rule(issuer="a"), name="y"),
    )
    assert [(one.issuer, one.policy) for one in found.rules] == [
        ("a", "default/y"),
        ("b", "default/x"),
        ("b", "default/x"),
    ]
    assert [one.audiences for one in found.rules] == [None, {"1"}, {"2"}]


def test_places_are_envoys_and_know_their_rules():
    """Headers, parameters, cookies, each sorted; the defaults only where a rule names none."""
    found = compiled(
        named(
            rule(issuer="a"),
            rule(issuer="b", fromCookies=["z", "y"], fromHeaders=[{"name": "X-B"}]),
            rule(issuer="c", fromHeaders=[{"name": "authorization", "prefix": "Bearer "}]),
        )
    )
    assert [(one.kind, one.name, one.prefix, one.rules) for one in found.places] == [
        ("header", "authorization", "Bearer ", (0, 2)),
        ("header", "x-b", "", (1,)),
        ("param", "access_token", "", (0,)),
        ("cookie", "y", "", (1,)),
        ("cookie", "z", "", (1,)),
    ]
    assert found.reads_headers == {"authorization", "x-b", "cookie"}


DIFFERENT = [
    rule(),
    rule(issuer=OTHER),
    rule(audiences=["a"]),
    rule(jwks=jwks("other")),
    rule(jwks=jwks(jwk("ec", kid="other"))),
    rule(jwks=jwks("ec", "other")),
    rule(jwks=None, jwksUri=URI),
    rule(outputPayloadToHeader="x"),
    rule(outputClaimToHeaders=[{"header": "x", "claim": "a"}]),
    rule(spaceDelimitedClaims=["x"]),
]


def test_a_digest_covers_all_that_a_rule_makes_of_a_token():
    """What is remembered under it must end when any of that changes."""
    digests = {compiled(named(one)).places[0].digest for one in DIFFERENT}
    assert len(digests) == len(DIFFERENT)
    same = compiled(named(rule()), keys={})
    assert same.places[0].digest == compiled(named(rule(), name="renamed")).places[0].digest


@pytest.mark.parametrize(
    "one",
    [
        named(rule(jwks="hello")),
        named(rule(jwks=jwks({"kty": "oct", "k": "AA"}))),
        named(rule(jwks="")),
        named(rule(issuer="", jwks=None)),
        named(rule(), targetRefs=[{"kind": "Gateway", "name": "g"}]),
    ],
    ids=["no JSON", "a secret", "empty", "no keys and no issuer", "a target"],
)
def test_what_the_checks_should_have_refused_refuses_the_generation(one):
    """Left out, it would open a door or close one for good."""
    with pytest.raises(ValueError, match="RequestAuthentication default/it"):
        compiled(one)


def test_a_target_is_for_gateways():
    """Refused where it is written."""
    loaded = load_mapping({**authentication(rule()), "spec": {"targetRefs": [], "jwtRules": []}})
    with pytest.raises(PolicyError, match="gateways"):
        loaded.raise_for_errors()


# --- keys that were fetched -----------------------------------------------------------------------


class Follower:
    """A worker that follows policy whose keys come from an address."""

    def __init__(self, *rules) -> None:
        self.unknown: list[str] = []
        self.rules = rules
        self.cell = SnapshotCell()
        self.mesh = Mesh(client=Client(namespace="default", name="app"), cell=self.cell)
        clock = FakeClock()
        clock.advance(NOW - clock.now().timestamp())
        self.mesh.gate = Gate(
            lambda: self.cell.current,
            monotonic=clock.monotonic,
            new_request_id=lambda: "r",
            peers=self.mesh._peers,
            now=unix_time(clock),
            sink=lambda _: None,
            on_error=self._fail,
            on_unknown_key=self.unknown.append,
        )

    def _fail(self, error: Exception) -> None:
        raise error

    def follow(self, text: str | None) -> None:
        """Take up a generation in which the address has these keys."""
        resources = [
            one
            for mapping in (authentication(*self.rules), workload())
            for one in load_mapping(mapping).resources
        ]
        records = build_records(resources)
        records[jwks_key(URI)] = msgspec.json.encode(JwksRecord(uri=URI, keys=text))
        self.cell.current = build_snapshot(
            MemoryRecords(records),
            self.mesh.client,
            generation=1,
            on_refusal=lambda *_: None,
            previous=self.cell.current,
        )

    def status(self, text: str) -> int:
        return status_of(self.mesh, request(headers=[bearer(text)]))


def test_keys_come_and_go_with_their_record():
    """The policy itself does not change, and nobody starts anew."""
    worker = Follower(rule(jwks=None, jwksUri=URI))
    for text, status in ((None, 401), (jwks("ec"), 200), (jwks("other"), 401), (jwks("ec"), 200)):
        worker.follow(text)
        assert worker.status(token()) == status
    users = worker.cell.current.inbound.users
    worker.follow(jwks("ec"))
    assert worker.cell.current.inbound.users is users


@pytest.mark.parametrize(
    "text",
    [
        "<html>",
        "",
        '{"keys": []}',
        jwks("ec", {"kty": "oct", "k": "AA"}),
        jwks({**jwk("ec"), "d": "A"}),
    ],
    ids=["HTML", "empty", "no keys", "a symmetric key", "a private key"],
)
def test_what_somebody_else_serves_neither_stops_the_policy_nor_is_believed(text):
    """None of it: whoever can read a secret could sign with it."""
    worker = Follower(rule(jwks=None, jwksUri=URI))
    worker.follow(text)
    assert worker.status(token()) == 401


def test_an_unknown_key_is_noted_with_its_address():
    """Only for a token that nothing else speaks against; and it is refused at once."""
    worker = Follower(rule(jwks=None, jwksUri=URI, audiences=["us"]))
    worker.follow(jwks("ec"))
    new = {"alg": "ES256", "kid": "new"}
    for text in (
        token("other", header=new),
        token("other", header=new, aud="us", iss=OTHER),
        token("other", header=new, aud="us", exp=1),
        token("other", header={"alg": "ES256"}, aud="us"),
        token("other", header={"alg": "ES256", "kid": "ec"}, aud="us"),
    ):
        assert worker.status(text) in (401, 403)
    assert worker.unknown == []
    assert worker.status(token("other", header=new, aud="us")) == 401
    assert worker.unknown == [URI]


def test_an_unknown_key_of_policys_own_is_noted_nowhere():
    """There is nothing to fetch."""
    worker = Follower(rule())
    worker.follow(None)
    assert worker.status(token("other")) == 401
    assert worker.unknown == []
