"""The current call, in threads of WSGI apps."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from carried import installed
from inbound_drive import wsgi_call
from inbound_scenarios import current_id
from inbound_world import policy

import meshware
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware

OPEN = policy("ALLOW", {})


def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(current_id()))
    thread.start()
    thread.join()
    return found[0]


def in_executor():
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(current_id).result()


@pytest.mark.parametrize("work", [in_thread, in_executor])
def test_threads_and_executors_carry_the_call_once_installed(work):
    """Without `meshware.install()` they know of none."""

    def app(environ, start_response):
        start_response("200 OK", [])
        return [work().encode()]

    headers = [("host", "app"), ("x-request-id", "r-1")]
    meshed = MeshMiddleware(app, TestMesh(OPEN))
    assert wsgi_call(meshed, headers=headers).text == "none"
    with installed():
        assert wsgi_call(meshed, headers=headers).text == "r-1"


def test_many_threads_do_not_see_each_others_calls():
    """One context for each call."""

    def app(environ, start_response):
        start_response("200 OK", [])
        for _ in range(3):
            yield current_id().encode() + b" "

    meshed = MeshMiddleware(app, TestMesh(OPEN))

    def call(number):
        headers = [("host", "app"), ("x-request-id", f"r{number}")]
        text = wsgi_call(meshed, headers=headers).text
        return text, meshware.current_call()

    with ThreadPoolExecutor(8) as executor:
        for number, found in enumerate(executor.map(call, range(200))):
            assert found == (f"r{number} " * 3, None)
