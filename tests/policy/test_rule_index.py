"""What is found fast is what a plain reading finds, and finding it does not grow with the rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import naive_rules
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshware.identity.spiffe import SpiffeID
from meshware.inbound.authz import decide
from meshware.policy import rule_index
from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    Condition,
    From,
    Operation,
    Rule,
    Source,
    To,
)
from meshware.policy.inbound_facts import EndUser, Facts
from meshware.policy.inbound_rules import InboundRules, NamedPolicy, compile_inbound

DOMAINS = ("here.example", "cluster.local", "old.example")

# --- policies and calls, of few words, so that they meet ------------------------------------------


def values_of(values: Any, most: int = 2) -> Any:
    """A list of values."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=most).map(tuple)


def some(values: Any, most: int = 2) -> Any:
    """A list of values, or none."""
    return st.none() | values_of(values, most)


PRINCIPALS = ["here.example/ns/a/sa/x", "old.example/ns/b/sa/*", "*/sa/x", "cluster.local/ns/a*",
              "*", "far.example/ns/a/sa/x", "*/ns/a/sa/y"]  # fmt: skip
NAMESPACES = ["a", "b*", "*b", "a*b", "*", "*a*"]
ACCOUNTS = ["x", "a/x", "b/y"]
DOMAIN_VALUES = ["here.example", "old.example", "far.*", "*.example", "*"]
BLOCKS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "::/0", "192.0.2.7/24"]
USERS = ["i/s", "i/*", "*/s", "*", "*s", "i*", "i/k/s", "*k/s", "i/s*", "i", "*/*"]
WORDS = ["p", "p*", "*q", "*", "pq", "p,q", "q"]
PATHS = ["/a", "/a*", "*b", "*", "/a/{*}", "/{**}/b", "/{*}/b", "/a/{**}", "/ab*", "/a/b", "/%c3"]
HOSTS = ["a.com", "*.com", "a.*", "*", "b.com:81", "A.com"]
METHODS = ["GET", "PUT", "*", "P*"]
PORTS = ["80", "81"]

SOURCES = st.builds(
    Source,
    principals=some(PRINCIPALS),
    not_principals=some(PRINCIPALS),
    namespaces=some(NAMESPACES),
    not_namespaces=some(NAMESPACES),
    service_accounts=some(ACCOUNTS),
    not_service_accounts=some(ACCOUNTS),
    trust_domains=some(DOMAIN_VALUES),
    not_trust_domains=some(DOMAIN_VALUES),
    request_principals=some(USERS),
    not_request_principals=some(USERS),
    ip_blocks=some(BLOCKS),
    not_ip_blocks=some(BLOCKS),
    remote_ip_blocks=some(BLOCKS),
    not_remote_ip_blocks=some(BLOCKS),
)
OPERATIONS = st.builds(
    Operation,
    hosts=some(HOSTS),
    not_hosts=some(HOSTS),
    paths=some(PATHS, 3),
    not_paths=some(PATHS),
    methods=some(METHODS),
    not_methods=some(METHODS),
    ports=some(PORTS),
    not_ports=some(PORTS),
)
SOURCE_FIELDS = {
    "principals": PRINCIPALS,
    "namespaces": NAMESPACES,
    "service_accounts": ACCOUNTS,
    "trust_domains": DOMAIN_VALUES,
    "request_principals": USERS,
    "ip_blocks": BLOCKS,
    "remote_ip_blocks": BLOCKS,
}
OPERATION_FIELDS = {"paths": PATHS, "hosts": HOSTS, "methods": METHODS, "ports": PORTS}


def single(kind: Any, fields: dict[str, list[str]]) -> Any:
    """A source or operation of one field, so that more than a few rules hold."""
    names = st.sampled_from([*fields, *fields, *("not_" + name for name in fields)])
    return names.flatmap(
        lambda name: values_of(fields[name.removeprefix("not_")]).map(
            lambda values: kind(**{name: values})
        )
    )


SOME_SOURCE = single(Source, SOURCE_FIELDS)
SOME_OPERATION = single(Operation, OPERATION_FIELDS)
KEYS: dict[str, list[str]] = {
    "source.principal": PRINCIPALS,
    "source.namespace": NAMESPACES,
    "source.serviceAccount": ACCOUNTS,
    "source.trustDomain": DOMAIN_VALUES,
    "source.ip": BLOCKS,
    "remote.ip": BLOCKS,
    "destination.ip": BLOCKS,
    "destination.port": PORTS,
    "connection.sni": ["a.com", "*.com", "*"],
    "request.headers[x-a]": WORDS,
    "request.headers[X-B]": WORDS,
    "request.headers[user-agent]": WORDS,
    "request.auth.principal": USERS,
    "request.auth.audiences": WORDS,
    "request.auth.presenter": WORDS,
    "request.auth.claims[g]": WORDS,
    "request.auth.claims[n][m]": WORDS,
    "request.auth.claims[n][o][g]": WORDS,
    "request.auth.claims[n.m]": WORDS,
}
CONDITIONS = st.sampled_from(sorted(KEYS)).flatmap(
    lambda key: (
        st.builds(Condition, key=st.just(key), values=values_of(KEYS[key]))
        | st.builds(Condition, key=st.just(key), not_values=values_of(KEYS[key]))
        | st.builds(
            Condition,
            key=st.just(key),
            values=values_of(KEYS[key]),
            not_values=values_of(KEYS[key]),
        )
    )
)


def lists(one: Any, most: int = 2) -> Any:
    """A list of some, or none."""
    return st.none() | st.lists(one, min_size=1, max_size=most).map(tuple)


RULES = st.builds(
    Rule,
    from_=lists(st.builds(From, source=SOME_SOURCE | SOME_SOURCE | SOURCES)),
    to=lists(st.builds(To, operation=SOME_OPERATION | SOME_OPERATION | OPERATIONS), 3),
    when=st.none() | lists(CONDITIONS),
)
POLICIES = st.lists(
    st.builds(
        NamedPolicy,
        namespace=st.sampled_from(["a", "b"]),
        name=st.sampled_from(["p", "q", "r"]),
        spec=st.builds(
            AuthorizationPolicySpec,
            action=st.sampled_from(["ALLOW", "DENY", None]),
            rules=st.lists(RULES, min_size=1, max_size=6).map(tuple),
        ),
    ),
    max_size=4,
)

LINES = st.lists(st.sampled_from(["p", "q", "pq", "p,q", " q", "", "x"]), max_size=2)
CLAIM = st.sampled_from(["p", "pq", "", 7, True, None, ["q", 1], ["x"], [], {"m": "p"}])


def called(headers: dict[str, list[str]], is_named: bool, **given: Any) -> Facts:
    """A call."""
    headers = {name: lines for name, lines in headers.items() if lines}
    return Facts(
        headers=lambda name: headers.get(name, ()),
        names=tuple(headers) if is_named else None,
        **given,
    )


def token(issuer: str, subject: str, claims: dict[str, Any], **given: Any) -> EndUser:
    """An end user."""
    claims = {"iss": issuer, "sub": subject, **claims}
    return EndUser(principal=f"{issuer}/{subject}", claims=claims, **given)


ADDRESSES = st.sampled_from(["10.1.2.3", "10.9.9.9", "::ffff:10.1.2.3", "2001:db8::1", None, "x"])
CALLS = st.builds(
    called,
    headers=st.fixed_dictionaries({"x-a": LINES, "x-b": LINES, "user-agent": LINES}),
    is_named=st.booleans(),
    method=st.sampled_from(["GET", "PUT"]),
    authority=st.sampled_from(["a.com", "A.com:80", "b.com:81", "b.com.", ""]),
    port=st.sampled_from([80, 81, None]),
    source_ip=ADDRESSES,
    remote_ip=ADDRESSES,
    destination_ip=ADDRESSES,
    sni=st.sampled_from(["a.com", "b.org", "", None]),
    peer=st.none()
    | st.sampled_from(
        ["here.example/ns/a/sa/x", "old.example/ns/b/sa/y", "far.example/ns/ab/sa/x",
         "far.example/x"]
    ).map(lambda text: SpiffeID.parse(f"spiffe://{text}")),
    user=st.none()
    | st.just(EndUser())
    | st.builds(
        token,
        issuer=st.sampled_from(["i", "i/k", "k"]),
        subject=st.sampled_from(["s", "k/s", "ss", "*"]),
        claims=st.fixed_dictionaries(
            {"g": CLAIM, "n": CLAIM | st.fixed_dictionaries({"m": CLAIM, "o": st.just({"g": "q"})}),
             "n.m": CLAIM}
        ),
        audiences=st.lists(st.sampled_from(["p", "q"]), max_size=2).map(tuple),
        presenter=st.sampled_from([None, "p", "q"]),
    ),
)  # fmt: skip
CALLED_PATHS = st.lists(
    st.sampled_from(["/", "/a", "/ab", "/a/b", "/a/b/b", "//b", "", "/%C3", "/a/"]),
    min_size=1,
    max_size=2,
).map(tuple)


@contextmanager
def made_for(few: int) -> Iterator[None]:
    """Indexes are made of so few entries, as of many."""
    before = rule_index._FEW, rule_index._MANY_NAMES
    rule_index._FEW, rule_index._MANY_NAMES = few, min(few, before[1])
    try:
        yield
    finally:
        rule_index._FEW, rule_index._MANY_NAMES = before


# --- agreement ------------------------------------------------------------------------------------


@settings(max_examples=40)
@pytest.mark.parametrize("few", [0, 8])
@given(POLICIES, CALLS, CALLED_PATHS, CALLED_PATHS | st.just(()))
def test_the_index_decides_as_a_plain_reading_does(few, policies, facts, paths, partial):
    """The same answer, by the same rule: the first, in the order of the policies."""
    with made_for(few):
        rules = compile_inbound(policies, DOMAINS)
    verdict = decide(rules, facts, paths, partial)
    assert (verdict.is_allowed, verdict.policy, verdict.rule) == naive_rules.decide(
        policies, facts, paths, partial, DOMAINS
    )


def drawn_rule(rng: Random) -> Rule:
    """A rule by chance, of few fields and values."""

    def some_of(values: list[str]) -> tuple[str, ...]:
        return tuple(rng.choices(values, k=rng.choice([1, 1, 1, 2])))

    def drawn(kind: Any, fields: dict[str, list[str]]) -> Any:
        names = rng.sample(sorted(fields), rng.choice([1, 1, 2, 3]))
        return kind(**{rng.choice([name, name, "not_" + name]): some_of(fields[name])
                       for name in names})  # fmt: skip

    sources = tuple(From(source=drawn(Source, SOURCE_FIELDS)) for _ in range(rng.choice([0, 1, 2])))
    asked = tuple(
        To(operation=drawn(Operation, OPERATION_FIELDS)) for _ in range(rng.choice([0, 1, 1, 3]))
    )
    key = rng.choice(sorted(KEYS))
    one = Condition(key=key, values=some_of(KEYS[key]))
    return Rule(
        from_=sources or None, to=asked or None, when=rng.choice([None, None, (one,), (one, one)])
    )


@settings(max_examples=60)
@pytest.mark.parametrize("few", [0, 8])
@given(st.integers(0, 2**32), CALLS, CALLED_PATHS)
def test_many_rules_of_one_policy_decide_as_a_plain_reading_does(few, seed, facts, paths):
    """Where places are shared, and indexes lie below others."""
    rng = Random(seed)
    rules = tuple(drawn_rule(rng) for _ in range(rng.choice([20, 40, 80])))
    for action in ("ALLOW", "DENY"):
        spec = AuthorizationPolicySpec(action=action, rules=rules)
        policies = [NamedPolicy(namespace="a", name="p", spec=spec)]
        with made_for(few):
            compiled = compile_inbound(policies, DOMAINS)
        verdict = decide(compiled, facts, paths)
        assert (verdict.is_allowed, verdict.policy, verdict.rule) == naive_rules.decide(
            policies, facts, paths, (), DOMAINS
        ), action


@settings(max_examples=30)
@given(POLICIES, CALLS, CALLED_PATHS)
def test_every_rule_that_audits_is_found(policies, facts, paths):
    """None is left out for asking the same as another."""
    audits = [
        NamedPolicy(
            namespace=each.namespace,
            name=f"{each.name}{number}",
            spec=AuthorizationPolicySpec(action="AUDIT", rules=each.spec.rules),
        )
        for number, each in enumerate(policies)
    ]
    with made_for(0):
        found = [one.policy for one in compile_inbound(audits).audit.every(facts, paths[0])]
    expected = [f"{one.namespace}/{one.name}" for one in audits
                if naive_rules.first([one], "AUDIT", facts, paths[0])]  # fmt: skip
    assert sorted(set(found)) == sorted(expected)


# --- cost -----------------------------------------------------------------------------------------

MANY = 3_000
TRUSTED = "cluster.local/ns/n/sa/"


def operation(**fields: Any) -> dict[str, Any]:
    """`to` of a rule."""
    return {"to": (To(operation=Operation(**fields)),)}


def source(**fields: Any) -> dict[str, Any]:
    """`from` of a rule."""
    return {"from_": (From(source=Source(**fields)),)}


def condition(key: str, value: str) -> dict[str, Any]:
    """`when` of a rule."""
    return {"when": (Condition(key=key, values=(value,)),)}


SHAPES = {
    "exact paths": lambda i: Rule(**operation(paths=(f"/p/{i}",))),
    "prefixes": lambda i: Rule(**operation(paths=(f"/p/{i}/*",), methods=("GET",))),
    "prefixes of every length": lambda i: Rule(**operation(paths=(f"/{'a' * i}*",))),
    "prefixes of every length, longest first":
        lambda i: Rule(**operation(paths=(f"/{'a' * (MANY - i)}*",), methods=("PUT",))),
    "suffixes": lambda i: Rule(**operation(paths=(f"*/{i}.png",))),
    "templates": lambda i: Rule(**operation(paths=(f"/a/{{*}}/x{i}/{{*}}",))),
    "templates with an open end": lambda i: Rule(**operation(paths=(f"/{{*}}/x{i}/{{**}}",))),
    "templates by how they end": lambda i: Rule(**operation(paths=(f"/a/{{**}}/x{i}",))),
    "hosts": lambda i: Rule(**operation(hosts=(f"h{i}.com",))),
    "methods": lambda i: Rule(**operation(methods=(f"M{i}",))),
    "principals": lambda i: Rule(**source(principals=(f"{TRUSTED}{i}",))),
    "namespaces": lambda i: Rule(**source(namespaces=(f"n{i}",))),
    "service accounts": lambda i: Rule(**source(service_accounts=(f"n{i}/x",))),
    "request principals": lambda i: Rule(**source(request_principals=(f"https://i/{i}",))),
    "blocks": lambda i: Rule(**source(ip_blocks=(f"10.{i >> 8}.{i & 255}.0/24",))),
    "claims": lambda i: Rule(**condition("request.auth.claims[g]", f"g{i}")),
    "claims of other names": lambda i: Rule(**condition(f"request.auth.claims[n][g{i}]", "p")),
    "headers": lambda i: Rule(**condition("request.headers[x-a]", f"g{i}")),
    "headers of other names": lambda i: Rule(**condition(f"request.headers[x-{i}]", "p")),
    "one path, many principals":
        lambda i: Rule(**operation(paths=("/p",)), **source(principals=(f"{TRUSTED}{i}",))),
    "one principal, many prefixes":
        lambda i: Rule(**operation(paths=(f"/p/{i}*",)), **source(principals=(f"{TRUSTED}0",))),
    "a hundred paths by a hundred principals":
        lambda i: Rule(**operation(paths=(f"/p/{i // 100}*",)),
                       **source(principals=(f"{TRUSTED}{i % 100}",))),
    "one path, many claims":
        lambda i: Rule(**operation(paths=("/p",)), **condition("request.auth.claims[g]", f"g{i}")),
    "principals or namespaces":
        lambda i: Rule(from_=(From(source=Source(principals=(f"{TRUSTED}{i}",))),
                              From(source=Source(namespaces=(f"n{i}",))))),
}  # fmt: skip


@pytest.fixture(scope="module")
def a_call() -> Facts:
    """Nothing that any of the many rules names, but one or two of them."""
    return called(
        {"x-a": ["g7"], "x-77": ["q"], "host": ["h7.com"]},
        True,
        method="GET",
        authority="h7.com",
        port=80,
        source_ip="10.0.7.1",
        destination_ip="10.0.0.1",
        peer=SpiffeID.parse(f"spiffe://{TRUSTED}0"),
        user=token("https://i", "7", {"g": ["x", "g7"], "n": {"g7": "q"}}),
    )


@pytest.mark.parametrize("shape", list(SHAPES.values()), ids=list(SHAPES))
def test_of_thousands_of_rules_only_a_few_are_asked(shape, a_call):
    """Whatever it is that they differ in."""
    rules = tuple(shape(number) for number in range(MANY))
    spec = AuthorizationPolicySpec(action="DENY", rules=rules)
    found = compile_inbound([NamedPolicy(namespace="n", name="p", spec=spec)]).deny
    for path in ("/p/7/x", "/p", "/a/b/x7/c", "/a/b/x7", "/x/7.png", "/b/x7/c", f"/{'a' * 4_000}"):
        assert len(found.index.find(a_call, path)) <= 8, path


def test_a_rule_that_asks_the_same_as_another_is_not_asked_again():
    """It could never decide."""
    twice = tuple(Rule(**operation(paths=("/a",))) for _ in range(2))
    rules = compile_inbound(
        [NamedPolicy(namespace="n", name=name, spec=AuthorizationPolicySpec(rules=twice))
         for name in ("p", "q")]
    )  # fmt: skip
    assert rules.allow is not None
    assert [(one.policy, one.rule) for one in rules.allow.entries] == [("n/p", 0)]


def test_indexes_below_others_do_not_multiply():
    """A hundred rules, each of the same two hundred paths and two hundred principals."""
    paths = tuple(f"/p{number}" for number in range(200))
    names = tuple(f"{TRUSTED}{number}" for number in range(200))
    rules = tuple(
        Rule(**operation(paths=(*paths, f"/q{number}")), **source(principals=names))
        for number in range(100)
    )
    rules_of = compile_inbound(
        [NamedPolicy(namespace="n", name="p", spec=AuthorizationPolicySpec(rules=rules))]
    )
    assert isinstance(rules_of, InboundRules)
    assert nodes_of(rules_of.allow.index._root) < 50


def nodes_of(node: Any) -> int:
    """Nodes at and below one."""
    return 1 + sum(nodes_of(one) for one in node.below)
