"""Policies that decide nothing: AUDIT marks, and what is on trial is told and never enforced."""

from __future__ import annotations

import pytest
from inbound_world import is_allowed, policy, request, to, when

from meshware.inbound.shadow import MOST_AUDITED
from meshware.policy.rule_index import RuleIndex
from meshware.testing import TestMesh

A, B, ALL = to(paths=["/a"]), to(paths=["/b"]), {}


def on_trial(action, *rules, name="trial"):
    """A policy with the annotation."""
    made = policy(action, *rules, name=name)
    made["metadata"]["annotations"] = {"istio.io/dry-run": "true"}
    return made


def told(mesh, head):
    """The status of a call, and its event."""
    passage = mesh.gate.admit(head)
    passage.finish(getattr(passage, "status", 200))
    return mesh.events[-1]


CASES = [
    # policies, path; status; shadow, policy, rule
    ("nothing on trial", [policy("DENY", A)], "/b", 200, (None, None, None)),
    ("a DENY that would", [on_trial("DENY", B, A)], "/a", 200, ("deny", "default/trial", 1)),
    ("a DENY that would not", [on_trial("DENY", A)], "/b", 200, ("allow", None, None)),
    ("an only ALLOW that would", [on_trial("ALLOW", A)], "/a", 200, ("allow", "default/trial", 0)),
    ("an only ALLOW that would not", [on_trial("ALLOW", A)], "/b", 200, ("deny", None, None)),
    ("an ALLOW without rules", [on_trial("ALLOW")], "/b", 200, ("deny", None, None)),
    ("an ALLOW that adds to another", [policy("ALLOW", B), on_trial("ALLOW", A)], "/a", 403,
     ("allow", "default/trial", 0)),
    ("an ALLOW beside one that lets in", [policy("ALLOW", B), on_trial("ALLOW", A)], "/b", 200,
     ("allow", None, None)),
    ("an ALLOW beside one, neither", [policy("ALLOW", B), on_trial("ALLOW", A)], "/c", 403,
     ("deny", None, None)),
    ("a DENY before an ALLOW in force", [policy("ALLOW", ALL), on_trial("DENY", A)], "/a", 200,
     ("deny", "default/trial", 0)),
    ("a DENY in force", [policy("DENY", A), on_trial("ALLOW", A)], "/a", 403,
     ("deny", None, None)),
    ("both on trial, DENY first",
     [on_trial("ALLOW", ALL, name="open"), on_trial("DENY", A)], "/a", 200,
     ("deny", "default/trial", 0)),
    ("a path of two meanings, one of them denied", [on_trial("DENY", A)], "/b/../a", 200,
     ("deny", "default/trial", 0)),
    ("a path of two meanings, one of them allowed", [on_trial("ALLOW", A)], "/b/../a", 200,
     ("deny", None, None)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("policies", "path", "status", "shadow"),
    [row[1:] for row in CASES],
    ids=[row[0] for row in CASES],
)
def test_what_is_on_trial_is_told_as_if_it_were_enforced_and_decides_nothing(
    policies, path, status, shadow
):
    """The status is that of the policies in force."""
    event = told(TestMesh(policies), request(path))
    assert event.status == status
    assert (event.shadow, event.shadow_policy, event.shadow_rule) == shadow


def test_a_policy_on_trial_decides_as_it_does_once_it_is_enforced():
    """What was told before is what happens after."""
    for action in ("ALLOW", "DENY"):
        for path in ("/a", "/b", "/c"):
            rules = [policy("ALLOW", B), policy("DENY", to(paths=["/c"]))]
            shadow = told(TestMesh([*rules, on_trial(action, A)]), request(path)).shadow
            enforced = TestMesh([*rules, policy(action, A, name="trial")])
            assert is_allowed(enforced, request(path)) is (shadow == "allow"), (action, path)


@pytest.mark.parametrize("word", ["false", "0", "F"])
def test_a_trial_that_is_off_is_enforced(word):
    """`false` is what holds without the annotation."""
    made = on_trial("DENY", A)
    made["metadata"]["annotations"] = {"istio.io/dry-run": word}
    event = told(TestMesh(made), request("/a"))
    assert (event.status, event.shadow) == (403, None)


def test_audit_marks_and_decides_nothing():
    """Each policy once, whether the call passes or not."""
    audits = [policy("AUDIT", A, ALL, name="all"), policy("AUDIT", B, name="b")]
    mesh = TestMesh([*audits, policy("DENY", to(methods=["PUT"]))])
    assert told(mesh, request("/a")).audited == ("default/all",)
    assert told(mesh, request("/b")).audited == ("default/all", "default/b")
    refused = told(mesh, request("/b", method="PUT"))
    assert (refused.status, refused.audited) == (403, ("default/all", "default/b"))


def test_audit_holds_for_everything_that_a_path_may_mean():
    """As DENY."""
    mesh = TestMesh(policy("AUDIT", to(paths=["/admin/*"])))
    assert told(mesh, request("/admin/../public")).audited == ("default/audit",)
    assert told(mesh, request("/public")).audited == ()


def test_an_audit_alone_does_not_close_a_workload():
    """It is no ALLOW policy."""
    assert told(TestMesh(policy("AUDIT", A)), request("/b")).status == 200


def test_marks_are_bounded():
    """However many policies match."""
    audits = [policy("AUDIT", ALL, name=f"p{number}") for number in range(3 * MOST_AUDITED)]
    assert len(told(TestMesh(audits), request("/a")).audited) == MOST_AUDITED


@pytest.mark.parametrize("rule", [when("request.headers[x-role]", "a")], ids=["header"])
def test_what_would_make_a_request_malformed_does_so_only_once_it_is_enforced(rule):
    """A header's twin is refused where a policy in force reads the header."""
    head = request("/a", headers=[("x_role", "b")])
    event = told(TestMesh(on_trial("DENY", rule)), head)
    assert (event.status, event.shadow, event.shadow_policy) == (200, "deny", None)
    assert told(TestMesh(policy("AUDIT", rule)), head).status == 200
    assert told(TestMesh(policy("DENY", rule)), head).status == 400


def test_what_fails_without_deciding_refuses_nobody(monkeypatch, caplog):
    """The failure is told; the decision stands."""
    mesh = TestMesh([on_trial("DENY", A), policy("AUDIT", ALL)])
    snapshot = mesh.cell.current
    assert snapshot is not None
    audit = snapshot.inbound.rules.audit.index

    def fail(self, facts, path):
        if self is audit:
            raise RuntimeError("broken")
        return ()

    monkeypatch.setattr(RuleIndex, "find", fail)
    event = told(mesh, request("/a"))
    assert (event.status, event.shadow, event.audited) == (200, None, ())
    assert "broken" in caplog.text
