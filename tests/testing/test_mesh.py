"""`TestMesh`: what users test their apps with."""

from __future__ import annotations

from random import Random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from meshware.errors import IdentityError, PolicyError, SettingsError
from meshware.inbound.head import InboundHead
from meshware.inbound.passage import Admission, Denial
from meshware.testing import FakeClock, TestMesh
from tests.support.inbound_world import request

SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1}]
"""


def rule(name: str, action: str, labels: dict[str, str] | None = None) -> dict:
    """An AuthorizationPolicy about every request, as a mapping."""
    spec: dict = {"action": action, "rules": [{}]}
    if labels is not None:
        spec["selector"] = {"matchLabels": labels}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def ask(mesh: TestMesh) -> Admission | Denial:
    """Ask a mesh's gate about a plain request."""
    headers = {"host": ["app"]}
    return mesh.gate.admit(
        InboundHead(
            method="GET",
            scheme="http",
            version="1.1",
            target="/",
            paths=("/",),
            headers=lambda name: headers.get(name, ()),
            names=("host",),
            source_ip="127.0.0.1",
            destination_ip="127.0.0.1",
            port=80,
        )
    )


def test_policies_may_be_text_a_mapping_a_path_or_a_list(tmp_path):
    """Whatever is handest in a test; a list is checked as one."""
    path = tmp_path / "service.yaml"
    path.write_text(SERVICE, encoding="utf-8")
    for policies in (SERVICE, path, tmp_path, [SERVICE], [path, rule("open", "ALLOW")]):
        mesh = TestMesh(policies)
        assert mesh.cell.current.routes("reviews", 80) is not None
    assert TestMesh(rule("closed", "DENY")).cell.current.routes("reviews", 80) is None


def test_a_workload_that_no_document_names_has_the_label_of_its_name():
    """`app=<name>`, so that a selector finds it."""
    assert isinstance(ask(TestMesh(rule("x", "DENY", {"app": "web"}), "shop/web")), Admission)
    in_its_namespace = {**rule("x", "DENY", {"app": "web"})}
    in_its_namespace["metadata"] = {"name": "x", "namespace": "shop"}
    assert isinstance(ask(TestMesh(in_its_namespace, "shop/web")), Denial)


def test_apply_swaps_policy_for_the_calls_that_begin_then():
    """As a publish would."""
    mesh = TestMesh(rule("x", "ALLOW"))
    assert isinstance(ask(mesh), Admission)
    mesh.apply(rule("x", "DENY"))
    assert isinstance(ask(mesh), Denial)
    assert mesh.cell.current.generation == 2


def test_apply_raises_every_problem_and_changes_nothing():
    """The last good policy stays, as in production."""
    mesh = TestMesh(rule("x", "DENY"))
    wrong = rule("x", "REFUSE")
    wrong["spec"]["rulez"] = []
    with pytest.raises(PolicyError) as raised:
        mesh.apply(wrong)
    assert {problem.field for problem in raised.value.problems} == {"spec.action", "spec.rulez"}
    assert isinstance(ask(mesh), Denial)
    assert mesh.cell.current.generation == 1


def test_events_tell_of_calls_that_are_over():
    """One for each, with the time that the test's clock says."""
    clock = FakeClock()
    mesh = TestMesh(rule("x", "ALLOW"), clock=clock, rng=Random(1))
    admitted = ask(mesh)
    assert mesh.events == []
    clock.advance(2.0)
    admitted.finish(200)
    [event] = mesh.events
    assert (event.status, event.duration_s) == (200, 2.0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"workload": "Default/App"},
        {"workload": ""},
        {"bundles": {"cluster.local": ""}},
        {"bundles": {"Not A Domain": "x"}},
    ],
    ids=["not a name", "no name", "no certificate", "no trust domain"],
)
def test_settings_that_cannot_be_used_are_refused(arguments):
    """A test that believes it has bundles would test nothing."""
    with pytest.raises((SettingsError, IdentityError)):
        TestMesh(SERVICE, **arguments)


def test_bundles_take_the_place_of_all_others():
    """So a test can have a mesh believe somebody else's roots."""
    other = TestMesh(SERVICE)
    svid = other.issue("spiffe://cluster.local/ns/default/sa/web")
    root = other.identity.bundles()["cluster.local"].roots[0].public_bytes(Encoding.PEM).decode()
    mesh = TestMesh(SERVICE, bundles={"cluster.local": root})
    assert isinstance(mesh.gate.admit(request(shows=svid)), Admission)
    own = mesh.issue("spiffe://cluster.local/ns/default/sa/web")
    assert mesh.gate.admit(request(shows=own)).status == 403
