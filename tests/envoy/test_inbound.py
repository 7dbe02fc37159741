"""The inbound listener is as strict as policy, or it is not there."""

from __future__ import annotations

import json

import msgspec
import pytest
from policy_check import resource, workload

from meshware.envoy import Settings, export_files
from meshware.policy.file import MemoryRecords
from meshware.policy.jwks_records import jwks_key
from meshware.policy.load import load_text
from meshware.policy.record_types import (
    AuthorizationRecord,
    JwksRecord,
    MeshRecord,
    TokenModes,
    WorkloadRecord,
)
from meshware.policy.records import build_records
from meshware.policy.view import Client

SECURITY = "security.istio.io/v1"
APP = workload("app", labels={"app": "app"}) + resource(
    "PeerAuthentication", {"mtls": {"mode": "DISABLE"}}, namespace="istio-system", api=SECURITY
)
RULES = APP + resource("AuthorizationPolicy", {"rules": [{}]}, api=SECURITY)


def export(text=RULES, change=lambda records: None, name="app", identity=None):
    """The names of the listeners, and the warnings."""
    loaded = load_text(text)
    loaded.raise_for_errors()
    records = build_records(loaded.resources)
    change(records)
    settings = Settings(directory="/envoy", inbound=("127.0.0.1", 8443), identity=identity)
    client = Client(namespace="default", name=name)
    found = export_files(MemoryRecords(records), client, settings)
    listeners = json.loads(found.files["lds.json"])["resources"]
    return [each["name"] for each in listeners], " ".join(found.warnings)


def changed(kind, key, **fields):
    """Put other fields into a record."""

    def change(records):
        record = msgspec.json.decode(records[key], type=kind)
        records[key] = msgspec.json.encode(msgspec.structs.replace(record, **fields))

    return change


def rule(**spec):
    """Put another spec into the one policy, as a newer version might write it."""

    def change(records):
        key = "authz/default/it"
        record = msgspec.json.decode(records[key], type=AuthorizationRecord)
        written = msgspec.to_builtins(record.spec) | spec
        spec_type = type(record.spec)
        changed = msgspec.structs.replace(record, spec=msgspec.convert(written, spec_type))
        records[key] = msgspec.json.encode(changed)

    return change


def test_a_workload_with_rules_has_its_listener():
    """Without a warning."""
    assert export() == (["outbound", "inbound"], "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rule(action="CUSTOM", provider={"name": "opa"}), "external authorizers"),
        (rule(rules=[{"to": [{"operation": {"routes": ["/a/{b}"]}}]}]), "an app's routes"),
        (rule(rules=[{"to": [{"operation": {"notFunctions": ["f"]}}]}]), "an app's routes"),
        (rule(rules=[{"when": [{"key": "new.key", "values": ["a"]}]}]), "new.key"),
        (
            rule(rules=[{"when": [{"key": "request.auth.claims[a]b", "values": ["a"]}]}]),
            "request.auth.claims[a]b",
        ),
    ],
    ids=["CUSTOM", "routes", "notFunctions", "unknown key", "broken key"],
)
def test_a_rule_that_envoy_cannot_ask_leaves_the_listener_out(change, said):
    """And the warning names the policy: without the rule too much would be let in."""
    listeners, warnings = export(change=change)
    assert listeners == ["outbound"]
    assert said in warnings
    assert "AuthorizationPolicy default/it" in warnings
    assert "the inbound listener is left out" in warnings


def test_a_workload_that_policy_does_not_name_has_none():
    """Whose rules hold is not known, and our own middleware would answer 503."""
    listeners, warnings = export(name="other")
    assert listeners == ["outbound"]
    assert "who may call it is not known" in warnings


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(MeshRecord, "mesh", xfcc_trusted_proxies=("spiffe://a/b",)), "xfccTrustedProxies"),
        (
            changed(WorkloadRecord, "workload/default/app", tokens=TokenModes(mode="ACCEPT")),
            "no token identities",
        ),
        (
            changed(
                WorkloadRecord, "workload/default/app", tokens=TokenModes(ports={"1": "ACCEPT"})
            ),
            "no token identities",
        ),
    ],
    ids=["proxies", "tokens", "tokens at a port"],
)
def test_ways_to_prove_oneself_that_envoy_does_not_know_are_told(change, said):
    """The listener is there, and stricter or blunter than ours."""
    listeners, warnings = export(change=change)
    assert listeners == ["outbound", "inbound"]
    assert said in warnings


ISSUER = "https://a.example"
KEYS = '{"keys":[]}'


@pytest.mark.parametrize("fields", [{}, {"jwksUri": f"{ISSUER}/keys"}], ids=["issuer", "jwksUri"])
def test_keys_that_the_daemon_has_fetched_stand_in_the_configuration(fields):
    """And without them Envoy fetches those of an address itself, and of an issuer nobody does."""
    rule = {"issuer": ISSUER, **fields}
    text = RULES + resource("RequestAuthentication", {"jwtRules": [rule]}, api=SECURITY)
    uri = fields.get("jwksUri", f"{ISSUER}/.well-known/openid-configuration")

    def fetched(records):
        records[jwks_key(uri)] = msgspec.json.encode(JwksRecord(uri=uri, keys=KEYS))

    assert provider(text, fetched)["local_jwks"] == {"inline_string": KEYS}
    assert export(text, fetched) == (["outbound", "inbound"], "")
    cluster = provider(text)["remote_jwks"]["http_uri"]["cluster"]
    assert (cluster == "jwks-nowhere") is not bool(fields)
    assert ("every token of it is refused" in export(text)[1]) is not bool(fields)


def provider(text, change=lambda records: None):
    """The one provider of tokens in the inbound listener."""
    records = build_records(load_text(text).resources)
    change(records)
    settings = Settings(directory="/envoy", inbound=("127.0.0.1", 8443))
    client = Client(namespace="default", name="app")
    files = export_files(MemoryRecords(records), client, settings).files
    [listener] = [
        each for each in json.loads(files["lds.json"])["resources"] if each["name"] == "inbound"
    ]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    [found] = manager["http_filters"][0]["typed_config"]["providers"].values()
    return found
