"""What `meshware export envoy` writes is taken by the real Envoy, and taken up while it runs."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from conformance.cases import SERVICE, SUBSETS, destination_rule, filled, service_entry
from conformance.cases import virtual_service as rules
from conformance.envoy import Envoy
from conformance.upstreams import NAMES, Upstreams, certificate

from meshware.cli.export import write_export
from meshware.envoy import Settings, export_files
from meshware.policy import decode, parse
from meshware.policy.dns_records import with_names
from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.policy.support import Status, Support
from meshware.policy.view import Client

pytestmark = pytest.mark.conformance

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "envoy"
RULED = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app, namespace: shop}
spec: {address: 127.0.0.1, labels: {app: app}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
---
"""
"""A workload that takes plaintext, before the policies of a golden pair."""

DEPRECATED = {
    "envoy.config.route.v3.RouteAction.max_grpc_timeout",  # written by Istio too; with a successor
}
"""Fields that Envoy 1.40 takes and does not like."""

PORTS = dict.fromkeys((*NAMES, "refused"), 8001)
CLIENT = Client(namespace="default", name="app")
TO = "route: [{destination: {host: orders}}]"
TLS = "trafficPolicy: {tls: {mode: "

# Fields of every subject, done or still to come, in the words of policy.
FIELDS = {
    "delegate": rules(f"- {{{TO}}}"),
    "regex-rewrite": rules(f"- {{{TO}, rewrite: {{uriRegexRewrite: {{match: a, rewrite: b}}}}}}"),
    "cors": rules(
        f"- {{{TO}, corsPolicy: {{allowOrigins: [{{exact: a}}, {{prefix: b}}, {{regex: 'c.*'}}], "
        "allowMethods: [GET], allowHeaders: [x], exposeHeaders: [y], maxAge: 60s, "
        "allowCredentials: true, unmatchedPreflights: IGNORE}}"
    ),
    "mirrors": rules(
        f"- {{{TO}, mirrors: [{{destination: {{host: orders}}, percentage: {{value: 0.5}}}}]}}"
    ),
    "faults": rules(
        f"- {{{TO}, fault: {{delay: {{fixedDelay: 1s, percentage: {{value: 0.1}}}}, "
        "abort: {grpcStatus: UNAVAILABLE, percentage: {value: 3}}}}"
    ),
    "retries": rules(
        f"- {{{TO}, retries: {{attempts: 3, perTryTimeout: 1s, retryOn: '5xx,418', "
        "backoff: 10ms, retryRemoteLocalities: true, retryIgnorePreviousHosts: false}}"
    ),
    "connection-pool": destination_rule(
        "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1, connectTimeout: 1s, "
        "tcpKeepalive: {probes: 3, time: 10s, interval: 5s}, maxConnectionDuration: 60s, "
        "idleTimeout: 5s}, http: {http1MaxPendingRequests: 1, http2MaxRequests: 2, "
        "maxRequestsPerConnection: 3, maxRetries: 4, idleTimeout: 6s, h2UpgradePolicy: UPGRADE, "
        "maxConcurrentStreams: 7}}, retryBudget: {percent: 10, minRetryConcurrency: 2}}"
    ),
    "use-client-protocol": destination_rule(
        "trafficPolicy: {connectionPool: {http: {useClientProtocol: true}}}"
    ),
    "outlier": destination_rule(
        "trafficPolicy: {outlierDetection: {splitExternalLocalOriginErrors: true, "
        "consecutiveLocalOriginFailures: 2, consecutiveGatewayErrors: 3, consecutive5xxErrors: 0, "
        "interval: 1s, baseEjectionTime: 2s, maxEjectionPercent: 50, minHealthPercent: 20}}"
    ),
    "maglev": destination_rule(
        "trafficPolicy: {loadBalancer: {consistentHash: {httpQueryParameterName: q, "
        "maglev: {tableSize: 251}}}}"
    ),
    "ring": destination_rule(
        "trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: c, path: /, ttl: 5s, "
        "attributes: [{name: SameSite, value: Strict}]}, ringHash: {minimumRingSize: 100}}}}"
    ),
    "warmup": destination_rule(
        "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, "
        "warmup: {duration: 30s, minimumPercent: 20, aggression: 2}}}"
    ),
    "distribute": destination_rule(
        "trafficPolicy: {loadBalancer: {localityLbSetting: "
        "{distribute: [{from: '*', to: {'eu/*': 80, 'us/*': 20}}]}}}"
    ),
    "failover": destination_rule(
        "trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: "
        "{failover: [{from: eu, to: us}]}}}"
    ),
    "failover-priority": destination_rule(
        "trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: "
        "{failoverPriority: [version, a=b]}}}"
    ),
    "tls-simple": destination_rule(
        f"{TLS}SIMPLE, sni: a.example, subjectAltNames: [a.example]}}}}"
    ),
    "tls-auto-sni": destination_rule(f"{TLS}SIMPLE}}}}"),
    "tls-unverified": destination_rule(f"{TLS}SIMPLE, insecureSkipVerify: true}}}}"),
    "tls-of-the-mesh": destination_rule(f"{TLS}ISTIO_MUTUAL}}}}"),
    "http2": SERVICE.replace("HTTP}", "HTTP2}").replace("orders", "stock"),
    "original": service_entry(
        "outside",
        """
        hosts: [api.example.com]
        resolution: NONE
        ports: [{number: 80, name: http, protocol: HTTP}]
        """,
    ),
    "first-of-dns": service_entry(
        "outside",
        """
        hosts: [api.example.com]
        resolution: DNS_ROUND_ROBIN
        ports: [{number: 80, name: http, protocol: HTTP}]
        """,
    ),
    "socket": service_entry(
        "outside",
        """
        hosts: [api.example.com]
        resolution: STATIC
        ports: [{number: 80, name: http, protocol: HTTP}]
        endpoints: [{address: "unix:///tmp/api.sock"}]
        """,
    ),
    "dns": service_entry(
        "outside",
        """
        hosts: [api.example.com]
        resolution: DNS
        ports: [{number: 80, name: http, protocol: HTTP}]
        endpoints: [{address: localhost}]
        """,
    ),
}
LOCAL = SERVICE.replace("{version: v1}}", "{version: v1}, locality: eu/one/a}").replace(
    "{version: v2}}", "{version: v2}, locality: us/two/b}"
)


def records_of(*texts: str, ports: dict[str, int] = PORTS) -> MemoryRecords:
    """Records of policy about the namespace `shop`."""
    text = "\n---\n".join(filled(text, "shop", ports) for text in texts)
    return MemoryRecords(with_names(build_records(load_text(text).resources)))


@pytest.mark.parametrize("subject", FIELDS)
def test_envoy_takes_every_field_that_is_exported(engine, tmp_path, monkeypatch, subject):
    """Also those that the mesh itself is still to carry out."""
    done = Support(Status.DONE)
    for module in (decode, parse):
        monkeypatch.setattr(module, "support_of", lambda _path: done)
    records = records_of(LOCAL, FIELDS[subject])
    ca_file = tmp_path / "ca.crt"
    ca_file.write_bytes(certificate("ca.example"))
    settings = Settings(directory=str(tmp_path), locality="eu/one/a", ca_file=str(ca_file))
    export = export_files(records, CLIENT, settings)
    write_export(export, tmp_path)
    is_valid(engine("envoy"), tmp_path)
    expected = ["which takes an identity"] if subject == "tls-of-the-mesh" else []
    told = [warning for warning in export.warnings if "workload" not in warning]
    assert [word for word in expected if not any(word in warning for warning in told)] == []
    assert len(told) == len(expected)


def is_valid(program: str, directory: Path) -> None:
    """Envoy itself has nothing against a configuration, and finds no field in it deprecated."""
    static = directory / "static.json"
    static.write_text(json.dumps(in_one(directory)))
    done_by = subprocess.run(
        [program, "--mode", "validate", "-c", str(static)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    said = done_by.stderr.decode()
    assert done_by.returncode == 0, said[-2000:]
    deprecated = set(re.findall(r"deprecated option '([\w.]+)'", said))
    assert deprecated <= DEPRECATED, deprecated


def in_one(directory: Path) -> dict[str, object]:
    """A configuration whose files are put into the bootstrap: validating follows none of them."""

    def resources(name: str) -> list[dict[str, object]]:
        found = json.loads((directory / name).read_text())["resources"]
        return [{key: value for key, value in each.items() if key != "@type"} for each in found]

    [routes] = resources("rds.json")
    listeners, clusters = resources("lds.json"), resources("cds.json")
    for listener in listeners:
        for chain in listener["filter_chains"]:
            manager = chain["filters"][0]["typed_config"]
            if manager.pop("rds", None) is not None:
                manager["route_config"] = routes
    for cluster in clusters:
        if source := cluster.pop("eds_cluster_config", None):
            path = Path(source["eds_config"]["path_config_source"]["path"])
            [endpoints] = json.loads(path.read_text())["resources"]
            del endpoints["@type"]
            cluster |= {"type": "STATIC", "load_assignment": endpoints}
    bootstrap = json.loads((directory / "bootstrap.json").read_text())
    del bootstrap["dynamic_resources"]
    return bootstrap | {"static_resources": {"listeners": listeners, "clusters": clusters}}


def test_a_field_that_envoy_does_not_know_is_not_valid(engine, tmp_path):
    """So the tests of validity could fail, in every file."""
    settings = Settings(directory=str(tmp_path))
    write_export(export_files(records_of(SERVICE), CLIENT, settings), tmp_path)
    is_valid(engine("envoy"), tmp_path)
    for name in ("lds.json", "cds.json", "rds.json", *(f"eds/{p.name}" for p in eds(tmp_path))):
        path = tmp_path / name
        kept = path.read_text()
        content = json.loads(kept)
        content["resources"][0]["nonsense"] = 1
        path.write_text(json.dumps(content))
        with pytest.raises(AssertionError, match="nonsense"):
            is_valid(engine("envoy"), tmp_path)
        path.write_text(kept)


def eds(directory: Path) -> list[Path]:
    return sorted((directory / "eds").iterdir())


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.in.yaml")), ids=lambda path: path.name)
def test_envoy_takes_the_rules_of_every_golden_pair(engine, tmp_path, path):
    """What is written down as right is right to Envoy too."""
    loaded = load_text(RULED + path.read_text())
    loaded.raise_for_errors()
    records = MemoryRecords(build_records(loaded.resources))
    ca_file = tmp_path / "ca.crt"
    ca_file.write_bytes(certificate("ca.example"))
    settings = Settings(directory=str(tmp_path), inbound=("127.0.0.1", 18443), ca_file=str(ca_file))
    client = Client(namespace="shop", name="app")
    export = export_files(records, client, settings)
    write_export(export, tmp_path)
    is_valid(engine("envoy"), tmp_path)


@asynccontextmanager
async def _running(program: Path, directory: Path) -> AsyncIterator[tuple[Envoy, Upstreams]]:
    async with Upstreams(directory) as upstreams:
        first = records_of(SERVICE, destination_rule("", subsets=SUBSETS), ports=upstreams.ports)
        async with Envoy(program, directory, first, CLIENT, endpoints="files") as envoy:
            yield envoy, upstreams


def test_a_running_envoy_takes_up_what_is_exported_anew(engine, tmp_path):
    """Routes, clusters and endpoints: by moving files into the place of those before."""

    async def play() -> None:
        async with (
            _running(Path(engine("envoy")), tmp_path) as (envoy, upstreams),
            httpx.AsyncClient(trust_env=False) as client,
        ):

            async def becomes(path: str, said: str, *policies: str) -> None:
                envoy.replace(records_of(*policies, ports=upstreams.ports))
                for _ in range(600):
                    host = {"host": "orders.shop"}
                    answer = await client.get(f"http://127.0.0.1:{envoy.port}{path}", headers=host)
                    if answer.text == said:
                        return
                    await asyncio.sleep(0.05)
                raise AssertionError(f"Envoy still answers {answer.status_code} {answer.text}")

            only_a = SERVICE.replace("$b", "$a")
            await becomes("/", "a", only_a)
            moved = only_a.replace("$a", "$c")
            await becomes("/", "c", moved)  # endpoints alone
            said = rules('- {directResponse: {status: 200, body: {string: "by route"}}}')
            await becomes("/", "by route", moved, said)
            subset = rules("- {route: [{destination: {host: orders, subset: v2}}]}")
            changed = SERVICE.replace("$b", "$e")
            await becomes("/", "e", changed, destination_rule("", subsets=SUBSETS), subset)

    asyncio.run(play())


def test_an_app_calls_through_it_as_its_proxy(engine, tmp_path):
    """`http_proxy` is all that an app in any language needs."""

    async def play() -> None:
        async with _running(Path(engine("envoy")), tmp_path) as (envoy, _):
            proxy = f"http://127.0.0.1:{envoy.port}"
            async with httpx.AsyncClient(proxy=proxy, trust_env=False) as client:
                answer = await client.get("http://orders.shop/x")
                assert answer.text in ("a", "b")
                assert (await client.get("http://orders.shop:81/")).status_code == 503  # no such

    asyncio.run(play())
