"""What is refused because two parsers could read it in two ways."""

from __future__ import annotations

import pytest
from inbound_world import NOTHING, policy, request, status_of, when

from meshware.inbound.header_names import header_names
from meshware.inbound.wellformed import complaint, plain_path, split_target
from meshware.testing import TestMesh


def wrong(head):
    """What is wrong with a request, of whose headers policy reads none."""
    nothing = frozenset()
    names = header_names(head.names)
    return complaint(head, names, plain_path(head), read=nothing, values_read=nothing)


def case(name, target="/", **given):
    """A row with its id."""
    return pytest.param(target, given, id=name)


@pytest.mark.parametrize(
    ("target", "given"),
    [
        case("plain"),
        case("query", "/a?b=/../c"),
        case("OPTIONS of a path", method="OPTIONS"),
        case("a method of one's own", method="M-SEARCH"),
        case("host with port", host="shop.com:8080"),
        case("IPv4 host", host="10.0.0.1:80"),
        case("IPv6 host", host="[2001:db8::1]:80"),
        case("IPv6 host with a zone", host="[fe80::1%25eth0]"),
        case("host with a trailing dot", host="shop.com."),
        case("host with blanks around", host=" shop.com\t"),
        case("no host in HTTP/1.0", host=None, version="1.0"),
        case("chunked", headers=[("transfer-encoding", "chunked")]),
        case("length", headers=[("content-length", "5")]),
        case("absolute target", "http://app/a"),
        case("absolute target without a path", "http://app"),
        case("absolute target, other case", "HTTP://APP/a"),
        case("absolute target, default port", "http://app:80/a"),
        case("absolute target, default port in Host", "http://app/a", host="app:80"),
        case("a header with an underscore that nobody reads", headers=[("x_user", "1")]),
        case("characters outside ASCII", "/caf%c3%a9"),
        case("an escaped hash", "/a%23b"),
        case("an escaped question mark", "/a%3fb"),
        case("a WebSocket", scheme="ws"),
    ],
)
def test_what_can_mean_one_thing_only_passes(target, given):
    """Nothing to complain of, and nothing decided yet."""
    assert wrong(request(target, **given)) is None


@pytest.mark.parametrize(
    ("target", "given"),
    [
        case("lower-case method", method="get"),
        case("mixed method", method="Get"),
        case("empty method", method=""),
        case("method with a blank", method="GET "),
        case("method with a line end", method="GET\n"),
        case("no host in HTTP/1.1", host=None),
        case("two hosts", headers=[("host", "other")]),
        case("two hosts alike", headers=[("host", "app")]),
        case("two hosts joined", host="app,other"),
        case("two hosts joined with a blank", host="app, other"),
        case("empty host", host=""),
        case("host with a path", host="app/admin"),
        case("host with a query", host="app/admin?"),
        case("host with a fragment", host="app#x"),
        case("host with a user", host="me@app"),
        case("host with a blank inside", host="app evil"),
        case("host with a line end", host="app\n"),
        case("host with a backslash", host="app\\x"),
        case("host with a word for a port", host="app:http"),
        case("host with a long port", host="app:808080"),
        case("host with two ports", host="app:80:80"),
        case("host with digits outside ASCII", host="app:\uff18\uff10"),
        case("host with letters outside ASCII", host="\u0430pp"),
        case("host with two dots at its end", host="app.."),
        case("bare IPv6 host", host="2001:db8::1"),
        case("broken IPv6 host", host="[2001:db8::1"),
        case("length and chunked",
             headers=[("content-length", "5"), ("transfer-encoding", "chunked")]),
        case("no slash", "admin", paths=("admin",)),
        case("empty target", "", paths=("",)),
        case("query alone", "?x=1", paths=("",)),
        case("asterisk", "*", paths=("*",), method="OPTIONS"),
        case("authority alone", "app:80", paths=("app:80",), method="CONNECT"),
        case("the app sees no slash", "/admin", paths=("admin",)),
        case("the app sees the whole URL", "http://app/a", paths=("http://app/a",)),
        case("absolute target, another host", "http://evil/a", paths=("/a",)),
        case("absolute target, another port", "http://app:81/a", paths=("/a",)),
        case("absolute target with a user", "http://app@evil/a", paths=("/a",)),
        case("absolute target, host with a hash", "http://app#@evil/a", host="evil",
             paths=("/a",)),
        case("another scheme", "ftp:/a", paths=("/a",)),
        case("NUL", "/a%00"),
        case("line end", "/admin%0a"),
        case("carriage return", "/admin%0d"),
        case("tab", "/ad%09min"),
        case("DEL", "/a%7f"),
        case("escape", "/a%1b"),
        case("control in the target that the server left out", "/ad\tmin", paths=("/admin",)),
        case("control in the query", "/a?b=\x01", paths=("/a",)),
        case("nothing but a name behind a prefix", "/xadmin", paths=("/xadmin", "admin")),
        case("the same, cut by the server", "/apiadmin", paths=("/apiadmin",),
             partial_paths=("admin",)),
        case("a control character in another path that the app may see", "/a",
             paths=("/a", "/a\n")),
        case("twin of a header that the mesh reads", headers=[("x_request_id", "1")]),
        case("twin of Host", headers=[("content_length", "1")]),
        case("twin of X-Forwarded-For", headers=[("x_forwarded-for", "1.2.3.4")]),
        case("twin of the certificate header", headers=[("x_forwarded_client_cert", "x")]),
    ],
)  # fmt: skip
def test_what_could_mean_two_things_is_refused(target, given):
    """400, whatever policy says, and the app is not called."""
    given.setdefault("paths", None)
    head = request(target, **given)
    assert wrong(head) is not None
    assert status_of(TestMesh(NOTHING), head) == 400


def test_the_twin_of_a_header_that_policy_reads_is_refused():
    """`X_Role` reads as `X-Role` in CGI-style code."""
    reading = TestMesh(policy("DENY", when("request.headers[X-Role]", "admin")))
    head = request(headers=[("x_role", "guest")])
    assert status_of(reading, head) == 400
    assert status_of(TestMesh(NOTHING), head) == 200


@pytest.mark.parametrize("value", ["admin\x0b", "\x00admin", "ad\x7fmin", "a\tb\x1f"])
def test_control_characters_in_a_header_that_policy_reads_are_refused(value):
    """`strip()` of Python takes some of them off, and what is left is another value."""
    mesh = TestMesh(policy("DENY", when("request.headers[x-role]", "admin")))
    assert status_of(mesh, request(headers=[("x-role", value)])) == 400
    assert status_of(mesh, request(headers=[("x-role", "a\tb")])) == 200
    assert status_of(mesh, request(headers=[("x-other", value)])) == 200


@pytest.mark.parametrize(
    ("name", "lines", "status"),
    [
        ("x-role", ["a"] * 100, 200),
        ("x-role", ["a"] * 101, 400),
        ("x-role", [",".join("a" * 100)], 200),
        ("x-role", [",".join("a" * 101)], 400),
        ("x-role", [",".join("a" * 60)] * 2, 400),
        ("user-agent", [",".join("a" * 500)], 200),
        ("user-agent", ["a"] * 101, 400),
        ("x-other", [",".join("a" * 500)], 200),
    ],
    ids=["lines", "too many lines", "parts", "too many parts", "together", "one by definition",
         "lines of that", "nobody reads it"],
)  # fmt: skip
def test_a_header_that_policy_reads_has_a_bounded_number_of_values(name, lines, status):
    """Each rule looks at each of them."""
    mesh = TestMesh(
        policy(
            "DENY",
            when("request.headers[x-role]", "admin"),
            when("request.headers[user-agent]", "bot*"),
        )
    )
    assert status_of(mesh, request(headers=[(name, line) for line in lines])) == status


def test_no_bytes_make_the_check_raise():
    """Whatever a server lets through."""
    for code in [*range(256), 0x2028, 0xD800, 0xFFFD, 0x10FFFF]:
        character = chr(code)
        for head in (
            request(f"/{character}", paths=(f"/{character}",)),
            request(character, paths=(character,)),
            request(host=f"a{character}"),
            request(method=f"GET{character}"),
            request(headers=[(f"x{character}", character)]),
            request(f"http://{character}/", paths=("/",)),
        ):
            assert status_of(TestMesh(NOTHING), head) in (200, 400)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a/b", "/a/b"),
        ("/a?b#c", "/a"),
        ("/a#b?c", "/a#b"),
        ("/a?", "/a"),
        ("//a", "//a"),
        ("http://h/a?b", "/a"),
        ("http://h", "/"),
        ("http://h?x", "/"),
        ("http://h:80//a", "//a"),
        ("a", "a"),
        ("", ""),
        ("?x", ""),
    ],
)
def test_the_path_of_a_target_has_neither_authority_nor_query(target, path):
    """Still encoded; a fragment stays, for it must be noticed."""
    assert split_target(target) == path
