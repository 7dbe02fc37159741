"""Who is to have an identity on a node, as policy says."""

from __future__ import annotations

import pytest
from ca_world import mesh_policy

from meshware.ca.plan import Account, Plan, ReportPlace, plan_of, read_plan, write_plan
from meshware.policy.load import load_text

GROUP = """\
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: jobs, namespace: batch}
spec: {template: {serviceAccount: runner}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: anonymous}
spec: {address: 10.0.0.1}
"""


def planned(text: str) -> Plan:
    """The plan of a policy without errors."""
    loaded = load_text(text)
    assert loaded.ok, loaded.problems
    return plan_of(loaded.resources)


def test_every_service_account_of_entries_and_groups_has_one():
    """Each once; a workload without a service account has none."""
    found = planned(
        mesh_policy("web", "orders")
        + GROUP
        + GROUP.replace("jobs", "more").replace("anonymous", "nobody")
    )
    assert found.accounts == (
        Account("batch", "runner"),
        Account("default", "orders"),
        Account("default", "web"),
    )
    assert (found.provider, found.trust_domain, found.leaf_life_s) == (
        "embedded",
        "shop.test",
        3600.0,
    )
    assert found.reports == ()


def test_node_identities_are_those_of_this_node_and_no_others():
    """With their users, who also write the reports of the workloads of these accounts."""
    spec = "  nodeIdentities: [{serviceAccount: default/web, user: nobody}]\n"
    found = planned(mesh_policy("web", "orders", spec=spec) + GROUP)
    assert found.accounts == (Account("default", "web", "nobody"),)
    assert found.reports == (ReportPlace("default", "web", "nobody"),)


def test_the_daemons_own_account_comes_on_top():
    """It is the daemon's user's, whether or not other accounts are bound to users."""
    spec = (
        "  identity: {daemonServiceAccount: mesh/probe, leafLife: 10m}\n"
        "  nodeIdentities: [{serviceAccount: default/web, user: nobody}]\n"
    )
    found = planned(mesh_policy("web", "orders", spec=spec))
    assert found.accounts == (Account("default", "web", "nobody"), Account("mesh", "probe"))
    assert found.leaf_life_s == 600.0


def test_a_mesh_without_service_accounts_has_nobody():
    """Nothing is made for it."""
    assert planned(GROUP.partition("---\n")[2].partition("---\n")[2]).accounts == ()


def test_fingerprints_are_taken_as_people_write_them():
    """With colons and capitals, as openssl prints them."""
    written = ":".join(["AB"] * 32)
    found = planned(mesh_policy(spec=f'  identity: {{deniedAuthorities: ["{written}"]}}\n'))
    assert found.denied == ("ab" * 32,)


def test_a_life_is_never_so_short_that_it_ends_before_it_is_written():
    """Certificates tell whole seconds."""
    found = planned(mesh_policy("web", spec="  identity: {leafLife: 2s}\n"))
    assert found.leaf_life_s == 2.0


def test_a_plan_is_kept_and_read_again(tmp_path):
    """A daemon whose sources are refused goes on with it."""
    spec = "  nodeIdentities: [{serviceAccount: default/web, user: nobody}]\n"
    found = planned(mesh_policy("web", spec=spec))
    write_plan(tmp_path / "plan.json", found)
    assert read_plan(tmp_path / "plan.json") == found


@pytest.mark.parametrize("text", [None, "", "[]", '{"provider": "other"}', "\xff"])
def test_a_plan_that_cannot_be_read_is_none(tmp_path, text):
    """It is written anew with the next good policy."""
    if text is not None:
        (tmp_path / "plan.json").write_text(text, encoding="latin-1")
    assert read_plan(tmp_path / "plan.json") is None
