"""The port that a server tells."""

from __future__ import annotations

import pytest

from meshware.run import ports
from meshware.runtime.mesh import Mesh


@pytest.fixture
def mesh(monkeypatch):
    """The process-wide mesh of this test."""
    made = Mesh()
    monkeypatch.setattr(Mesh, "_process_wide", made)
    monkeypatch.setattr(ports, "_found", set())
    monkeypatch.delenv("MESH_PORT", raising=False)
    return made


@pytest.mark.parametrize(
    ("told", "port"),
    [([8000], 8000), ([8000, 8000], 8000), ([0], None), ([0, 80], 80), ([80, 443], None),
     ([80, 443, 80], None)],
    ids=["one", "twice", "any", "then known", "two", "two again"],
)  # fmt: skip
def test_the_port_is_the_servers_if_it_has_one(told, port, mesh):
    """With several there is none that stands for the process: the strictest rules hold."""
    for number in told:
        ports.reached_at(number)
    assert mesh.port == port


def test_what_the_user_says_stands(mesh, monkeypatch):
    """Behind a port mapping the server does not know where it is reached."""
    monkeypatch.setenv("MESH_PORT", "443")
    ports.reached_at(8000)
    assert mesh.port is None  # it was made without MESH_PORT, and is left alone


class Listening:
    """What is asked of a socket."""

    def __init__(self, name):
        self.name = name

    def getsockname(self):
        if self.name is None:
            raise OSError(9, "Bad file descriptor")
        return self.name


def test_only_ports_count(mesh):
    """A Unix socket has none, and neither has one that is closed."""
    names = ["/run/app.sock", None, ("::1", 8000, 0, 0)]
    ports.reached_by([Listening(name) for name in names])
    assert mesh.port == 8000
