"""Telemetry in real servers, edited while they run: seen in `/metrics`, in spans, and in a log."""

from __future__ import annotations

import json

import pytest
from inbound_servers import QUIET, Server
from metrics_world import ENVIRON, scrape
from otlp_receiver import receiving, values_of
from policy_check import resource
from prometheus_client.parser import text_string_to_metric_families
from sync_world import running

COMMANDS = {
    "gunicorn": ["gunicorn", *QUIET, "-w", "2", "-b", "127.0.0.1:0", "telemetry_apps:wsgi"],
    "uvicorn": ["uvicorn", "--port", "0", "telemetry_apps:asgi"],
}
APP = resource(
    "WorkloadEntry",
    {"address": "127.0.0.1", "serviceAccount": "app", "labels": {"app": "shop", "version": "v1"}},
    "app",
)


def upstream(port):
    """The service that `/out` calls."""
    return resource(
        "ServiceEntry",
        {
            "hosts": ["receiver.shop"],
            "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": port}}],
            "exportTo": ["*"],
        },
        "receiver",
        "shop",
    )


def mesh_config(port, log):
    """Where spans and lines go."""
    receiver = {
        "service": "127.0.0.1",
        "port": port,
        "http": {"path": "/v1/traces", "headers": [{"name": "x-token", "envName": "OTLP_TOKEN"}]},
    }
    file = {
        "path": str(log),
        "logFormat": {"labels": {"path": "%REQ(:PATH)%", "code": "%RESPONSE_CODE%"}},
    }
    spec = {
        "extensionProviders": [
            {"name": "collector", "opentelemetry": receiver},
            {"name": "file", "envoyFileAccessLog": file},
        ],
        "defaultProviders": {"tracing": ["Collector"]},
    }
    return resource("MeshConfig", spec, "mesh", "istio-system", "meshware.dev/v1alpha1")


def telemetry(name, namespace="default", **spec):
    """One Telemetry."""
    return resource("Telemetry", spec, name, namespace, "telemetry.istio.io/v1")


class World:
    """A daemon, a server whose policy it makes, and a receiver of spans."""

    def __init__(self, root, daemon, server, receiver) -> None:
        self._root, self._daemon, self._server, self.receiver = root, daemon, server, receiver
        self.log = root / "access.log"

    def edit(self, *telemetries):
        """Put Telemetries in the place of those there were, and wait until workers have them."""
        before = self._daemon.generation()
        text = "".join((
            APP, upstream(self.receiver.port), mesh_config(self.receiver.port, self.log),
            *telemetries,
        ))  # fmt: skip
        (self._root / "mesh/p.yaml").write_text(text)
        self._daemon.wait_for(lambda: self._daemon.generation() > before)
        now = self._daemon.generation()

        def is_applied():
            self.call("/none")  # a worker that was never called follows nothing
            reports = (self._daemon.run_dir / "reports/default/app").glob("*.json")
            applied = [json.loads(path.read_bytes())["generation"] for path in reports]
            return applied and set(applied) == {now}

        self._daemon.wait_for(is_applied)

    def call(self, path, **headers):
        """One call."""
        pairs = [("host", "shop.default"), *headers.items()]
        assert self._server.get(path, headers=pairs).status == 200

    def samples(self, metric, **labels):
        """The samples of a metric that bear certain labels, and are of calls of the test."""
        found = []
        for family in text_string_to_metric_families(scrape(self._daemon)):
            found += [
                sample
                for sample in family.samples
                if sample.name == metric
                and all(sample.labels.get(name) == value for name, value in labels.items())
            ]
        return found

    def wait_for(self, condition):
        """Wait until something holds, and return it."""
        self._daemon.wait_for(condition)
        return condition()

    def spans(self, path):
        """The spans of calls of a path that have arrived, by kind, with their attributes."""
        found = []
        for span, _ in self.receiver.spans:
            attributes = values_of(span.attributes)
            if attributes.get("url.path") == path:
                found.append(attributes)
        return found


@pytest.fixture(params=COMMANDS)
def world(request, tmp_path):
    """All of them, with a policy that says nothing yet."""
    (tmp_path / "mesh").mkdir()
    with receiving() as receiver:
        (tmp_path / "mesh/p.yaml").write_text(
            APP + upstream(receiver.port) + mesh_config(receiver.port, tmp_path / "access.log")
        )
        with running(tmp_path) as daemon:
            daemon.wait_for(lambda: daemon.generation() and daemon.status_yet())
            daemon.wait_for(lambda: (said := daemon.status_yet()) and said.listen)
            environ = {
                "MESH_CONFIG": str(daemon.policy_file),
                "OTEL_BSP_SCHEDULE_DELAY": "50",
                "OTLP_TOKEN": "secret",
                **ENVIRON,
            }
            server = Server(COMMANDS[request.param], tmp_path, environ)
            try:
                server.wait_until_up()
                yield World(tmp_path, daemon, server, receiver)
            finally:
                server.end()


def test_tags_metrics_and_sampling_follow_policy_while_the_server_runs(world):
    """A tag is removed, one added, a metric dropped; no call is sampled, then each, then none."""
    user = "has(request.headers['x-user']) ? request.headers['x-user'] : 'none'"
    wide = telemetry(
        "wide",
        "istio-system",
        metrics=[
            {
                "overrides": [
                    {"match": {"metric": "REQUEST_SIZE"}, "disabled": True},
                    {
                        "match": {"mode": "SERVER"},
                        "tagOverrides": {"destination_version": {"operation": "REMOVE"}},
                    },
                ]
            }
        ],
        tracing=[{"randomSamplingPercentage": 0}],
    )
    own = telemetry(
        "own",
        metrics=[
            {
                "overrides": [
                    {
                        "match": {"metric": "REQUEST_COUNT"},
                        "tagOverrides": {
                            "user": {"value": user},
                            "place": {"value": "xds.node.metadata['NAMESPACE']"},
                            "missing": {"value": "request.headers['x-none']"},
                        },
                    }
                ]
            }
        ],
    )
    world.edit(wide, own)
    world.call("/out", **{"x-user": "jane"})
    world.call("/quiet")

    [sample] = world.wait_for(
        lambda: world.samples("istio_requests_total", reporter="destination", user="jane")
    )
    assert sample.labels["place"] == "default"
    assert sample.labels["missing"] == "unknown"
    assert "destination_version" not in sample.labels
    assert world.samples("istio_requests_total", reporter="destination", user="none")
    out = world.wait_for(lambda: world.samples("istio_requests_total", reporter="source"))
    assert out[0].labels["destination_version"] == "unknown"  # removed on the other side alone
    [lasted, *_] = world.samples("istio_request_duration_milliseconds_count", reporter="source")
    assert "user" not in lasted.labels

    # Another edit: all calls are sampled, with tags of policy.
    tags = {
        "zone": {"literal": {"value": "a"}},
        "who": {"header": {"name": "X-User", "defaultValue": "nobody"}},
        "token": {"environment": {"name": "OTLP_TOKEN"}},
        "said": {"formatter": {"value": "%REQ(X-USER)%/%RESPONSE_CODE%"}},
    }
    world.edit(
        wide, telemetry("own", tracing=[{"randomSamplingPercentage": 100, "customTags": tags}])
    )
    world.call("/seen", **{"x-user": "ann"})
    [span] = world.wait_for(lambda: world.spans("/seen"))
    assert {name: span[name] for name in tags} == {
        "zone": "a", "who": "ann", "token": "secret", "said": "ann/200",
    }  # fmt: skip
    assert span["istio.namespace"] == "default"
    assert world.receiver.headers[0]["x-token"] == "secret"
    assert world.spans("/quiet") == []

    # And another: no spans, and no metrics of calls that come in.
    off = [
        {"overrides": [{"match": {"metric": "ALL_METRICS", "mode": "SERVER"}, "disabled": True}]}
    ]
    world.edit(telemetry("own", tracing=[{"disableSpanReporting": True}], metrics=off))

    def counted(reporter):
        return sum(s.value for s in world.samples("istio_requests_total", reporter=reporter))

    def has_come_to_rest():
        """Two calls, each told of before the next: of the first, both sides would be by then."""
        came = counted("destination")
        for _ in range(2):
            went = counted("source")
            world.call("/out")
            world.wait_for(lambda went=went: counted("source") > went)
        return counted("destination") == came

    world.wait_for(has_come_to_rest)  # calls of before the edit may be told of a second later
    assert world.spans("/out") == []


def test_sizes_that_are_dropped_are_not_in_metrics(world):
    """A disabled metric has no sample from then on."""
    overrides = [{"match": {"metric": "REQUEST_SIZE"}, "disabled": True}]
    world.edit(telemetry("own", metrics=[{"overrides": overrides}]))

    def counted(metric):
        return sum(sample.value for sample in world.samples(metric, reporter="source"))

    def has_come_to_rest():
        before = counted("istio_request_bytes_count")
        for _ in range(2):
            answers = counted("istio_response_bytes_count")
            world.call("/out")
            world.wait_for(lambda n=answers: counted("istio_response_bytes_count") > n)
        return counted("istio_request_bytes_count") == before

    world.wait_for(has_come_to_rest)


def test_a_log_is_filtered_by_an_expression(world):
    """What the expression says no to, or fails for, has no line."""
    expression = "request.headers['x-user'] == 'ann' && request.url_path.startsWith('/shop')"
    logs = [
        {
            "match": {"mode": "SERVER"},
            "providers": [{"name": "FILE"}],
            "filter": {"expression": expression},
        }
    ]
    world.edit(telemetry("own", accessLogging=logs))
    world.call("/shop/1")
    world.call("/shop/2", **{"x-user": "jane"})
    world.call("/cart", **{"x-user": "ann"})
    world.call("/shop/3?x=1", **{"x-user": "ann"})
    world.wait_for(lambda: world.log.exists() and world.log.read_text())
    lines = [json.loads(line) for line in world.log.read_text().splitlines()]
    assert lines == [{"code": 200, "path": "/shop/3?x=1"}]
