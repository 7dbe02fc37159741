"""Access logs of the real Envoy beside ours: the same formats, the same requests, the same lines.

What differs by nature is left out of the formats: times, ports of clients, and what the page about
access logs lists as not seen in process.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conformance.static_envoy import PATIENCE_S, StaticEnvoy
from inbound_servers import PolicyFile, serving

from meshware.policy.log_format import DEFAULT_LABELS, DEFAULT_TEXT
from meshware.policy.log_time import compile_time

pytestmark = pytest.mark.conformance

UVICORN = ["uvicorn", "--port", "0", "--no-access-log", "--no-server-header", "logged_apps:plain"]

OPERATORS = (
    "%REQ(:METHOD)%", "%REQ(:PATH)%", "%REQ(:AUTHORITY)%", "%REQ(:SCHEME)%", "%REQ(X-A)%",
    "%REQ(x-a)%", "%REQ(X-NO?X-A)%", "%REQ(X-A?X-NO)%", "%REQ(X-NO)%", "%REQ(X-NO?X-NIX)%",
    "%REQ(X-EMPTY)%", "%REQ(X-EMPTY?X-A)%", "%REQ(X-LONG):4%", "%REQ(X-LONG):0%",
    "%REQ(X-LONG):4000%", "%REQ(USER-AGENT)%", "%REQ(X-REQUEST-ID)%", "%STREAM_INFO_REQ(X-A)%",
    "%REQUEST_HEADER(X-A)%", "%RESPONSE_HEADER(X-B)%", "%RESP(X-B)%", "%RESP(X-NO?X-B):1%",
    "%RESP(CONTENT-TYPE)%", "%RESP(:STATUS)%", "%REQ_WITHOUT_QUERY(:PATH)%",
    "%REQ_WITHOUT_QUERY(X-NO?:PATH):3%", "%PATH%", "%PATH(NQ)%", "%PATH(WQ:PATH)%",
    "%PATH(NQ:ORIG)%", "%PATH(NQ:ORIG_OR_PATH):3%", "%QUERY_PARAM(x)%", "%QUERY_PARAM(x):2%",
    "%QUERY_PARAM(none)%", "%QUERY_PARAM(w)%", "%QUERY_PARAM(y)%", "%QUERY_PARAM(z)%",
    "%QUERY_PARAMS%", "%QUERY_PARAMS(ORIG):3%",
    "%PROTOCOL%", "%RESPONSE_CODE%", "%RESPONSE_CODE_DETAILS%",
    "%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", "%CONNECTION_TERMINATION_DETAILS%",
    "%RESPONSE_FLAGS%", "%RESPONSE_FLAGS_LONG%", "%BYTES_RECEIVED%", "%BYTES_SENT%",
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)%",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(0)%", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT(32)%",
    "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%", "%DOWNSTREAM_PEER_URI_SAN%",
    "%DOWNSTREAM_PEER_FINGERPRINT_256%", "%REQUESTED_SERVER_NAME%",
    "%REQUESTED_SERVER_NAME(SNI_FIRST)%", "%REQUESTED_SERVER_NAME(HOST_FIRST:HOST)%",
    "%REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)%", "%GRPC_STATUS%", "%GRPC_STATUS(SNAKE_STRING)%",
    "%GRPC_STATUS(NUMBER)%", "%GRPC_STATUS_NUMBER%", "%HOSTNAME%", "%ENVIRONMENT(LOGGED)%",
    "%ENVIRONMENT(LOGGED):3%", "%ENVIRONMENT(NOT_SET)%", "%ACCESS_LOG_TYPE%",
    "%TRAILER(X-NO)%", "%DYNAMIC_METADATA(a:b)%", "%FILTER_STATE(a)%", "%START_TIME(no time)%",
    "100%%", "text",
)  # fmt: skip
"""What is logged of every request; each in text, and alone in JSON."""

SEPARATOR = " <|> "
TEXT = SEPARATOR.join(OPERATORS)
LABELS = {
    **{f"{number:03}": text for number, text in enumerate(OPERATORS)},
    "several": "%REQ(X-A)%/%REQ(X-NO)%/%RESPONSE_CODE%",
    "nested": {"b": ["%RESPONSE_CODE%", {"c": "%REQ(X-NO)%"}, True, None, 1, 2.5, "x"], "a": {}},
}


def request(
    method: str = "GET", target: str = "/things/1?x=1", *headers: bytes, body: bytes = b""
) -> bytes:
    """A request as it goes over the wire."""
    head = [f"{method} {target} HTTP/1.1".encode(), b"Host: shop.example:8080", *headers]
    head += [b"X-Request-Id: 7c1d1b3e-0f8c-4d1b-9c39-1a2b3c4d5e6f", b"Connection: close"]
    if body:
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*head, b"", body])


REQUESTS: dict[str, bytes] = {
    "plain": request(),
    "headers": request(
        "GET", "/things/1", b"X-A: first", b"X-A: second", b"X-Long: 0123456789", b"X-Empty:"
    ),
    "query": request("GET", "/a/%7Eb/%2e?x=a%20b&y&x=2&z=%C3%BC&w=a+b"),
    # Not `/a?`: an ASGI server hands over the same for it as for `/a`.
    "query with equals": request("GET", "/a?x=1=2&=3&x"),
    "quotes": request("GET", "/", b'User-Agent: a" 200 "b\\n', b"X-A: 'x' \\ \"y\""),
    "tab": request("GET", "/", b"X-A: a\tb"),
    "letters": request("GET", "/", "X-A: m\u00fcller \u2603".encode()),
    "post": request("POST", "/things/1", body=b"hello"),
    "head": request("HEAD", "/things/1"),
    "put": request("PUT", "/things/1", b"X-Status: 404", body=b"x" * 1000),
    "no content": request("GET", "/", b"X-Status: 204"),
    "not found": request("GET", "/", b"X-Status: 404"),
    "broken": request("GET", "/", b"X-Status: 503"),
    "grpc": request("POST", "/", b"Content-Type: application/grpc", b"X-Grpc: 3", body=b"x"),
    "grpc of another request": request("POST", "/", b"X-Grpc: 3", body=b"x"),
    "grpc ok": request("POST", "/", b"Content-Type: application/grpc", b"X-Grpc: 0", body=b"x"),
    "grpc unheard of": request("POST", "/", b"Content-Type: application/grpc", b"X-Grpc: 99"),
    "grpc cancelled": request("POST", "/", b"Content-Type: application/grpc", b"X-Grpc: 1"),
    "old": request().replace(b"HTTP/1.1", b"HTTP/1.0"),
}  # fmt: skip


class LoggingEnvoy(StaticEnvoy):
    """An Envoy in front of an app, with access logs in files of these names."""

    def __init__(self, program: str, directory: Path, port: int, logs: dict[str, dict]) -> None:
        google = "type.googleapis.com/envoy.extensions"
        kind = f"{google}.access_loggers.file.v3.FileAccessLog"
        formatter = {  # as Istio adds it where a format has the operator
            "name": "envoy.formatter.req_without_query",
            "typed_config": {"@type": f"{google}.formatter.req_without_query.v3.ReqWithoutQuery"},
        }
        access_log = [
            {
                "name": name,
                "typed_config": {
                    "@type": kind,
                    "path": str(directory / name),
                    "log_format": {**format_, "formatters": [formatter]},
                },
            }
            for name, format_ in logs.items()
        ]  # fmt: skip
        http = {
            "@type": f"{google}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "x",
            "use_remote_address": False,
            "preserve_external_request_id": True,
            "http_protocol_options": {"accept_http_10": True},
            "access_log": access_log,
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": f"{google}.filters.http.router.v3.Router"},
                }
            ],
        }
        where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        endpoint = {"endpoint": {"address": where}}
        super().__init__(
            program,
            directory,
            {
                "listeners": [
                    {
                        "name": "in",
                        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                        "filter_chains": [{"filters": [{"name": "http", "typed_config": http}]}],
                    }
                ],
                "clusters": [
                    {
                        "name": "app",
                        "connect_timeout": "5s",
                        "load_assignment": {
                            "cluster_name": "app",
                            "endpoints": [{"lb_endpoints": [endpoint]}],
                        },
                    }
                ],
            },
        )


def ask(port: int, data: bytes) -> None:
    """Send a request, and read its answer to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1."), answer[:100]


def last_line(path: Path, count: int) -> str:
    """A file's last line, once it has so many of them."""
    until = time.monotonic() + PATIENCE_S
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < until, f"no line {count} in {path}"
        time.sleep(0.02)
    text = path.read_text()
    assert text.count("\n") == count
    return text.splitlines()[-1]


FORMATS = {
    "text": {"text_format_source": {"inline_string": TEXT + "\n"}},
    "json": {"json_format": LABELS},
    "default": {"text_format_source": {"inline_string": DEFAULT_TEXT}},
    "default-json": {"json_format": dict(DEFAULT_LABELS)},
    "omitted": {"json_format": LABELS, "omit_empty_values": True},
    "omitted-text": {
        "text_format_source": {"inline_string": TEXT + "\n"}, "omit_empty_values": True,
    },
}  # fmt: skip

Both = Callable[[bytes, str], tuple[str, str]]


@pytest.fixture(scope="module")
def both(engine, tmp_path_factory) -> Iterator[Both]:
    """Send a request to Envoy and to the mesh; the line of a log on either side."""
    program = engine("envoy")
    place = tmp_path_factory.mktemp("logs")
    policy = PolicyFile(place / "run")
    policy.write()
    ours = place / "ours"
    ours.mkdir()
    plans = [
        {"path": str(ours / "text"), "text": TEXT},
        {"path": str(ours / "json"), "labels": LABELS},
        {"path": str(ours / "default")},
        {"path": str(ours / "default-json"), "labels": {}},
        {"path": str(ours / "omitted"), "labels": LABELS, "omits_empty": True},
        {"path": str(ours / "omitted-text"), "text": TEXT, "omits_empty": True},
    ]
    logged = {"LOGS": json.dumps({"inbound": plans, "outbound": []}), "LOGGED": "a value"}
    silent = {"LOGS": json.dumps({"inbound": [], "outbound": []})}
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(UVICORN, place / "behind", policy.path, **silent) as behind,
        serving(UVICORN, place / "mesh", policy.path, **logged) as mesh,
    ):
        patch.setenv("LOGGED", "a value")
        theirs = place / "theirs"
        theirs.mkdir()
        envoy = LoggingEnvoy(program, theirs, behind.port, FORMATS)
        begun = {"ours": 0, "theirs": 0}
        for side, directory in (("ours", ours), ("theirs", theirs)):
            path = directory / "text"  # whoever waited for the server was logged too
            begun[side] = path.read_bytes().count(b"\n") if path.exists() else 0

        def play(data: bytes, name: str) -> tuple[str, str]:
            lines = []
            for side, directory, port in (
                ("theirs", theirs, envoy.ports["in"]),
                ("ours", ours, mesh.port),
            ):
                if data != last[side]:
                    ask(port, data)
                    begun[side] += 1
                    last[side] = data
                lines.append(last_line(directory / name, begun[side]))
            return lines[0], lines[1]

        last = {"ours": b"", "theirs": b""}
        try:
            yield play
        finally:
            envoy.close()


@pytest.mark.parametrize("name", REQUESTS)
def test_every_operator_says_the_same_in_text(both, name):
    """Of requests of all kinds."""
    for log in ("text", "omitted-text"):
        theirs, ours = both(REQUESTS[name], log)
        pairs = zip(OPERATORS, theirs.split(SEPARATOR), ours.split(SEPARATOR), strict=True)
        assert {o: mine for o, _, mine in pairs} == dict(
            zip(OPERATORS, theirs.split(SEPARATOR), strict=True)
        )


@pytest.mark.parametrize("name", REQUESTS)
def test_every_operator_says_the_same_in_json(both, name):
    """Letter by letter: order, types, escapes, what is left out."""
    for log in ("json", "omitted"):
        theirs, ours = both(REQUESTS[name], log)
        assert json.loads(ours) == json.loads(theirs)
        assert ours == theirs


# What differs by nature is not in the groups: times, addresses, clusters, routes.
_DEFAULT = re.compile(
    r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "
    r"(?P<same>\".*\" \d+ \S+ \S+ \S+ \".*?\" \d+ \d+) \d+ \d+ (?P<also>\".*\") "
    r"\"127\.0\.0\.1:\d+\" (?:app|inbound\|\d+\|\|) (?:-|127\.0\.0\.1:\d+) "
    r"127\.0\.0\.1:\d+ 127\.0\.0\.1:\d+ (?P<sni>\S+) \S+"
)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_default_format_says_the_same(both, name):
    """But for times, addresses, the name of the cluster, and the route."""
    theirs, ours = both(REQUESTS[name], "default")
    sides = []
    for line in (theirs, ours):
        found = _DEFAULT.fullmatch(line)
        assert found is not None, line
        sides.append(found.groupdict())
    assert sides[0] == sides[1]


@pytest.mark.parametrize("name", REQUESTS)
def test_the_default_json_says_the_same(both, name):
    """Likewise."""
    theirs, ours = (json.loads(line) for line in both(REQUESTS[name], "default-json"))
    varies = {
        "start_time", "duration", "upstream_service_time", "downstream_remote_address",
        "downstream_local_address", "upstream_host", "upstream_local_address", "upstream_cluster",
        "route_name",
    }  # fmt: skip
    assert list(theirs) == list(ours)
    assert {key: ours[key] for key in ours if key not in varies} == {
        key: theirs[key] for key in theirs if key not in varies
    }
    assert all(type(ours[key]) is type(theirs[key]) for key in varies - {"upstream_local_address"}
               if key != "route_name")  # fmt: skip


TIMES = (
    "%Y/%m/%dT%H:%M:%S%z", "%s", "%s.%3f", "%s.%6f", "%1f|%2f|%5f", "%f", "%9f", "%E3S", "%E0S",
    "%E6S", "%E*S", "%E*f", "%E3f", "%E4Y%ET%Ez", "%E*z", "%a %A %b %h %B", "%I %p %l %k", "%D %F",
    "%T %R %r", "%c", "%x %X", "%e|%-e|%_m|%-m|%^b", "%j %u %w %V %G %g %U %W", "%C %y", "%Z",
    "%H:%M", "100%%", "%t.", "%3f%3f", "%s%s", "%P",
)  # fmt: skip


def test_times_are_written_the_same(engine, tmp_path):
    """Every format, of the very same instant: Envoy's own, which it tells in microseconds."""
    texts = {
        f"{n:02}": f"%START_TIME(%s.%6f)% %START_TIME({written})%"
        for n, written in enumerate(TIMES)
    }
    texts["default"] = "%START_TIME(%s.%6f)% %START_TIME%"
    formats = {
        name: {"text_format_source": {"inline_string": text + "\n"}} for name, text in texts.items()
    }
    envoy = LoggingEnvoy(engine("envoy"), tmp_path, 1, formats)
    try:
        ask(envoy.ports["in"], request())
        lines = {name: last_line(tmp_path / name, 1) for name in texts}
    finally:
        envoy.close()
    said, ours = {}, {}
    for name, line in lines.items():
        stamp, _, rest = line.partition(" ")
        whole, _, fraction = stamp.partition(".")
        at = datetime.fromtimestamp(int(whole), UTC).replace(microsecond=int(fraction))
        written = "" if name == "default" else TIMES[int(name)]
        said[written], ours[written] = rest, compile_time(written)(at)
    for digits in ("%f", "%9f"):  # Envoy's clock knows nanoseconds
        assert ours.pop(digits)[:6] == said.pop(digits)[:6]
    assert ours == said
