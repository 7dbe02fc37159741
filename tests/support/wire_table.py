"""What is sent in tests of the wire, and which handlers may not run for it under which policy.

Each row is a request as bytes. `never` says what may not run under a policy of `wire_served`, and
`once` under which policies exactly one handler runs. Sources: what Python servers hand over
(measured), and the bulletins of Envoy, Istio and Starlette that name the attack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ANYTHING", "HEAD_ROWS", "KNOWN", "PATH_ROWS", "Row"]

Kept = Callable[[Mapping[str, Any]], bool]

HOST = b"Host: app.example\r\n"


def anything(run: Mapping[str, Any]) -> bool:
    """Whatever handler ran, it should not have."""
    return True


ANYTHING: Kept = anything


def handlers(*names: str) -> Kept:
    """Some handlers are kept."""
    return lambda run: run["handler"] in names


def seen_as_admin(run: Mapping[str, Any]) -> bool:
    """A handler ran that may take its caller for an administrator."""
    return "admin" in run["roles"]


def seen_as_evil(run: Mapping[str, Any]) -> bool:
    """A handler ran that may believe to be called by the denied name."""
    return "evil" in run["host"].lower()


@dataclass(frozen=True)
class Row:
    """One request."""

    name: str
    head: bytes  # without its empty line
    body: bytes = b""
    never: Mapping[str, Kept] = field(default_factory=dict)  # by policy
    once: tuple[str, ...] = ()  # policies
    is_everywhere: bool = False  # asked of every app, although the mesh should answer


# --- paths ----------------------------------------------------------------------------------------

EXACT = dict.fromkeys(("deny exact", "deny prefix", "allow public"), ANYTHING)
BELOW = dict.fromkeys(("deny below", "deny prefix", "allow public"), ANYTHING)
BROKEN = dict.fromkeys(("open", "deny exact", "allow public"), ANYTHING)
OTHER = {"deny below": handlers("admin", "below"), "allow public": ANYTHING}


def paths(targets: Iterable[bytes], never: Mapping[str, Kept], **more: Any) -> list[Row]:
    """Rows that differ in the request target alone."""
    return [
        Row(
            repr(target)[2:-1] or "GET  HTTP/1.1",
            b"GET " + target + b" HTTP/1.1\r\n" + HOST,
            never=never,
            **more,
        )
        for target in targets
    ]


PATH_ROWS = [
    *paths([b"/public/x", b"/public/x?to=/admin", b"/public/caf%c3%a9", b"/public/%61/b"], {},
           once=("allow public", "deny prefix")),
    # However `/admin` is written.
    *paths([
        b"/admin", b"/admin?x=1", b"/admin?/../public/x", b"//admin", b"///admin", b"/%61dmin",
        b"/admin#f", b"/admin#/../public/x", b"/admin?a#b", b"/./admin", b"/%2e/admin",
        b"/x/../admin", b"/x/%2e%2e/admin", b"/x/.%2E/admin", b"/x%2f..%2fadmin", b"/%2fadmin",
        b"/x%5c..%5cadmin", b"/x\\..\\admin", b"/\\admin", b"/%5Cadmin", b"//x/../admin",
        b"/app//../../admin", b"/public/../admin", b"/public/%2e%2e/admin", b"/public%2f..%2fadmin",
        b"/public/x/../../admin", b"http://app.example/admin", b"HTTP://APP.EXAMPLE/admin",
        b"hTTps://app.example/admin", b"http://app.example//admin", b"http://evil.example/admin",
        b"http://app.example/public/../admin", b"/ad\tmin", b"/admin\t", b"/ad\x01min",
        b"/admin%00", b"/admin%0a", b"/admin%0D%0a", b"/%00/../admin", b"/admin HTTP/1.1",
        b"http:/admin",
    ], EXACT),
    # Something below it, to an app that does not resolve dots as well.
    *paths([
        b"/admin/../public/x", b"/admin/%2e%2e/public/x", b"/admin%2f..%2fpublic/x",
        b"/admin%5c..%5cpublic/x", b"/admin/x",
    ], BELOW, is_everywhere=True),
    *paths([
        b"/admin/", b"/admin//x", b"/admin/./x", b"/admin%2fx", b"/admin%5cx", b"/admin\\x",
        b"/%61dmin/.%2e/public/x", b"//admin/../public/x", b"/app//../../admin/y",
        b"/admin/x/../../public/x", b"/public/../admin/x", b"/public%2f..%2fadmin%2fx",
        b"/app//../admin/x", b"/admin/..\\public/x", b"/admin/%2e%2e%2fpublic%2fx",
        b"/admin/" + b"a" * 4000,
    ], BELOW),
    # Other paths, which must not become `/admin` on their way.
    *paths([
        b"/%C0%AFadmin", b"/admin%C0%AF", b"/admin%FF", b"/%FF/../%FFadmin", b"/ad\x80min",
        b"/\xc3\xa9/admin", b"/admin;x", b"/admin;/../public/x", b"/admin%3B", b"/admin%2500",
        b"/ADMIN", b"/admin%", b"/admin%zz", b"/ad%u006din", b"/admin%20", b"/%EF%BC%8Fadmin",
        b"/admin%E2%80%A8", b"/admin.", b"/*", b"/public*", b"/%2A", b"/publi%63", b"/admin%C2%85",
        b"/./admin/../public/x", b"/%E2%80%8Badmin", b"/ad|min", b'/admin"', b"/{admin}",
        b"/admin%F0%9F%98%80",
    ], OTHER),
    *paths([b"admin", b"", b"?x=1", b"*", b"app.example:80", b"\\admin", b"%2fadmin", b"/ /admin"],
           BROKEN),
]  # fmt: skip


# --- heads ----------------------------------------------------------------------------------------


def row(
    name: str,
    *lines: bytes,
    target: bytes = b"/x",
    method: bytes = b"GET",
    host: bytes = HOST,
    **more: Any,
) -> Row:
    """A row with header lines of its own."""
    head = method + b" " + target + b" HTTP/1.1\r\n" + host + b"".join(x + b"\r\n" for x in lines)
    return Row(name, head, **more)


def never(*policies: str) -> dict[str, Kept]:
    """Nothing runs under some policies."""
    return dict.fromkeys(policies, ANYTHING)


def host(value: bytes) -> bytes:
    """A Host line."""
    return b"Host: " + value + b"\r\n"


ROLE = never("deny role", "allow role")
PREFIX = {"deny exact": handlers("admin"), "allow public": handlers("admin", "below", "other")}
CHUNKED = b"Transfer-Encoding: chunked"
AWAY = never("deny exact", "allow public")
PIECES = b"1\r\na\r\n" * 500 + b"0\r\n\r\n"

HOST_ROWS = [
    *(row(f"Host {value.decode()}", host=host(value), never=never("deny host", "allow host"))
      for value in (b"evil.example", b"EVIL.example", b"evil.example.", b"evil.example:80",
                    b"Evil.Example.:8080", b"evil.example:", b" evil.example\t")),
    *(row(f"Host {value.decode()}", host=host(value), once=("allow host", "deny host"))
      for value in (b"app.example", b"APP.Example", b"app.example.", b"app.example:8080",
                    b"App.example.:80")),
    *(row(f"Host {value.decode('latin-1')!r}", host=host(value), never=never("open", "allow host"))
      for value in (b"app.example/admin?", b"app.example?", b"app.example#", b"me@app.example",
                    b"app.example evil.example", b"app.example,evil.example", b"app.example:http",
                    b"[::1", b"::1", b"app\\example", b"app.ex\xc3\xa4mple", b"")),
    row("two Hosts", b"Host: app.example", never=never("open")),
    row("a bad Host second", b"Host: evil.example", never=never("open", "deny host")),
    row("a bad Host first", host=host(b"evil.example") + HOST, never=never("open", "deny host")),
    row("no Host", host=b"", never=never("open")),
    row("absolute, bad Host", target=b"http://app.example/x", host=host(b"evil.example"),
        never={"deny host": seen_as_evil, "allow host": seen_as_evil}),
    row("absolute, good Host", target=b"http://evil.example/x",
        never={"deny host": seen_as_evil, "allow host": seen_as_evil}),
    row("Host by another name", b"X-Forwarded-Host: app.example", b"X-Host: app.example",
        b"Forwarded: host=app.example", host=host(b"evil.example"),
        never=never("deny host", "allow host")),
]  # fmt: skip

ROLE_ROWS = [
    row("role", b"X-Role: admin", never=ROLE),
    row("role of a user", b"X-Role: user", once=("deny role", "allow role")),
    row("role in small letters", b"x-role:admin", never=ROLE),
    row("role with blanks", b"X-Role: \t admin \t", never=ROLE),
    row("role of a user with blanks", b"X-Role:   user \t", once=("deny role", "allow role")),
    row("role, second line", b"X-Role: user", b"X-Role: admin", never=ROLE),
    row("role, first line", b"X-Role: admin", b"X-Role: user", never=ROLE),
    row("role in a list", b"X-Role: user,admin", never=ROLE),
    row("role in a list with blanks", b"X-Role: user , admin , user", never=ROLE),
    row("role in one of two lists", b"X-Role: user, user", b"X-Role: user ,admin ", never=ROLE),
    row("role, folded", b"X-Role: user,\r\n admin", never=ROLE),
    row("role, control behind it", b"X-Role: admin\x0b", never=ROLE),
    row("role, NUL within", b"X-Role: adm\x00in", never=ROLE),
    row("no role", never=never("allow role"), once=("deny role",)),
    row("role with an underscore", b"X_Role: admin",
        never={"deny role": seen_as_admin, "allow role": ANYTHING}),
    row("a user's with an underscore", b"X_Role: user", never=never("allow role")),
    row("role beside its twin", b"X-Role: user", b"X_Role: admin",
        never={"deny role": seen_as_admin, "allow role": seen_as_admin}),
    row("150 lines of a role", *([b"X-Role: user"] * 150), never=ROLE),
    row("150 values of a role", b"X-Role: " + b",".join([b"user"] * 150), never=ROLE),
    row("3,000 headers", *(b"A%d: b" % number for number in range(3000)), b"X-Role: admin",
        never=ROLE),
]  # fmt: skip

FRAMING_ROWS = [
    row("length and chunked", b"Content-Length: 3", CHUNKED, method=b"POST",
        body=b"3\r\nabc\r\n0\r\n\r\n", never=never("open")),
    row("identity, chunked", b"Transfer-Encoding: identity, chunked", method=b"POST",
        target=b"/admin", body=b"0\r\n\r\n", never=AWAY),
    row("a body in single bytes", CHUNKED, method=b"POST", target=b"/admin", body=PIECES,
        never=AWAY),
    row("method in small letters", method=b"delete", never=never("deny method")),
    row("method in mixed letters", method=b"Delete", never=never("deny method")),
    row("method by another name", b"X-HTTP-Method-Override: GET", b"X-Method: GET",
        method=b"DELETE", never=never("deny method")),
    Row("LF alone", b"GET /admin HTTP/1.1\nHost: app.example\n", never=AWAY),
    Row("CR alone", b"GET /admin HTTP/1.1\rHost: app.example\r\r\n", never=AWAY),
    Row("HTTP/1.0 without Host", b"GET /admin HTTP/1.0\r\n", never=AWAY),
    Row("HTTP/0.9", b"GET /admin\r\n", never=AWAY),
    row("original path", b"X-Envoy-Original-Path: /public/x", b"X-Original-URL: /public/x",
        b"X-Rewrite-URL: /public/x", b"X-Forwarded-Prefix: /public", target=b"/admin", never=AWAY),
    row("PATH_INFO", b"PATH_INFO: /public/x", b"PATH-INFO: /public/x", target=b"/admin",
        never=AWAY),
    row("SCRIPT_NAME", b"SCRIPT_NAME: /public", target=b"/public/admin",
        never=PREFIX),
    row("SCRIPT_NAME within a segment", b"SCRIPT_NAME: /x", target=b"/xadmin",
        never={**PREFIX, "allow public": ANYTHING}),
    row("SCRIPT_NAME that does not fit", b"SCRIPT_NAME: /public", target=b"/admin", never=AWAY),
    row("SCRIPT_NAME twice", b"SCRIPT_NAME: /public", b"SCRIPT-NAME: /", target=b"/public/admin",
        never=PREFIX),
    *(row(f"X-Forwarded-For: {value.decode()}", b"X-Forwarded-For: " + value,
          b"X-Real-IP: " + value, b"X-Envoy-External-Address: " + value,
          never=never("allow address"))
      for value in (b"10.1.2.3", b"garbage", b"fe80::1%eth0", b"::ffff:10.1.2.3", b"")),
]  # fmt: skip

HEAD_ROWS = [*HOST_ROWS, *ROLE_ROWS, *FRAMING_ROWS]

KNOWN: dict[tuple[str, str], tuple[int | None, int]] = {
    # HTTP/0.9 has no status line; waitress waits for an end that does not come.
    ("werkzeug", "GET  HTTP/1.1"): (None, 0),
    ("werkzeug", "HTTP/0.9"): (None, 0),
    ("werkzeug", "CR alone"): (None, 0),
    ("waitress", "LF alone"): (None, 0),
    # gunicorn's own answer, to callers on loopback.
    ("gunicorn sync", "SCRIPT_NAME that does not fit"): (500, 0),
    ("gunicorn gthread", "SCRIPT_NAME that does not fit"): (500, 0),
    # These settle it before they call the app, which is told of one length only.
    ("waitress", "length and chunked"): (200, 1),
    ("granian asgi", "length and chunked"): (200, 1),
    ("granian wsgi", "length and chunked"): (200, 1),
    # To WSGI both are HTTP_X_ROLE, and this server drops neither: they are one header.
    ("granian wsgi", "a user's with an underscore"): (200, 1),
}
"""What servers do by themselves, where the mesh cannot see it: the status, and how many runs."""
