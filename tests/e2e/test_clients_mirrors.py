"""Copies of calls over real sockets: they arrive whole, and the caller never hears of them."""

from __future__ import annotations

from contextlib import closing

import pytest
from client_calls import Once
from client_world import every_driver, kept, route, service, staged, wait_until
from upstreams import HANG, RESET, Upstream, http

MIRROR = "mirror: {host: shadow}, timeout: 10s"


@every_driver
def test_a_copy_arrives_with_its_body(driver):
    """Method, path, headers and body are those of the call; its Host says that it is a copy."""
    with (
        closing(Upstream([[http()]])) as shadow,
        staged(driver, service("shadow", shadow), route(MIRROR), scripts=[[[http()]]]) as it,
    ):
        response, _ = it.client.call(
            "POST", "http://orders/a?b=c", body=b"x" * 70_000, headers={"x-mine": "1"}
        )
        assert response.status == 200
        wait_until(lambda: len(shadow.requests) == 1 and len(it.world.told) == 2)
        [copy], [original] = shadow.requests, it.upstream.requests
        assert (copy.method, copy.target, copy.body) == ("POST", "/a?b=c", b"x" * 70_000)
        assert copy["host"] == "orders-shadow"
        left_out = ("host",)
        assert [h for h in copy.headers if h[0].lower() not in left_out] == [
            h for h in original.headers if h[0].lower() not in left_out
        ]
        wait_until(it.world.nothing_in_flight)


@every_driver
def test_a_mirror_that_fails_or_hangs_harms_nobody(driver):
    """Its answer is not waited for, whatever becomes of it."""
    with (
        closing(Upstream([[RESET], [HANG], [http(500)]])) as shadow,
        staged(driver, service("shadow", shadow), route(MIRROR), scripts=[[[http()]]]) as it,
    ):
        for _ in range(3):
            response, _ = it.client.call("GET", "http://orders/")
            assert (response.status, response.info.attempts) == (200, 1)
        wait_until(lambda: len(shadow.requests) == 3)
        shadow.close()
        wait_until(it.world.nothing_in_flight)


@every_driver
@pytest.mark.parametrize(("most", "copied"), [(4, [b"only"]), (3, [])])
def test_a_body_that_can_be_read_once_is_copied_if_it_is_kept(driver, most, copied):
    """Behind the first attempt, which reads it; never at the call's cost."""
    with (
        closing(Upstream([[http()]])) as shadow,
        staged(
            driver, service("shadow", shadow), route(MIRROR), kept(most), scripts=[[[http()]]]
        ) as it,
    ):
        response, _ = it.client.call("POST", "http://orders/", body=Once(b"on", b"ly"))
        assert response.status == 200
        assert it.upstream.requests[0].body == b"only"
        wait_until(lambda: len(it.world.told) == 1 + len(copied))
        assert [request.body for request in shadow.requests] == copied


@every_driver
def test_copies_that_are_too_many_are_dropped(driver):
    """Sixty-four hang, the others are not sent, and every call is answered."""
    with (
        closing(Upstream([[HANG]])) as shadow,
        staged(driver, service("shadow", shadow), route(MIRROR), scripts=[[[http()]]]) as it,
    ):
        for _ in range(100):
            response, _ = it.client.call("GET", "http://orders/")
            assert response.status == 200
        assert len(shadow.requests) <= 64
        shadow.close()
        wait_until(it.world.nothing_in_flight)
