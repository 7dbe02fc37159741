"""The addresses of keys that policy names, and the records that hold what was found there."""

from __future__ import annotations

import msgspec
import pytest
from policy_check import resource

from meshware.policy.jwks_records import (
    DISCOVERY,
    JwksSource,
    asked_sources,
    jwks_key,
    jwks_sources,
    key_fetching,
    known_keys,
    with_keys,
)
from meshware.policy.load import load_text
from meshware.policy.record_types import JwksRecord, KeyFetching
from meshware.policy.records import build_records

SECURITY, OURS = "security.istio.io/v1", "meshware.dev/v1alpha1"
URI = "https://id.example.com/keys"


def loaded(*rules, name="users"):
    """The resources of one RequestAuthentication."""
    text = resource("RequestAuthentication", {"jwtRules": list(rules)}, name, api=SECURITY)
    found = load_text(text)
    found.raise_for_errors()
    return found.resources


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"issuer": "a", "jwksUri": URI}, [JwksSource(URI)]),
        ({"issuer": "a", "jwks_uri": URI, "timeout": "9s"}, [JwksSource(URI, timeout_s=9.0)]),
        (
            {"issuer": "https://id.example.com/"},
            [
                JwksSource(
                    f"https://id.example.com{DISCOVERY}",
                    is_discovery=True,
                    issuer="https://id.example.com/",
                )
            ],
        ),
    ],
    ids=["jwksUri", "jwks_uri", "discovery"],
)
def test_a_rule_says_where_its_keys_are(rule, expected):
    """By address, or by its issuer's configuration; the records say the same as the resources."""
    resources = loaded(rule)
    assert list(jwks_sources(resources)) == expected
    assert list(asked_sources(build_records(resources))) == expected


def test_an_address_that_several_rules_name_is_one():
    """With the most patient of their time-outs."""
    rules = [
        {"issuer": "a", "jwksUri": URI, "timeout": "3s"},
        {"issuer": "b", "jwksUri": URI, "timeout": "7s"},
    ]
    assert asked_sources(build_records(loaded(*rules))) == (JwksSource(URI, timeout_s=7.0),)


def test_each_address_has_a_record_with_or_without_keys():
    """Under a key that any worker can work out; and what nobody names any more is gone."""
    other = "https://other.example.com/keys"
    records = build_records(
        loaded({"issuer": "a", "jwksUri": URI}, {"issuer": "b", "jwksUri": other})
    )
    filled = with_keys({**records, "jwks/stale": b"{}"}, {URI: '{"keys":[]}', "https://x": "y"})
    assert set(filled) == {*records, jwks_key(URI), jwks_key(other)}
    assert list(filled) == sorted(filled)
    found = msgspec.json.decode(filled[jwks_key(URI)], type=JwksRecord)
    assert found == JwksRecord(uri=URI, keys='{"keys":[]}')
    assert msgspec.json.decode(filled[jwks_key(other)], type=JwksRecord).keys is None
    assert known_keys(filled) == {URI: '{"keys":[]}'}
    assert with_keys(filled, known_keys(filled)) == filled


def test_the_mesh_says_from_where_keys_may_be_fetched():
    """Hosts as they are compared; nothing where nothing is said."""
    spec = {
        "jwks": {
            "allowedInternalHosts": ["Id.Internal.", "10.0.0.5"],
            "allowedHttpHosts": ["Plain"],
            "caFile": "/etc/ca.pem",
        }
    }
    found = load_text(resource("MeshConfig", spec, "mesh", "istio-system", OURS))
    found.raise_for_errors()
    assert key_fetching(build_records(found.resources)) == KeyFetching(
        internal_hosts=("10.0.0.5", "id.internal"), http_hosts=("plain",), ca_file="/etc/ca.pem"
    )
    assert key_fetching({}) == KeyFetching()
