"""`meshware explain` about CUSTOM policies: it says who would be asked, and asks nobody."""

from __future__ import annotations

import json

import pytest
from explained import SERVICE

POLICY = (
    SERVICE
    + """\
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec:
  extensionProviders:
    - {name: opa, envoyExtAuthzHttp: {service: default/orders, port: 80}}
    - {name: fn, inProcess: {}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a-opa}
spec: {action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: ["/a*"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: b-fn}
spec: {action: CUSTOM, provider: {name: fn}, rules: [{to: [{operation: {paths: ["/ab*"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/abc"]}}]}]}
"""
)


@pytest.mark.parametrize(
    ("path", "verdict", "policy", "asks"),
    [
        ("/", "allow", None, []),
        ("/a", "allow", None, ["opa"]),
        ("/ab", "allow", None, ["opa", "fn"]),
        ("/abc", "deny", "default/no", ["opa", "fn"]),
        ("/a/../b", "allow", None, ["opa"]),
    ],
)
def test_it_says_who_would_be_asked_and_what_holds_if_they_allow(
    explain, path, verdict, policy, asks
):
    question = {"direction": "inbound", "path": path}
    code, out, _ = explain(question, POLICY, "--format", "json")
    answer = json.loads(out)["inbound"]
    assert (answer["verdict"], answer["policy"], answer["asks"]) == (verdict, policy, asks)
    assert code == (verdict == "deny")


def test_people_are_told_that_nobody_is_asked(explain):
    code, out, _ = explain({"direction": "inbound", "path": "/a"}, POLICY, "--format", "text")
    assert code == 0
    assert "allow, status 200, by no rule; if opa would allow it, who is not asked here" in out
