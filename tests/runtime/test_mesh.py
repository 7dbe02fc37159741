"""The root object: made from the environment, and closed where that cannot be read."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from meshware import Mesh
from meshware.call import RequestHead
from meshware.errors import SettingsError
from meshware.inbound.head import InboundHead
from meshware.inbound.passage import Admission, Denial

POLICY = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web}
spec: {address: 127.0.0.1, labels: {app: web}}
---
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


def ask(mesh: Mesh) -> Admission | Denial:
    """Ask a mesh's gate about a plain request."""
    headers = {"host": ["web"]}
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


def call(mesh: Mesh, host: str) -> object:
    """Return the first action of an outbound call."""
    flow = mesh.exchange(
        RequestHead(
            method="GET",
            scheme="http",
            host=host,
            port=80,
            authority=host,
            target="/",
            headers=lambda name: (),
            replayable=True,
        )
    )
    action = next(flow)
    flow.close()
    return action


@pytest.fixture
def process_wide(monkeypatch):
    """Let `Mesh.current()` begin anew, and end what it made."""
    monkeypatch.setattr(Mesh, "_process_wide", None)
    for name in [name for name in os.environ if name.startswith("MESH_")]:
        monkeypatch.delenv(name)
    yield monkeypatch
    if Mesh._process_wide is not None:
        Mesh._process_wide.stop()


def settled(mesh: Mesh) -> Mesh:
    """Start a mesh; its first policy is in force when `start` returns, if there is any."""
    mesh.start()
    return mesh


def test_a_mesh_is_made_from_the_environment(tmp_path):
    """MESH_CONFIG may name YAML: then this process compiles it, without a daemon."""
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    environ = {"MESH_CONFIG": str(tmp_path), "MESH_WORKLOAD": "web"}
    mesh = settled(Mesh.from_env(environ))
    try:
        assert isinstance(ask(mesh), Admission)
        assert call(mesh, "reviews").address == "10.0.0.1"
    finally:
        mesh.stop()


@pytest.mark.parametrize("environ", [{}, {"MESH_CONFIG": "x", "MESH_PORT": "http"}], ids=str)
def test_an_environment_that_cannot_be_read_is_said(environ):
    """Whoever asks for a mesh by name learns at once."""
    with pytest.raises(SettingsError):
        Mesh.from_env(environ)


def test_the_process_wide_mesh_is_made_once_and_closed_without_settings(process_wide, caplog):
    """An app must not be open for a variable that nobody set: 503, and one error in the log."""
    with caplog.at_level(logging.ERROR):
        mesh = Mesh.current()
        assert Mesh.current() is mesh
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "MESH_CONFIG is not set" in caplog.text
    denied = ask(mesh)
    assert isinstance(denied, Denial) and denied.status == 503
    assert ("retry-after", "1") in denied.headers
    assert call(mesh, "reviews").status == 503


def test_before_any_policy_everything_is_503(tmp_path):
    """The file is not there yet: fail closed, and try again soon."""
    mesh = settled(Mesh.from_env({"MESH_CONFIG": str(tmp_path / "policy.mesh")}))
    try:
        assert ask(mesh).status == 503
        assert call(mesh, "reviews").status == 503
    finally:
        mesh.stop()


@pytest.mark.parametrize(
    ("workload", "words"),
    [({"MESH_WORKLOAD": "other"}, "default/other, which the policy does not name"), ({}, "is not")],
    ids=["named nothing", "unset"],
)
def test_an_unknown_workload_is_closed_inbound_and_calls_outbound(
    tmp_path, caplog, workload, words
):
    """Inbound 503 and one clear sentence; outbound it is a client of the namespace `default`."""
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        mesh = settled(Mesh.from_env({"MESH_CONFIG": str(tmp_path), **workload}))
    try:
        assert ask(mesh).status == 503
        assert call(mesh, "reviews").address == "10.0.0.1"
        assert words in caplog.text
    finally:
        mesh.stop()


def test_a_child_draws_chance_of_its_own(tmp_path):
    """Two workers that draw alike would send all canary traffic at once."""
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    mesh = Mesh.from_env({"MESH_CONFIG": str(tmp_path), "MESH_WORKLOAD": "web"})
    drawn = mesh.rng.getstate()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(mesh.rng.random()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        theirs = float(pipe.read())
    os.waitpid(child, 0)
    mesh.rng.setstate(drawn)
    assert mesh.rng.random() != theirs


def test_an_edit_is_followed_without_a_restart(tmp_path):
    """The follower's thread takes it up; a call that began before keeps what it read."""
    path: Path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    mesh = settled(Mesh.from_env({"MESH_CONFIG": str(path), "MESH_WORKLOAD": "web"}))
    try:
        fresh = tmp_path / "fresh"
        fresh.write_text(POLICY.replace("10.0.0.1", "10.0.0.2"), encoding="utf-8")
        fresh.replace(path)
        give_up = time.monotonic() + 10
        while call(mesh, "reviews").address != "10.0.0.2" and time.monotonic() < give_up:
            mesh._follower.poll_once()
        assert call(mesh, "reviews").address == "10.0.0.2"
    finally:
        mesh.stop()
