"""Asking over sockets and in functions from threads, asyncio, uvloop and trio; and leaving off."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import closing
from datetime import UTC, datetime

import asking_world
import pytest
from asking_world import (
    OPA,
    Dialling,
    ask,
    at,
    authorizer,
    service,
)
from authorizer_server import Asked, AuthorizerServer, ok
from inbound_world import workload

from meshware.identity.tls import mesh_server_context
from meshware.inbound.asking import Check, HttpAnswer, NoAnswer
from meshware.testing import TestMesh

__all__ = ["ask", "authorizer"]  # fixtures


def test_an_answer_comes_whole_and_the_connection_is_kept(ask, authorizer):
    """Beyond the loop that made it: the sockets belong to none."""
    mesh = Dialling(service(at(authorizer.port)))
    body = os.urandom(3_000_000)
    for _ in range(3):
        answer = ask(mesh, body)
        assert isinstance(answer, HttpAnswer)
        assert (answer.status, dict(answer.headers)["x-b"]) == (200, "c")
    assert [one.body == body for one in authorizer.asked] == [True] * 3
    assert authorizer.connections == 1
    assert [event.flags for event in mesh.events] == ["-"] * 3


def test_a_dead_endpoint_is_passed_over(ask, authorizer):
    """The same exchange as any call's: connections that cannot be made are tried elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
    mesh = Dialling(service(at(dead), at(authorizer.port)))
    for _ in range(4):
        assert isinstance(ask(mesh), HttpAnswer)


def test_a_unix_socket_and_no_endpoint(ask, authorizer, tmp_path):
    assert ask(Dialling(service())) == NoAnswer("out of reach")
    path = str(tmp_path / "opa.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(ok(204))

        thread = threading.Thread(target=serve)
        thread.start()
        answer = ask(Dialling(service({"address": f"unix://{path}"}, ports=[
            {"number": 9000, "name": "http", "protocol": "HTTP"}])))  # fmt: skip
        thread.join()
    assert answer.status == 204


def test_a_service_that_policy_does_not_know_is_never_looked_up(ask):
    """A name of DNS might be anybody's."""
    mesh = Dialling(service(hosts=["other.example.com"]))
    answer = ask(mesh)
    assert isinstance(answer, NoAnswer)
    assert "policy knows no such service" in answer.why


def test_the_time_out_is_for_all_of_it(ask, authorizer):
    def slow(asked: Asked) -> bytes:
        time.sleep(1.0)
        return ok()

    authorizer.answer = slow
    mesh = Dialling(service(at(authorizer.port)))
    started = time.monotonic()
    assert ask(mesh, timeout_s=0.3) == NoAnswer("late")
    assert time.monotonic() - started < 0.9


def test_an_answer_that_drips_is_late(ask):
    """A byte now and then keeps nobody waiting."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                for byte in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 50:
                    try:
                        connection.sendall(bytes([byte]))
                    except OSError:
                        return
                    if is_over.wait(0.05):
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        answer = ask(Dialling(service(at(listening.getsockname()[1]))), timeout_s=0.4)
        taken_s = time.monotonic() - started
        is_over.set()
        thread.join()
    assert answer == NoAnswer("late")
    assert taken_s < 1.0


def test_a_refusal_that_is_asked_again_about_in_vain_is_one(ask, authorizer, monkeypatch):
    """Retries are policy's; when they find nobody, what was said before holds."""
    monkeypatch.setattr(asking_world, "CHECK", Check("GET", "shop", "/x", ()))
    answers = iter([ok(403, b"no")])
    authorizer.answer = lambda asked: next(answers, None)
    retries = {"attempts": 2, "retryOn": "403,reset", "backoff": "5ms"}
    destination = {"destination": {"host": "authz.example.com"}}
    route = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "authz"},
        "spec": {
            "hosts": ["authz.example.com"],
            "http": [{"route": [destination], "retries": retries}],
        },
    }
    answer = ask(Dialling([service(at(authorizer.port)), route]))
    assert len(authorizer.asked) >= 2
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.body) == (403, b"no")


@pytest.mark.parametrize("closes", [True, False])
def test_a_refusal_before_all_of_the_body_was_sent_is_one(ask, closes):
    """An authorizer that says no early and reads no further, whether or not it then closes."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(ok(403, b"", ("x-why", "because")))
                is_over.wait(0.3 if closes else 10)

        thread = threading.Thread(target=serve)
        thread.start()
        mesh = Dialling(service(at(listening.getsockname()[1])))
        answer = ask(mesh, bytes(16_000_000), timeout_s=1.5)
        is_over.set()
        thread.join()
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, dict(answer.headers)["x-why"]) == (403, "because")


def secured(mesh: TestMesh, spiffe_id: str) -> AuthorizerServer:
    """An authorizer that shows an identity, and wants to see one."""
    svid = mesh.issue(spiffe_id)
    context = mesh_server_context(svid, mesh.identity.bundles(), lambda: datetime.now(UTC))
    return AuthorizerServer(lambda asked: ok(), context)


def test_an_authorizer_of_the_mesh_is_called_by_mutual_tls(ask):
    mesh = Dialling([workload("app"), service()])
    with closing(secured(mesh, OPA)) as server:
        mesh.apply([workload("app"), service(at(server.port, serviceAccount="opa"))])
        assert isinstance(ask(mesh, b"hello"), HttpAnswer)
        assert isinstance(ask(mesh, b"hello"), HttpAnswer)
        assert [one.body for one in server.asked] == [b"hello"] * 2
        assert server.connections == 1


@pytest.mark.parametrize(
    "impostor",
    ["spiffe://cluster.local/ns/default/sa/other", "spiffe://elsewhere/ns/default/sa/opa"],
)
def test_an_impostor_is_told_nothing(ask, impostor):
    """Whoever answers in the authorizer's place gets no byte of a question, nor is believed."""
    mesh = Dialling([workload("app"), service()])
    with closing(secured(mesh, impostor)) as server:
        mesh.apply([workload("app"), service(at(server.port, serviceAccount="opa"))])
        assert ask(mesh) == NoAnswer("out of reach")
        assert server.asked == []
    assert {event.flags for event in mesh.events if event.flags != "-"} == {"UF,URX"}
