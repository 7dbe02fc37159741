"""Without a daemon an app may tell of its own process: to prometheus_client, and by a route."""

from __future__ import annotations

import asyncio
import io

import pytest
from counted_world import Counted as World
from counted_world import app
from inbound_drive import environ_of
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text

from meshware import Mesh
from meshware.telemetry import MeshCollector, MetricsASGI, MetricsWSGI
from meshware.telemetry.series import Exemplar
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware

TRACE = "0af7651916cd43dd8448eb211c80319c"
OPEN = "application/openmetrics-text; version=1.0.0, text/plain; q=0.5"


@pytest.fixture
def mesh():
    """A mesh that has counted two calls, one of which is an example."""
    world = World()
    world.call()
    world.call()
    [series] = world.series()
    series.duration.exemplars = {0: Exemplar(TRACE, 0.1, 1700000000.0)}
    return world


def by_asgi(mesh, method: str, accept: str) -> tuple[int, dict[str, str], bytes]:
    """One call of the ASGI app."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "headers": [(b"accept", accept.encode())]}
    asyncio.run(MetricsASGI(mesh)(scope, None, send))
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, body["body"]


def by_wsgi(mesh, method: str, accept: str) -> tuple[int, dict[str, str], bytes]:
    """One call of the WSGI app."""
    started = []
    environ = {"REQUEST_METHOD": method, "HTTP_ACCEPT": accept, "wsgi.input": io.BytesIO()}
    body = b"".join(MetricsWSGI(lambda: mesh)(environ, lambda *given: started.append(given)))
    [(status, headers)] = started
    return int(status.split()[0]), dict(headers), body


WAYS = pytest.mark.parametrize("way", [by_asgi, by_wsgi])


@WAYS
def test_a_route_answers_in_the_format_that_is_asked_for(mesh, way):
    """Prometheus's own parsers read both; examples are in OpenMetrics alone."""
    status, headers, body = way(mesh, "GET", "text/plain")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert int(headers["content-length"]) == len(body)
    families = {family.name: family for family in read_text(body.decode())}
    assert [sample.value for sample in families["istio_requests"].samples] == [2]
    status, headers, body = way(mesh, "GET", OPEN)
    assert (status, headers["content-type"].split(";")[0]) == (200, "application/openmetrics-text")
    families = {family.name: family for family in read_open(body.decode())}
    examples = [
        sample.exemplar.labels
        for sample in families["istio_request_duration_milliseconds"].samples
        if sample.exemplar
    ]
    assert examples == [{"trace_id": TRACE}]
    assert [s.value for s in families["meshware_telemetry_left_out"].samples] == [0]


@WAYS
def test_a_route_answers_reading_alone(mesh, way):
    """HEAD has no body; what would change something is refused."""
    status, headers, body = way(mesh, "HEAD", "")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0
    status, headers, _ = way(mesh, "POST", "")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_what_is_no_http_call_is_not_supported(mesh):
    """As servers expect it."""
    with pytest.raises(ValueError, match="websocket"):
        asyncio.run(MetricsASGI(mesh)({"type": "websocket"}, None, None))


def test_a_registry_of_prometheus_client_has_the_same(mesh):
    """Both of its formats, and nothing at registration."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(MeshCollector(lambda: mesh))
    mine = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in read_text(generate_latest(registry).decode())
        for sample in family.samples
    }
    served = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in read_text(by_wsgi(mesh, "GET", "")[2].decode())
        for sample in family.samples
    }
    assert mine == served
    assert len(mine) > 60
    examples = [
        sample.exemplar.labels
        for family in read_open(openmetrics.generate_latest(registry).decode())
        for sample in family.samples
        if sample.exemplar
    ]
    assert examples == [{"trace_id": TRACE}]


def test_a_mesh_tells_what_it_has_counted_and_what_holds_now():
    """Its own events, and the policy in force; a mesh for tests counts nothing."""
    kit = TestMesh([])
    mesh = Mesh(client=kit.client, cell=kit.cell, port=80)
    body = MeshMiddleware(app, mesh=mesh)(environ_of("/"), lambda *_: lambda _data: None)
    list(body)
    body.close()
    text = by_wsgi(mesh, "GET", "")[2].decode()
    families = {family.name: family for family in read_text(text)}
    assert [sample.value for sample in families["istio_requests"].samples] == [1]
    assert families["meshware_policy_generation"].samples[0].value == 1
    assert kit.counted().series == ()
