"""What the clients send again, and what they never do: requests counted at the other end."""

from __future__ import annotations

import io

import pytest
from client_calls import Once
from client_drivers import DRIVERS
from client_world import RETRY_5XX, declared_safe, every_driver, kept, route, staged
from upstreams import CLOSE, FAILS, OK, RESET, refusing
from urllib3.exceptions import ReadTimeoutError

from meshware.clients.failures import causes

ONE_SHOT = {"an iterator": lambda: Once(b"ab", b"cd"), "a file": lambda: io.BytesIO(b"abcd")}

every_one_shot_body = pytest.mark.parametrize(
    ("driver", "kind"),
    [
        pytest.param(driver, kind, id=f"{driver.name}, {kind}")
        for driver in DRIVERS
        for kind in ONE_SHOT
        if kind != "a file" or driver.can("sends a file as the body")
    ],
)


@every_driver
def test_a_get_is_repeated_until_it_succeeds(driver):
    """Istio's `attempts: 2` allows three requests; the caller sees the last answer only."""
    with staged(driver, route(RETRY_5XX), scripts=[[FAILS, FAILS, OK]]) as it:
        response, body = it.client.call("GET", "http://orders/a?b=c")
        assert (response.status, body) == (200, b"ok")
        assert (response.info.attempts, response.info.flags) == (3, "-")
        assert (response.info.endpoint, response.info.route) == (it.upstream.key, "main")
        assert [request.target for request in it.upstream.requests] == ["/a?b=c"] * 3
        assert [request["x-envoy-attempt-count"] for request in it.upstream.requests] == list("123")
        assert len({request["x-request-id"] for request in it.upstream.requests}) == 1


@every_driver
def test_when_retries_run_out_the_upstreams_own_answer_is_the_callers(driver):
    """The flag says why there was no more."""
    with staged(driver, route(RETRY_5XX), scripts=[[FAILS]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        assert (response.status, body) == (500, b"broken")
        assert (response.info.attempts, response.info.flags) == (3, "URX")
        assert it.requests == 3


@every_driver
@pytest.mark.parametrize("is_declared", [False, True], ids=["", "declared safe"])
def test_a_post_is_repeated_only_where_its_owner_says_so(driver, is_declared):
    """A `ServicePolicy` is the owner's word; no retry policy replaces it."""
    policies = [route(RETRY_5XX), *([declared_safe("POST")] if is_declared else [])]
    with staged(driver, *policies, scripts=[[FAILS, FAILS, OK]]) as it:
        response, _ = it.client.call("POST", "http://orders/", body=b"pay")
        expected = (200, 3) if is_declared else (500, 1)
        assert (response.status, response.info.attempts) == expected
        assert response.info.flags == "-"
        assert [request.body for request in it.upstream.requests] == [b"pay"] * expected[1]


@every_driver
def test_a_get_that_its_owner_calls_unsafe_is_sent_once(driver):
    """The word counts both ways."""
    unsafe = declared_safe("GET", is_safe=False)
    with staged(driver, route(RETRY_5XX), unsafe, scripts=[[FAILS]]) as it:
        response, _ = it.client.call("GET", "http://orders/")
        assert (response.status, it.requests) == (500, 1)


@every_driver
def test_a_body_in_memory_is_sent_whole_each_time(driver):
    """PUT is idempotent, and bytes can be sent again."""
    body = b"0123456789" * 20_000  # more than socket buffers take at once
    with staged(driver, route(RETRY_5XX), scripts=[[FAILS, FAILS, OK]]) as it:
        response, _ = it.client.call("PUT", "http://orders/", body=body)
        assert response.status == 200
        assert [request.body for request in it.upstream.requests] == [body] * 3


@every_one_shot_body
def test_a_body_that_can_be_read_once_is_kept_and_sent_again(driver, kind):
    """Up to 64 KiB of it, unless policy says otherwise."""
    with staged(driver, route(RETRY_5XX), scripts=[[FAILS, FAILS, OK]]) as it:
        response, _ = it.client.call("PUT", "http://orders/", body=ONE_SHOT[kind]())
        assert (response.status, response.info.attempts) == (200, 3)
        assert [request.body for request in it.upstream.requests] == [b"abcd"] * 3


@every_one_shot_body
def test_a_body_that_is_gone_is_not_sent_again(driver, kind):
    """Whatever policy and method allow: what is left of it would be another request."""
    with staged(driver, route(RETRY_5XX), kept(3), scripts=[[FAILS, OK]]) as it:
        response, _ = it.client.call("PUT", "http://orders/", body=ONE_SHOT[kind]())
        assert (response.status, response.info.attempts) == (500, 1)
        assert [request.body for request in it.upstream.requests] == [b"abcd"]


@every_driver
@pytest.mark.parametrize(("size", "attempts"), [(65_536, 2), (65_537, 1)])
def test_what_is_kept_is_bounded(driver, size, attempts):
    """To the byte; a longer body is sent whole, and once."""
    body = [b"x" * 16_384] * 4 + [b"x"] * (size - 65_536)
    with staged(driver, route(RETRY_5XX), scripts=[[FAILS, OK]]) as it:
        response, _ = it.client.call("PUT", "http://orders/", body=Once(*body))
        assert (response.status, response.info.attempts) == (
            200 if attempts == 2 else 500,
            attempts,
        )
        assert [len(request.body) for request in it.upstream.requests] == [size] * attempts


@every_one_shot_body
@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_body_that_is_gone_is_not_sent_again_after_a_lost_connection(driver, kind, end):
    """The upstream may have acted on it."""
    with staged(driver, route(RETRY_5XX), kept(0), scripts=[[[end], OK]]) as it:
        response, body = it.client.call("PUT", "http://orders/", body=ONE_SHOT[kind]())
        assert (response.status, response.info.flags, it.requests) == (503, "UC", 1)
        assert body.startswith(b"upstream connect error or disconnect/reset before headers.")


@every_one_shot_body
def test_a_body_of_which_no_byte_was_sent_goes_to_the_next_endpoint(driver, kind):
    """A refused connection carried nothing: even a POST is sent, whole, and once."""
    with refusing() as port, staged(driver, scripts=[[OK]], refusing=port) as it:
        attempts = []
        for _ in range(2):  # one of the two at least meets the port that refuses first
            response, _ = it.client.call("POST", "http://orders/", body=ONE_SHOT[kind]())
            assert response.status == 200
            attempts.append(response.info.attempts)
        assert max(attempts) == 2
        assert [request.body for request in it.upstream.requests] == [b"abcd"] * 2


@every_driver
@pytest.mark.parametrize("error", [TimeoutError, ConnectionResetError, ValueError, "ReadTimeout"])
def test_an_error_in_the_callers_own_body_is_the_callers(driver, error):
    """Whatever it looks like, no attempt failed: it is not judged, not answered, not repeated."""
    if error == "ReadTimeout":  # of a library: the body may well be another response of it
        kind = driver.errors.headers_timed_out
        made = kind(None, "/", "of the body") if kind is ReadTimeoutError else kind("of the body")
    else:
        made = error("of the body")
    with staged(driver, route(RETRY_5XX), scripts=[[OK]]) as it:
        with pytest.raises((type(made), driver.error)) as caught:
            it.client.call("PUT", "http://orders/", body=Once(b"ab", made))
        is_os_error = isinstance(made, OSError)
        if driver.can("raises the very exception of the caller's own body") or not is_os_error:
            assert caught.value is made
        else:
            assert made in causes(caught.value)
        assert all(not request.is_whole for request in it.upstream.requests)
        assert (it.world.last.flags, it.world.last.attempts) == ("DC", 1)


@every_driver
@pytest.mark.parametrize("value", ["\N{EURO SIGN}", "a\nb"], ids=["beyond Latin-1", "two lines"])
def test_a_callers_mistake_is_the_callers_whatever_it_is_busy_with(driver, value):
    """A call is often made while another's failure is handled; that one is not this one's."""
    with staged(driver, route(RETRY_5XX), scripts=[[OK]]) as it:
        if value == "\N{EURO SIGN}" and not driver.can("refuses headers beyond Latin-1"):
            assert it.client.call("GET", "http://orders/", headers={"X-A": value})[1] == b"ok"
            return

        def mistake() -> None:
            with pytest.raises((ValueError, driver.error)) as caught:
                it.client.call("GET", "http://orders/", headers={"X-A": value})
            raised.append(type(caught.value))

        raised: list[type] = []
        mistake()
        try:
            raise ConnectionResetError
        except ConnectionResetError:
            mistake()
        assert raised[0] is raised[1]
        assert it.requests == 0


@every_driver
def test_a_lost_connection_is_repeated_where_policy_wants_it(driver):
    """The request was sent, so it must be safe to repeat; a GET is."""
    rule = route("retries: {attempts: 2, retryOn: reset}")
    with staged(driver, rule, scripts=[[[CLOSE], [RESET], OK]]) as it:
        response, _ = it.client.call("GET", "http://orders/")
        assert (response.status, response.info.attempts, it.requests) == (200, 3, 3)


@every_driver
def test_the_connection_of_a_discarded_answer_is_not_left_open(driver):
    """Its body is not the caller's to read; it may even never end."""
    endless = [b"HTTP/1.1 500 Said\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"]
    with staged(driver, route(RETRY_5XX), scripts=[[endless, OK]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        assert (response.status, body, response.info.attempts) == (200, b"ok", 2)
        assert it.upstream.connections == 2
        it.client.close()
        it.upstream.wait_until_left()
