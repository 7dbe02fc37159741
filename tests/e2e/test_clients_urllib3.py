"""What only urllib3 has: bodies read at once or not, the caller's own `retries`, pools by host."""

from __future__ import annotations

import gzip
from contextlib import closing, contextmanager

import pytest
import urllib3
from client_world import RETRY_5XX, World, declared_safe, route, service
from upstreams import FAILS, HANG, OK, Upstream, http, refusing
from urllib3.exceptions import MaxRetryError, ReadTimeoutError

from meshware.clients.urllib3 import MeshPoolManager

UNAVAILABLE = [http(503, b"later", "Retry-After: 0")]


@contextmanager
def place(*script, rule: str = "", **options):
    """A service `orders` in a mesh, and a manager that calls it."""
    with closing(Upstream(script)) as upstream:
        world = World(service("orders", upstream), *([route(rule)] if rule else []))
        with MeshPoolManager(world, **options) as manager:
            yield manager, upstream, world
        assert world.nothing_in_flight()


def test_the_shortest_way_reads_the_body():
    """And the connection is free for the next call."""
    with place(OK) as (manager, upstream, world):
        for _ in range(3):
            response = manager.request("GET", "http://orders/", fields={"q": "a b"})
            assert (response.status, response.data) == (200, b"ok")
            assert response.meshware.attempts == 1
            assert isinstance(response, urllib3.HTTPResponse)
        assert upstream.connections == 1
        assert upstream.requests[0].target == "/?q=a+b"
        assert all(event.complete for event in world.told)


def test_json_and_forms_are_bodies_that_can_be_sent_again():
    """They are bytes by the time that the mesh sees them."""
    with place(FAILS, OK, FAILS, OK, rule=RETRY_5XX_RULE) as (manager, upstream, _):
        response = manager.request("PUT", "http://orders/", json={"a": 1})
        assert (response.status, response.meshware.attempts) == (200, 2)
        assert [request.body for request in upstream.requests] == [b'{"a":1}'] * 2
        response = manager.request("PUT", "http://orders/", fields={"a": "1"})
        assert (response.status, response.meshware.attempts) == (200, 2)


RETRY_5XX_RULE = RETRY_5XX.strip()


def test_a_body_is_unpacked_where_the_caller_wants_that():
    """As by default; and else not."""
    packed = gzip.compress(b"unpacked")
    with place([http(200, packed, "Content-Encoding: gzip")]) as (manager, _, _):
        assert manager.request("GET", "http://orders/").data == b"unpacked"
        assert manager.request("GET", "http://orders/", decode_content=False).data == packed
        response = manager.request("GET", "http://orders/", preload_content=False)
        assert b"".join(response.stream(4)) == b"unpacked"


def test_headers_of_several_lines_arrive_as_they_are():
    """And a caller's own Host too."""
    with place(OK) as (manager, upstream, _):
        headers = urllib3.HTTPHeaderDict([("X-A", "1"), ("X-A", "2"), ("Host", "shop.example")])
        manager.request("GET", "http://orders/", headers=headers)
        [request] = upstream.requests
        assert request.all("x-a") == ["1, 2"] or request.all("x-a") == ["1", "2"]
        assert request.all("host") == ["shop.example"]


def test_answers_that_the_callers_retries_name_are_asked_for_again():
    """Each as a call of its own, on top of what policy does."""
    retries = urllib3.Retry(total=3, status_forcelist=[500], backoff_factor=0)
    with place(FAILS, FAILS, OK) as (manager, upstream, world):
        response = manager.request("GET", "http://orders/", retries=retries)
        assert (response.status, len(upstream.requests)) == (200, 3)
        assert [event.attempts for event in world.told] == [1, 1, 1]
        assert len(response.retries.history) == 2


def test_what_the_callers_retries_do_not_name_is_the_answer():
    """An ordinary failure of a service is no exception."""
    with refusing() as port, MeshPoolManager(World(service("orders", port))) as manager:
        response = manager.request("GET", "http://orders/")
        assert (response.status, response.meshware.flags) == (503, "UF,URX")


def test_the_callers_retries_run_out():
    """As without the mesh: with an exception, or with the last answer."""
    with place(UNAVAILABLE) as (manager, upstream, _):
        loud = urllib3.Retry(1, status_forcelist=[503])
        with pytest.raises(MaxRetryError):
            manager.request("GET", "http://orders/", retries=loud)
        assert len(upstream.requests) == 2
        for quiet in (loud.new(raise_on_status=False), 1, False):
            assert manager.request("GET", "http://orders/", retries=quiet).status == 503
        assert len(upstream.requests) == 2 + 2 + 2 + 1


def test_a_post_is_not_asked_for_again():
    """Neither by urllib3's word nor by ours; a `ServicePolicy` speaks to the mesh alone."""
    with place(UNAVAILABLE) as (manager, upstream, world):
        world.apply([service("orders", upstream), declared_safe("POST")])
        assert manager.request("POST", "http://orders/", body=b"pay").status == 503
        assert len(upstream.requests) == 1


def test_redirects_count_among_the_callers_retries():
    """They are followed by the manager."""
    script = [http(302, b"", "Location: /b")], [http(302, b"", "Location: http://orders/c")], OK
    with place(*script) as (manager, upstream, _):
        response = manager.request("GET", "http://orders/a")
        assert (response.status, response.data) == (200, b"ok")
        assert [request.target for request in upstream.requests] == ["/a", "/b", "/c"]
    with place(*script) as (manager, _, _), pytest.raises(MaxRetryError):
        manager.request("GET", "http://orders/a", retries=urllib3.Retry(redirect=1))


def test_a_pool_of_the_managers_is_the_meshs_too():
    """For callers that look one up."""
    script = OK, [http(302, b"", "Location: /b")], OK
    with place(*script) as (manager, upstream, _):
        pool = manager.connection_from_url("http://orders/")
        assert pool.request("GET", "/x?y").meshware.attempts == 1
        assert pool.urlopen("GET", "/a").status == 200
        assert [request.target for request in upstream.requests] == ["/x?y", "/a", "/b"]
        assert {request["host"] for request in upstream.requests} == {"orders"}


def test_the_managers_own_timeout_holds_for_every_call():
    """It bounds the wait for headers."""
    with place([HANG], timeout=urllib3.Timeout(read=0.2)) as (manager, upstream, world):
        with pytest.raises(ReadTimeoutError):
            manager.request("GET", "http://orders/")
        assert (len(upstream.requests), world.last.flags) == (1, "DC")


def test_strangers_are_called_as_without_the_mesh():
    """With the caller's retries for everything, and one event for it all."""
    with place(UNAVAILABLE, OK) as (manager, upstream, world):
        response = manager.request("GET", f"http://{upstream.key}/")
        assert (response.status, response.data, response.meshware.route) == (
            200,
            b"ok",
            "allow_any",
        )
        assert len(upstream.requests) == 2
        assert world.last.complete
