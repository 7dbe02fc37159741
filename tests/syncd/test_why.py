"""Policy is asked about recorded calls, and what came of it is told in a sentence."""

from __future__ import annotations

import gc

import pytest

from meshware.clock import SystemClock
from meshware.policy.file import encode
from meshware.policy.load import load_text
from meshware.policy.places import Places
from meshware.policy.records import build_records
from meshware.runtime.files import replace_file
from meshware.syncd.rings import SeenCall
from meshware.syncd.why import Why
from meshware.telemetry.call_record import CallRecord

POLICY = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app, labels: {app: app}}
spec: {address: 127.0.0.1, labels: {app: app}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders}
spec:
  hosts: [orders]
  resolution: STATIC
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: doors}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/closed]}}]
  - from: [{source: {principals: [cluster.local/ns/jobs/sa/nightly]}}]
"""


def write_policy_file(place, text: str, generation: int):
    """Publish, as the daemon does."""
    loaded = load_text(text)
    loaded.raise_for_errors()
    path = place / "policy.mesh"
    records = build_records(loaded.resources)
    data = encode(records, generation=generation, trust_domain="cluster.local")
    replace_file(path, data, mode=0o644)
    return path


@pytest.fixture
def why(tmp_path):
    """Asks a published policy of generation 5."""
    path = write_policy_file(tmp_path, POLICY, generation=5)
    made = Why(path, Places, SystemClock().now)
    yield made
    made._kept.clear()
    gc.collect()  # it holds policy files open, which other tests count


def seen(workload: str = "app", **said) -> SeenCall:
    """A call that `doors` refused, unless said otherwise."""
    record = {
        "direction": "inbound", "outcome": "refused", "method": "GET", "host": "app",
        "path": "/closed", "status": 403, "reason": "no", "duration_s": 0.001, "generation": 5,
        "policy": "default/doors", "rule": 0,
    } | said  # fmt: skip
    return SeenCall(1, "default", workload, "0" * 16, CallRecord(number=1, at=1.0, **record))


OUT = {"direction": "outbound", "policy": None, "rule": None, "path": "/"}


@pytest.mark.parametrize(
    ("said", "agrees", "sentence"),
    [
        ({}, True, "refuses such a call in the same way: 403 by default/doors"),
        ({"path": "/open"}, False, "would let such a call in"),
        ({"path": "/open", "status": 401, "policy": None, "rule": None}, False,
         "would without its token, which is not kept, let such a call in"),
        ({"rule": 1}, False, "refuses such a call in another way: 403 by default/doors"),
        ({"principal": "cluster.local/ns/jobs/sa/nightly", "path": "/open", "rule": 1}, True,
         "in the same way"),
        ({"outcome": "failed", "status": 500, "path": "/open"}, True, "it was the app that failed"),
        ({"outcome": "failed", "status": 500}, False, "would not let such a call in: 403"),
        (OUT | {"host": "orders", "outcome": "failed", "status": 503}, True,
         "it was the destination that failed"),
        (OUT | {"host": "orders", "status": 503, "flags": "UH"}, False,
         "What endpoints were out"),
    ],
    ids=str,
)  # fmt: skip
def test_what_policy_says_now_is_compared_with_what_was_decided(why, said, agrees, sentence):
    told = why.of(seen(**said))
    assert told["agrees"] is agrees
    assert sentence in told["notes"][1]
    assert told["text"]
    assert "not kept" in told["notes"][2]


@pytest.mark.parametrize(
    ("then", "is_same", "sentence"),
    [(5, True, "still in force"), (3, False, "Policy has changed since"), (0, False, "no policy")],
)
def test_that_policy_has_changed_since_is_said_first(why, then, is_same, sentence):
    told = why.of(seen(generation=then))
    assert (told["is_same_policy"], told["generation_now"]) == (is_same, 5)
    assert sentence in told["notes"][0]


@pytest.mark.parametrize(
    "said",
    [
        {"principal": "no principal at all"}, {"source_ip": "nowhere"}, {"path": ""},
        {"path": "\\x00%zz"}, {"host": ""}, {"host": "a:99999999", **OUT}, {"host": "", **OUT},
        {"method": ""}, {"scheme": "gopher"}, {"port": 0}, {"host": "[::", **OUT},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_a_worker_claims_it_is_answered(why, said):
    """With an answer, or with why there is none."""
    told = why.of(seen(**said))
    assert told["notes"]
    assert all(text.isprintable() for text in (*told["notes"], *told["text"]))


def test_a_workload_that_policy_does_not_name_is_said(why):
    told = why.of(seen("stranger"))
    assert any("names no workload default/stranger" in note for note in told["notes"])
    assert why.of(seen("-", **OUT, host="orders"))["text"]


def test_without_a_policy_file_that_is_what_is_said(tmp_path):
    told = Why(tmp_path / "policy.mesh", Places, SystemClock().now).of(seen())
    assert told["answer"] is None
    assert "cannot be asked" in told["notes"][0]


def test_policy_is_compiled_once_for_each_workload_and_generation(tmp_path, why):
    for _ in range(3):
        why.of(seen())
    assert list(why._kept) == [("default", "app")]
    first = why._kept["default", "app"]
    write_policy_file(tmp_path, POLICY.replace("/closed", "/other"), generation=6)
    assert why.of(seen("-"))["generation_now"] == 6
    assert list(why._kept) == [("default", "-")], "what was compiled of earlier policy is let go"
    assert why.of(seen())["agrees"] is False
    assert why._kept["default", "app"] is not first
    for number in range(20):
        why.of(seen(f"stranger-{number}"))
    assert len(why._kept) <= 8


def test_another_policy_of_the_same_generation_is_asked(tmp_path, why):
    """As after the run directory and the daemon's state were lost together."""
    assert why.of(seen())["agrees"] is True
    write_policy_file(tmp_path, POLICY.replace("/closed", "/other"), generation=5)
    assert why.of(seen())["agrees"] is False
    assert len(why._kept) == 1
