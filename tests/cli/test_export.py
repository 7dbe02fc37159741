"""`meshware export envoy`: files in a directory, warnings, and mistakes in one sentence."""

from __future__ import annotations

import json

import pytest

from meshware.cli.main import run

ORDERS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1, ports: {http: 8001}}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: web}
spec: {template: {serviceAccount: web}}
"""


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "mesh.yaml"
    path.write_text(ORDERS)
    return path


def export(policy, out, *more):
    return run(
        ["export", "envoy", "--policy", str(policy), "--workload", "web", "--out", str(out), *more]
    )


def test_it_writes_a_configuration_and_what_it_follows(policy, tmp_path, capsys):
    """Bootstrap, listener, routes, clusters, and a file of endpoints for each cluster."""
    out = tmp_path / "envoy"
    assert export(policy, out) == 0
    assert sorted(path.name for path in out.rglob("*.json")) == [
        "bootstrap.json",
        "cds.json",
        "lds.json",
        "outbound%7C80%7C%7Corders.default.svc.cluster.local.json",
        "rds.json",
    ]
    assert capsys.readouterr().out == f"{out}: 1 hosts, 2 clusters\n"
    bootstrap = json.loads((out / "bootstrap.json").read_text())
    followed = bootstrap["dynamic_resources"]["cds_config"]["path_config_source"]["path"]
    assert followed == str(out / "cds.json")


def test_again_it_touches_only_what_changed(policy, tmp_path):
    """Each file that is replaced makes Envoy read it again; files of clusters that went go too."""
    out = tmp_path / "envoy"
    export(policy, out)
    before = {path: path.stat().st_ino for path in out.rglob("*.json")}
    policy.write_text(ORDERS.replace("10.0.0.1", "10.0.0.2"))
    assert export(policy, out) == 0
    [changed] = [path for path, inode in before.items() if path.stat().st_ino != inode]
    assert changed.parent.name == "eds"
    policy.write_text(ORDERS.replace("hosts: [orders]", "hosts: [stock]"))
    export(policy, out)
    assert [path.name for path in (out / "eds").iterdir()] == [
        "outbound%7C80%7C%7Cstock.default.svc.cluster.local.json"
    ]


def test_endpoints_may_stand_in_the_clusters(policy, tmp_path):
    """Each file costs an inotify instance, and there are not many."""
    out = tmp_path / "envoy"
    assert export(policy, out, "--endpoints", "inline") == 0
    assert list((out / "eds").iterdir()) == []
    clusters = json.loads((out / "cds.json").read_text())["resources"]
    assert [cluster.get("type") for cluster in clusters] == ["STATIC", None]


def test_in_json_it_tells_files_and_warnings(policy, tmp_path, capsys):
    """What is not in the configuration is a warning and exit code 1."""
    out = tmp_path / "envoy"
    assert export(policy, out, "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert str(out / "rds.json") in told["files"]
    assert told["warnings"] == []


def test_a_workload_that_policy_does_not_name_is_a_warning(policy, tmp_path, capsys):
    """Its labels and locality are not known, and rules may ask for them."""
    arguments = ["export", "envoy", "--policy", str(policy), "--workload", "shop/cart"]
    assert run([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "workload shop/cart: policy names none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--locality", "eu//a"), "--locality eu//a: write region/zone/subzone"),
        (("--port", "0"), "'--port': 0 is not in the range"),
        (("--address", "nowhere"), "--address nowhere: write an IP address"),
        (("--endpoints", "some"), "'some' is not one of"),
    ],
)
def test_a_mistake_is_one_sentence(policy, tmp_path, capsys, more, said):
    """With exit code 2, and nothing written."""
    assert export(policy, tmp_path / "out", *more) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_policy_that_is_not_there_or_wrong_is_told(policy, tmp_path, capsys):
    """As by the other commands."""
    assert export(tmp_path / "none", tmp_path / "out") == 2
    assert "none: no such file or directory; --policy names" in capsys.readouterr().err
    policy.write_text(ORDERS.replace("resolution", "resolutoin"))
    assert export(policy, tmp_path / "out") == 2
    assert "resolutoin" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told(policy, tmp_path, capsys):
    """A file stands where the directory should be."""
    (tmp_path / "out").write_text("")
    assert export(policy, tmp_path / "out") == 2
    assert str(tmp_path / "out") in capsys.readouterr().err
