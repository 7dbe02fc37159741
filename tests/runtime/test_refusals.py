"""The log of refusals: what it says of one, and that no flood and no caller writes it."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest
from inbound_world import policy, request, to
from user_world import NOW, authentication, rule, token

from meshware.events import InboundEvent
from meshware.inbound.passage import Denial
from meshware.runtime.refusals import MOST_A_SECOND, RefusalLog, decision_of
from meshware.testing import FakeClock, TestMesh

RULES = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: doors, namespace: default}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/x"]}}]
  - to: [{operation: {paths: ["/admin/*"]}}]
"""
LOGGER = "meshware.refused"


def refused(rules, head) -> InboundEvent:
    """The event of a call that the gate refuses."""
    mesh = TestMesh(rules)
    passage = mesh.gate.admit(head)
    assert isinstance(passage, Denial), passage
    passage.finish(passage.status)
    [event] = mesh.events
    return event


def test_a_refusal_is_told_with_the_rule_that_decided_and_where_it_is_written(tmp_path, caplog):
    """Whoever is asked "why" finds the line to change."""
    path = tmp_path / "doors.yaml"
    path.write_text(RULES, encoding="utf-8")
    mesh = TestMesh(path)
    web = mesh.issue("spiffe://cluster.local/ns/shop/sa/web")
    passage = mesh.gate.admit(request("/admin/%2e/users?q=1", method="PUT", shows=web))
    passage.finish(passage.status)
    with caplog.at_level(logging.WARNING, LOGGER):
        RefusalLog(FakeClock().monotonic)(mesh.events[0])
    [record] = caplog.records
    assert record.message == (
        "403 PUT app/admin/%2e/users "
        "reason=rbac_access_denied_matched_policy[ns[default]-policy[doors]-rule[1]] "
        f"policy=default/doors rule=1 place={path}:9 "
        "principal=cluster.local/ns/shop/sa/web source_ip=192.0.2.1 "
        "candidates=[/admin/users,/admin/./users] "
        f"generation=1 request_id={passage.request_id}"
    )
    assert record.meshware["place"] == f"{path}:9"


def test_what_a_caller_wrote_makes_no_line_of_its_own(caplog):
    """A log is read by machines, too."""
    event = refused([policy("DENY", {})], request("/a b", method="G\nET", paths=("/a b",)))
    with caplog.at_level(logging.WARNING, LOGGER):
        RefusalLog(FakeClock().monotonic)(event)
    [record] = caplog.records
    assert "\n" not in record.message
    assert record.message.startswith("400 'G\\nET' 'app/a b' reason=")


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("user:hunter2@shop", "/a"),
        ("app", "/a;access_token=eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"),
        ("app", "/eyJhbGciOiJFUzI1NiJ9.hunter2"),
    ],
)
def test_what_may_be_a_secret_is_not_told(host, path, caplog):
    """A password in a host, a token in a path."""
    event = refused([policy("DENY", {})], request(path, host=host))
    with caplog.at_level(logging.WARNING, LOGGER):
        RefusalLog(FakeClock().monotonic)(event)
    [record] = caplog.records
    told = f"{record.message} {record.meshware}"
    assert "hunter2" not in told and "c2lnbmF0dXJl" not in told and "eyJ" not in told


def test_a_flood_is_counted(caplog):
    """Callers pay nothing for a refused call; a log has an end."""
    clock = FakeClock()
    log = RefusalLog(clock.monotonic)
    event = refused([policy("DENY", to(paths=["/a"]))], request("/a"))
    with caplog.at_level(logging.WARNING, LOGGER):
        for _ in range(1000):
            log(event)
        assert len(caplog.records) == MOST_A_SECOND
        clock.advance(1.0)
        log(event)
    assert len(caplog.records) == MOST_A_SECOND + 2
    assert caplog.records[-2].message == (
        f"{1000 - MOST_A_SECOND} more calls were refused and not told one by one"
    )


@pytest.mark.parametrize("status", [200, 403])
def test_what_the_app_answers_is_not_told(status, caplog):
    """Its 403 is its own."""
    mesh = TestMesh([policy("ALLOW", {})])
    mesh.gate.admit(request()).finish(status)
    with caplog.at_level(logging.DEBUG, LOGGER):
        RefusalLog(FakeClock().monotonic)(mesh.events[0])
    assert not caplog.records


def test_a_comment_above_a_rule_changes_no_rules(tmp_path):
    """Where it is written stands apart from what it says, so nothing is compiled anew."""
    path = tmp_path / "doors.yaml"
    path.write_text(RULES, encoding="utf-8")
    mesh = TestMesh(path)
    before = mesh.cell.current.inbound.rules
    path.write_text("# a comment\n" + RULES, encoding="utf-8")
    mesh.apply(path)
    assert mesh.cell.current.inbound.rules is before
    assert mesh.cell.current.look_ups.place_of("authz/default/doors", 1) == f"{path}:10"


def on_trial(action: str, *rules, name: str = "trial"):
    """A policy that is not enforced."""
    made = policy(action, *rules, name=name)
    made["metadata"]["annotations"] = {"istio.io/dry-run": "true"}
    return made


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ([on_trial("DENY", {})], "shadow=deny shadow_policy=default/trial"),
        ([policy("ALLOW"), on_trial("ALLOW", {})], "shadow=allow shadow_policy=default/trial"),
        ([policy("AUDIT", {})], "audited=[default/audit]"),
        ([on_trial("DENY", to(paths=["/other"]))], None),
        ([policy("DENY", {}), on_trial("DENY", {})], None),
    ],
    ids=["would refuse", "would let in", "audited", "would do the same", "would refuse, too"],
)
def test_marks_are_told_to_a_logger_of_their_own(policies, words, caplog):
    """Where they say something that the answer does not."""
    mesh = TestMesh(policies)
    passage = mesh.gate.admit(request("/a"))
    passage.finish(getattr(passage, "status", 200))
    with caplog.at_level(logging.INFO, "meshware.marked"):
        RefusalLog(FakeClock().monotonic)(mesh.events[0])
    told = [record for record in caplog.records if record.name == "meshware.marked"]
    assert [words in record.message for record in told] == ([] if words is None else [True])


@pytest.mark.parametrize(
    ("changed", "reason", "detail"),
    [
        ({"exp": None}, "Jwt_verification_fails", "it has no exp"),
        ({"iss": "x"}, "Jwt_issuer_is_not_configured", None),
        (
            {"header": {"alg": "ES256", "kid": "ec", "jku": "https://x"}},
            "Jwt_verification_fails",
            "jku",
        ),
        ({"padding": "x" * 20_000}, "Jwt_is_not_in_the_form", "longer than 16384 bytes"),
    ],
    ids=["no end", "another issuer", "a key of its own", "too long"],
)
def test_a_refused_token_names_the_rule_and_what_is_wrong(tmp_path, changed, reason, detail):
    """Envoy's words are the same for many mistakes; whoever looks for one needs more."""
    path = tmp_path / "users.yaml"
    path.write_text("# whose tokens are good\n" + json.dumps(authentication(rule())), "utf-8")
    made = token(**changed)
    mesh = TestMesh(path, clock=FakeClock(datetime.fromtimestamp(NOW, UTC)))
    passage = mesh.gate.admit(request("/", headers=[("authorization", f"Bearer {made}")]))
    passage.finish(passage.status)
    decision = decision_of(mesh.events[0])
    assert (decision["policy"], decision["rule"]) == ("default/users", 0)
    assert decision["place"] == f"{path}:2"
    assert reason in decision["reason"]
    assert (detail is None and decision["detail"] is None) or detail in decision["detail"]
    assert made[:20] not in str(decision)
