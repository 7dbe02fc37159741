"""Calls that go where the caller's URL says, or to an egress proxy, under policy all the same."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager

import pytest
from client_drivers import Driver
from client_world import REGISTRY_ONLY, World, every_driver
from upstreams import FAILS, HANG, OK, Upstream, refusing

pytestmark = every_driver


def entry(port: int, resolution: str | None = "NONE", host: str = "localhost", **spec) -> str:
    """A service whose callers say where it is."""
    given = {
        "hosts": [host],
        "ports": [{"number": port, "name": "http", "protocol": "HTTP"}],
        **({"resolution": resolution} if resolution else {}),
        **spec,
    }
    return resource("ServiceEntry", given)


def resource(kind: str, spec, name: str = "it") -> str:
    """Any resource of Istio's."""
    return f"""
apiVersion: networking.istio.io/v1
kind: {kind}
metadata: {{name: {name}}}
spec: {json.dumps(spec)}
"""


def rules(rule: dict, host: str = "localhost") -> str:
    """A VirtualService with one rule."""
    http = [{"name": "main", "route": [{"destination": {"host": host}}], **rule}]
    return resource("VirtualService", {"hosts": [host], "http": http})


@contextmanager
def staged(driver: Driver, *policies: str):
    """A client with the mesh between; nothing is left in flight at the end."""
    world = World(*policies)
    with driver.client(world) as client:
        yield client, world
    assert world.nothing_in_flight()


@pytest.mark.parametrize(
    ("resolution", "host"),
    [
        ("NONE", "localhost"),
        (None, "localhost"),
        ("NONE", "*.default.svc.cluster.local"),
        ("DYNAMIC_DNS", "*.default.svc.cluster.local"),
    ],
)
def test_a_call_goes_where_its_url_says(driver, resolution, host):
    """By the system's resolver; the mesh knows the service, and says which it was."""
    with closing(Upstream([OK])) as upstream:
        policy = entry(upstream.port, resolution, host)
        with staged(driver, policy, REGISTRY_ONLY) as (client, world):
            url = f"http://localhost:{upstream.port}/a?b=c"
            response, body = client.call("GET", url, headers={"Host": "shop.example"})
            assert (response.status, body) == (200, b"ok")
            assert response.info.endpoint == f"localhost:{upstream.port}"
            assert response.info.route == "default"
            [request] = upstream.requests
            assert (request.target, request["host"]) == ("/a?b=c", "shop.example")
            assert "x-request-id" in dict(request.headers)
            assert world.last.cluster.startswith(f"outbound|{upstream.port}||")


def test_rules_for_a_pattern_lead_to_the_host_that_was_dialled(driver):
    """The pattern is their destination: it names every host that it covers."""
    pattern = "*.default.svc.cluster.local"
    policies = (rules({"timeout": "5s"}, pattern), REGISTRY_ONLY)
    with (
        closing(Upstream([OK])) as upstream,
        staged(driver, entry(upstream.port, "NONE", pattern), *policies) as (client, _),
    ):
        response, _ = client.call("GET", f"http://localhost:{upstream.port}/")
        assert (response.info.route, response.status) == ("main", 200)
        assert response.info.endpoint == f"localhost:{upstream.port}"


def test_another_destination_has_a_place_of_its_own(driver):
    """Envoy would call the address that was dialled, whatever the destination."""
    with closing(Upstream([OK])) as dialled, closing(Upstream([OK])) as other:
        to_other = {"host": "127.0.0.1", "port": {"number": other.port}}
        rule = {"hosts": ["localhost"], "http": [{"route": [{"destination": to_other}]}]}
        policies = (
            entry(dialled.port),
            resource(
                "ServiceEntry",
                {
                    "hosts": ["127.0.0.1"],
                    "resolution": "NONE",
                    "ports": [{"number": other.port, "name": "http", "protocol": "HTTP"}],
                },
                "other",
            ),
            resource("VirtualService", rule),
        )
        with staged(driver, *policies) as (client, _):
            response, _ = client.call("GET", f"http://localhost:{dialled.port}/")
            assert response.info.endpoint == other.key
            assert (len(dialled.requests), len(other.requests)) == (0, 1)


def test_retries_and_changes_of_policy_hold(driver):
    """The host is found anew at each try, and is the only endpoint: it is met again."""
    rule = {
        "retries": {"attempts": 2, "retryOn": "5xx"},
        "headers": {"request": {"set": {"x-shop": "ours"}}},
    }
    with (
        closing(Upstream([FAILS, OK])) as upstream,
        staged(driver, entry(upstream.port), rules(rule)) as (client, _),
    ):
        response, _ = client.call("GET", f"http://localhost:{upstream.port}/")
        assert (response.status, response.info.attempts) == (200, 2)
        assert [request["x-shop"] for request in upstream.requests] == ["ours", "ours"]


def test_a_time_out_of_policy_holds(driver):
    """What passes the mesh by would wait for ever."""
    with (
        closing(Upstream([[HANG]])) as upstream,
        staged(driver, entry(upstream.port), rules({"timeout": "0.2s"})) as (client, _),
    ):
        response, body = client.call("GET", f"http://localhost:{upstream.port}/")
        assert (response.status, body) == (504, b"upstream request timeout")
        assert response.info.flags == "UT"


def test_a_host_that_refuses_is_a_reply_of_the_mesh(driver):
    """As of any destination of the mesh, and unlike what it does not know."""
    with refusing() as port, staged(driver, entry(port)) as (client, world):
        response, body = client.call("GET", f"http://localhost:{port}/")
        assert response.status == 503
        assert b"upstream connect error" in body
        assert "UF" in response.info.flags
        assert world.last.status == 503


def test_a_name_that_nobody_knows_is_a_reply_of_the_mesh(driver):
    """The client library looks it up, and what it raises is told to the mesh alone."""
    short = resource(
        "DestinationRule",
        {
            "host": "*.invalid",
            "trafficPolicy": {"connectionPool": {"tcp": {"connectTimeout": "2s"}}},
        },
    )
    with staged(driver, entry(80, "DYNAMIC_DNS", "*.invalid"), short) as (client, _):
        response, body = client.call("GET", "http://nowhere.invalid/")
        assert response.status == 503
        assert b"upstream connect error" in body
        assert "UF" in response.info.flags


def test_a_limit_of_policy_holds(driver):
    """Outlier detection counts the host as it counts any endpoint."""
    rule = {
        "host": "localhost",
        "trafficPolicy": {
            "outlierDetection": {"consecutive5xxErrors": 1, "maxEjectionPercent": 100}
        },
    }
    with closing(Upstream([FAILS])) as upstream:
        policies = (entry(upstream.port), resource("DestinationRule", rule))
        with staged(driver, *policies) as (client, _):
            url = f"http://localhost:{upstream.port}/"
            assert client.call("GET", url)[0].status == 500
            response, body = client.call("GET", url)
            assert (response.status, body) == (503, b"no healthy upstream")
            assert len(upstream.requests) == 1


def test_pass_through_balancing_goes_where_the_url_says(driver):
    """Istio: PASSTHROUGH, whatever endpoints there are."""
    rule = {"host": "localhost", "trafficPolicy": {"loadBalancer": {"simple": "PASSTHROUGH"}}}
    with closing(Upstream([OK])) as upstream:
        endpoints = [{"address": "192.0.2.1"}]
        policy = entry(upstream.port, "STATIC", endpoints=endpoints)
        with staged(driver, policy, resource("DestinationRule", rule)) as (client, _):
            response, _ = client.call("GET", f"http://localhost:{upstream.port}/")
            assert response.info.endpoint == f"localhost:{upstream.port}"


def test_an_address_of_a_service_names_it(driver):
    """A virtual address is dialled by callers, and by nobody else."""
    with closing(Upstream([OK])) as upstream:
        endpoint = {"address": "127.0.0.1", "ports": {"http": upstream.port}}
        policy = entry(
            80,
            "STATIC",
            "shop.test",
            addresses=["192.0.2.7", "198.51.100.0/24"],
            endpoints=[endpoint],
        )
        with staged(driver, policy, REGISTRY_ONLY) as (client, _):
            for address in ("192.0.2.7", "198.51.100.200"):
                response, body = client.call("GET", f"http://{address}/")
                assert (response.status, body) == (200, b"ok")
                assert response.info.endpoint == upstream.key
                assert upstream.requests[-1]["host"] == address
            assert client.call("GET", "http://192.0.2.8/")[0].status == 502


def test_an_egress_proxy_gets_what_the_mesh_does_not_know(driver):
    """With Host as the caller wrote it, whatever is known goes its own way."""
    with closing(Upstream([OK])) as proxy, closing(Upstream([OK])) as shop:
        policies = (
            entry(
                8080,
                "STATIC",
                "egress.test",
                endpoints=[{"address": "127.0.0.1", "ports": {"http": proxy.port}}],
            ),
            resource(
                "ServiceEntry",
                {
                    "hosts": ["shop.test"],
                    "resolution": "STATIC",
                    "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
                    "endpoints": [{"address": "127.0.0.1", "ports": {"http": shop.port}}],
                },
                "shop",
            ),
            resource(
                "Sidecar",
                {
                    "outboundTrafficPolicy": {
                        "mode": "ALLOW_ANY",
                        "egressProxy": {"host": "egress.test", "port": {"number": 8080}},
                    }
                },
            ),
        )
        with staged(driver, *policies) as (client, world):
            response, _ = client.call("GET", "http://unknown.example:81/a")
            assert (response.info.route, response.info.endpoint) == ("allow_any", proxy.key)
            assert world.last.cluster == "outbound|8080||egress.test"
            [request] = proxy.requests
            assert (request["host"], request.target) == ("unknown.example:81", "/a")
            response, _ = client.call("GET", "http://shop.test/")
            assert response.info.endpoint == shop.key
            assert len(proxy.requests) == 1
