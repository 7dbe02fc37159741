"""Operators stand for what Envoy's stand for, of calls that come in and that go out.

Source of the table: Envoy, "Substitution Formatter".
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from log_world import Calls, Inbound
from outbound_world import REFUSED, RESET, TIMED_OUT, answered, finish, route
from tracing_world import traced_by

from meshware.call import Call, Failure, FailureKind
from meshware.policy.log_operators import OPERATORS
from meshware.telemetry.span_attributes import of_attempt, of_outbound

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

HEADERS = (
    ("host", "shop.example:8080"),
    ("user-agent", "curl/8.1"),
    ("x-request-id", "req-1"),
    ("x-a", "first"),
    ("x-a", "second"),
    ("x-empty", ""),
    ("x-long", "0123456789"),
    ("x-forwarded-for", "203.0.113.7, 198.51.100.2"),
    ("x-envoy-original-path", "/not/what/was/asked"),
    ("traceparent", TRACEPARENT),
    ("authorization", "Bearer secret"),
)

INBOUND = {
    "%REQ(:METHOD)% %REQ(:PATH)% %REQ(:AUTHORITY)% %REQ(:SCHEME)%":
        "GET /a/%7Eb?x=1&y=a%20b shop.example:8080 http",
    "%REQ(X-A)%": "first",
    "%REQ(X-NONE?X-A)%": "first",
    "%REQ(X-NONE)%": "-",
    "%REQ(X-NONE?X-NIX)%": "-",
    "%REQ(X-EMPTY)%": "",
    "%REQ(X-EMPTY?X-A)%": "",
    "%REQ(X-LONG):4%": "0123",
    "%REQ(X-LONG):40%": "0123456789",
    "%REQ(X-LONG):0%": "",
    "%REQUEST_HEADER(X-A)%": "first",
    "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%": "/a/%7Eb?x=1&y=a%20b",
    "%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%": "/a/%7Eb",
    "%REQ_WITHOUT_QUERY(:PATH):3%": "/a/",
    "%PATH%|%PATH(NQ)%|%PATH(WQ:PATH)%|%PATH(NQ:ORIG)%|%PATH():2%":
        "/a/%7Eb?x=1&y=a%20b|/a/%7Eb|/a/%7Eb?x=1&y=a%20b|-|/a",
    "%QUERY_PARAM(y)%|%QUERY_PARAM(z)%|%QUERY_PARAM(y):1%": "a b|-|a",
    "%QUERY_PARAMS%|%QUERY_PARAMS(ORIG)%": "x=1&y=a%20b|x=1&y=a%20b",
    "%QUERY_PARAMS(DECODED)%": "x=1&y=a b",
    "%RESP(CONTENT-TYPE)%|%RESP(:STATUS)%|%RESP(X-NO?CONTENT-TYPE):4%": "text/plain|200|text",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%": "30",
    "%START_TIME%": "2026-01-31T23:59:58.250Z",
    "%EMIT_TIME%": "2026-01-31T23:59:58.290Z",
    "%START_TIME(%s.%3f)%|%EMIT_TIME(%H:%M:%S)%": "1769903998.250|23:59:58",
    "%PROTOCOL%": "HTTP/1.1",
    "%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%": "200|via_upstream",
    "%CONNECTION_TERMINATION_DETAILS%": "-",
    "%RESPONSE_FLAGS%|%RESPONSE_FLAGS_LONG%": "-|-",
    "%BYTES_RECEIVED%|%BYTES_SENT%": "0|5",
    "%DURATION%|%REQUEST_DURATION%|%RESPONSE_DURATION%|%RESPONSE_TX_DURATION%": "40|0|30|10",
    "%COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:us)%|%COMMON_DURATION(US_TX_BEG:US_RX_BEG)%": "30000|-",
    "%UPSTREAM_HOST%|%UPSTREAM_CLUSTER%|%UPSTREAM_CLUSTER_RAW%|%UPSTREAM_LOCAL_ADDRESS%":
        "192.0.2.9:8000|inbound|8000|||inbound|8000|||-",
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT%|%UPSTREAM_TRANSPORT_FAILURE_REASON%": "1|-",
    "%DOWNSTREAM_REMOTE_ADDRESS%|%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|%DOWNSTREAM_REMOTE_PORT%":
        "192.0.2.1:40000|192.0.2.1|40000",
    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%|%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT(16)%":
        "192.0.2.1:40000|192.0.0.0/16",
    "%DOWNSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%|%DOWNSTREAM_LOCAL_PORT%":
        "192.0.2.9:8000|192.0.2.9|8000",
    "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(64)%": "-",  # it has 32 bits
    "%REQUESTED_SERVER_NAME%|%REQUESTED_SERVER_NAME(SNI_FIRST)%": "-|shop.example:8080",
    "%DOWNSTREAM_PEER_URI_SAN%|%DOWNSTREAM_PEER_SUBJECT%|%DOWNSTREAM_PEER_CERT_V_END%": "-|-|-",
    "%ROUTE_NAME%": "-",
    "%STREAM_ID%|%REQ(X-REQUEST-ID)%": "req-1|req-1",
    "%TRACE_ID%|%SPAN_ID%": "0af7651916cd43dd8448eb211c80319c|b7ad6b7169203331",
    "%GRPC_STATUS%|%GRPC_STATUS_NUMBER%": "-|-",
    "%HOSTNAME%|%ENVIRONMENT(POD)%": "host-1|app-7f9",
    "%ENVIRONMENT(POD):3%|%ENVIRONMENT(NONE)%": "app|-",
    "%ACCESS_LOG_TYPE%": "DownstreamEnd",
    "%METADATA(ROUTE:a:b)%|%TRAILER(X)%|%DOWNSTREAM_TLS_VERSION%|%CONNECTION_ID%": "-|-|-|-",
    "100%%": "100%",
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), INBOUND.items(), ids=[*INBOUND])
def test_a_call_that_came_in(text, said):
    """As Envoy would say of the same call."""
    world = Inbound()
    event = world.call("/a/%7Eb?x=1&y=a%20b", headers=HEADERS)
    assert world.line(text, event) == said


def test_every_operator_that_is_taken_is_in_a_table():
    """None is taken that nobody has seen."""
    tables = "".join((*INBOUND, *OUTBOUND)) + "".join(OTHERS)
    missing = {
        name
        for name, one in OPERATORS.items()
        if not one.absent and f"%{name}%" not in tables and f"%{name}(" not in tables
    }
    assert missing == set()


OTHERS = (
    "%UNIQUE_ID%", "%START_TIME_LOCAL%", "%EMIT_TIME_LOCAL%", "%DOWNSTREAM_PEER_ISSUER%",
    "%DOWNSTREAM_PEER_SERIAL%", "%DOWNSTREAM_PEER_FINGERPRINT_256%", "%STREAM_INFO_REQ(X-A)%",
    "%DOWNSTREAM_PEER_FINGERPRINT_1%", "%DOWNSTREAM_PEER_CERT_V_START%",
    "%DOWNSTREAM_LOCAL_URI_SAN%", "%RESPONSE_HEADER(X-A)%",
    "%DOWNSTREAM_DIRECT_REMOTE_PORT%", "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%",
    "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%", "%DOWNSTREAM_DIRECT_LOCAL_PORT%",
)  # fmt: skip
"""What other tests look at; of certificates, those of conformance with Envoy."""


def test_what_is_not_in_the_table_says_something_too():
    """Ids are made up, local times depend on the machine."""
    world = Inbound()
    world.headers.append((b"x-a", b"response"))
    event = world.call("/", headers=HEADERS)
    assert len(world.line("%UNIQUE_ID%", event)) == 36
    assert world.line("%UNIQUE_ID%", event) != world.line("%UNIQUE_ID%", event)
    assert world.line("%START_TIME_LOCAL(%s)% %EMIT_TIME_LOCAL(%s)%", event) == (
        "1769903998 1769903998"
    )
    assert world.line("%STREAM_INFO_REQ(X-A)% %RESPONSE_HEADER(X-A)%", event) == "first response"
    assert world.line(
        "%DOWNSTREAM_DIRECT_REMOTE_PORT% %DOWNSTREAM_DIRECT_LOCAL_ADDRESS% "
        "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_LOCAL_PORT%",
        event,
    ) == ("40000 192.0.2.9:8000 192.0.2.9 8000")


def test_the_wsgi_driver_says_the_same():
    """As far as its servers do."""
    world = Inbound()
    event = world.call_wsgi("/a?x=1", REMOTE_ADDR="192.0.2.1", REMOTE_PORT="40000")
    text = (
        "%REQ(:PATH)% %RESPONSE_CODE% %BYTES_SENT% %DURATION% %RESPONSE_DURATION% "
        "%DOWNSTREAM_REMOTE_ADDRESS% %PROTOCOL%"
    )
    assert world.line(text, event) == "/a?x=1 200 5 40 30 192.0.2.1:40000 HTTP/1.1"


def test_a_refused_call_says_which_rule_decided():
    """Envoy: details and body length of its own answer, and no upstream."""
    world = Inbound()
    event = world.call("/closed", headers=HEADERS)
    text = (
        "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT% %UPSTREAM_HOST% "
        "%UPSTREAM_CLUSTER% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %TRACE_ID% %RESP(CONTENT-TYPE)% "
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"
    )
    assert world.line(text, event) == (
        "403 - rbac_access_denied_matched_policy[ns[default]-policy[closed]-rule[0]] 19 - "
        "inbound|8000|| 0 0af7651916cd43dd8448eb211c80319c text/plain -"
    )


def test_a_refused_call_that_is_traced_names_its_trace():
    """Begun for the refusal, where the caller had none."""
    world = Inbound()
    traced_by(world.mesh)
    event = world.call("/closed")
    assert event.trace_id is not None
    assert world.line("%TRACE_ID% %SPAN_ID%", event) == f"{event.trace_id} -"


def test_a_call_that_its_caller_left_and_one_that_the_app_broke():
    """DC and UC, with Envoy's details."""
    world = Inbound()
    text = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG% %RESPONSE_CODE_DETAILS%"
    assert world.line(text, world.call("/broken")) == (
        "200 UC UpstreamConnectionTermination "
        "upstream_reset_after_response_started{connection_termination}"
    )
    assert world.line(text, world.call("/raise")) == "500 - - via_upstream"


def test_the_path_is_the_one_that_was_decided_on():
    """MeshConfig normalises it, as Envoy does before it logs."""
    world = Inbound(
        "{apiVersion: meshware.dev/v1alpha1, kind: MeshConfig, "
        "metadata: {name: mesh, namespace: istio-system}, "
        "spec: {pathNormalization: {normalization: MERGE_SLASHES}}}"
    )
    event = world.call("/a//b/../c?q=/../x")
    assert world.line("%REQ(:PATH)% %PATH(NQ)%", event) == "/a/c?q=/../x /a/c"


def test_the_caller_behind_proxies_is_the_one_that_policy_believes():
    """DOWNSTREAM_REMOTE_ADDRESS by numTrustedProxies; without a port, as Envoy says it then."""
    world = Inbound(
        "{apiVersion: meshware.dev/v1alpha1, kind: MeshConfig, "
        "metadata: {name: mesh, namespace: istio-system}, "
        "spec: {defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}}}"
    )
    event = world.call("/", headers=HEADERS)
    assert world.line("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", event) == (
        "198.51.100.2:0 192.0.2.1:40000"
    )
    assert world.line("%DOWNSTREAM_REMOTE_ADDRESS%", world.call("/")) == "-"


def test_addresses_of_ip_version_6_are_in_brackets():
    """As Envoy writes them, but for those without a port."""
    world = Inbound()
    event = world.call("/", client=("2001:db8::1", 4), server=("::1", 80))
    assert world.line(
        "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% "
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(32)% %DOWNSTREAM_LOCAL_ADDRESS%",
        event,
    ) == ("[2001:db8::1]:4 2001:db8::1 2001:db8::/32 [::1]:80")


def test_the_caller_of_mutual_tls_is_named():
    """By its certificate, and by the identity that it has proved."""
    caller = "spiffe://cluster.local/ns/default/sa/web"
    world = Inbound(
        "{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: app}, "
        "spec: {address: 10.0.0.1, serviceAccount: app, labels: {app: app}}}"
    )
    svid = world.mesh.issue(caller)
    [leaf] = svid.chain[:1]
    chain = [one.public_bytes(Encoding.PEM).decode() for one in svid.chain]
    event = world.call(extensions={"tls": {"client_cert_chain": chain}})
    assert event.status == 200, event.reason
    assert world.line("%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_LOCAL_URI_SAN%", event) == (
        f"{caller} spiffe://cluster.local/ns/default/sa/app"
    )
    assert world.line("%DOWNSTREAM_PEER_FINGERPRINT_256%", event) == (
        leaf.fingerprint(SHA256()).hex()
    )
    assert world.line("%DOWNSTREAM_PEER_FINGERPRINT_1%", event) == leaf.fingerprint(SHA1()).hex()
    assert world.line("%DOWNSTREAM_PEER_SERIAL%", event).lstrip("0") == (f"{leaf.serial_number:x}")
    assert world.line("%DOWNSTREAM_PEER_SUBJECT%|%DOWNSTREAM_PEER_ISSUER%", event).startswith("-|")
    stamps = world.line(
        "%DOWNSTREAM_PEER_CERT_V_START(%s)% %DOWNSTREAM_PEER_CERT_V_END(%s)%", event
    )
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    assert stamps == f"{begins.timestamp():.0f} {ends.timestamp():.0f}"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("0", "OK OK 0 0"),
        ("1", "Canceled CANCELLED 1 1"),
        ("3", "InvalidArgument INVALID_ARGUMENT 3 3"),
        ("16", "Unauthenticated UNAUTHENTICATED 16 16"),
        ("77", "77 77 77 77"),
        ("many", "- - - -"),
    ],
)
def test_the_status_of_grpc_has_names(status, words):
    """Source: Envoy, GRPC_STATUS; gRPC's status codes. Only of gRPC's requests."""
    text = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%"
    world = Inbound()
    world.headers.append((b"grpc-status", status.encode()))
    headers = (("host", "app"), ("content-type", "application/grpc"))
    assert world.line(text, world.call("/", headers=headers)) == words
    assert world.line(text, world.call("/")) == "- - - -"


def test_a_request_with_a_body_has_no_end_that_is_seen():
    """REQUEST_DURATION; its bytes are counted."""
    world = Inbound()
    event = world.call(
        "/", method="POST", body=b"12345", headers=(("host", "app"), ("content-length", "5"))
    )
    assert world.line("%BYTES_RECEIVED% %REQUEST_DURATION%", event) == "5 -"


def test_a_call_without_policy_says_so():
    """Nothing is known, and yet there is a line."""
    world = Inbound()
    world.mesh.cell.current, before = None, world.mesh.cell.current
    event = world.call("/")
    world.mesh.cell.current = before
    assert world.line("%RESPONSE_CODE% %RESPONSE_CODE_DETAILS%", event) == "503 no_policy"


# --- calls that go out ----------------------------------------------------------------------------

OUTBOUND = {
    "%REQ(:METHOD)% %REQ(:PATH)% %REQ(:AUTHORITY)% %REQ(:SCHEME)%": "GET /a?x=1 orders http",
    "%REQ(X-REQUEST-ID)% %STREAM_ID%": "req-9 req-9",
    "%TRACE_ID% %SPAN_ID%": "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331",
    "%PROTOCOL%": "-",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%": "200 - via_upstream",
    "%RESP(X-B)% %RESP(:STATUS)% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%": "b 200 20",
    "%BYTES_RECEIVED% %BYTES_SENT%": "7 11",
    "%DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%": "25 20 5",
    "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%": "20000",
    "%UPSTREAM_HOST% %UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%":
        "10.0.0.1:8001 10.0.0.1:8001 10.0.0.1",
    "%UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)% %UPSTREAM_REMOTE_PORT%":
        "10.0.0.1:8001 10.0.0.0/8 8001",
    "%UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%": "10.0.0.1:8001 10.0.0.1",
    "%UPSTREAM_HOST_NAMES_ATTEMPTED% %UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT%":
        "10.0.0.1:8001 10.0.0.1",
    "%UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW%":
        "outbound|80|v1|orders.default.svc.cluster.local "
        "outbound|80|v1|orders.default.svc.cluster.local",
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %REQ(X-ENVOY-ATTEMPT-COUNT)%": "1 -",
    "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %REQUESTED_SERVER_NAME%": "- - -",
    "%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_SUBJECT%": "- -",
    "%ROUTE_NAME%": "to-v1",
}  # fmt: skip

V1 = route("    - {name: to-v1, route: [{destination: {host: orders, subset: v1}}]}")


@pytest.mark.parametrize(("text", "said"), OUTBOUND.items(), ids=[*OUTBOUND])
def test_a_call_that_went_out(text, said):
    """As Envoy would say of the same call."""
    world = Calls(V1)
    call = Call(request_id="req-9", trace_id=TRACEPARENT[3:35], traceparent=TRACEPARENT)
    flow = world.exchange("GET", target="/a?x=1", headers={"content-length": "7"}, call=call)
    next(flow)
    world.clock.advance(0.02)
    flow.send(answered(200, x_b="b"))
    world.clock.advance(0.005)
    finish(flow, 11)
    assert world.line(text) == said


SAID = (
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_HOST% "
    '%UPSTREAM_REQUEST_ATTEMPT_COUNT% %BYTES_SENT% "%UPSTREAM_TRANSPORT_FAILURE_REASON%"'
)


def test_no_route_and_no_endpoint():
    """NR and UH, with the length of what the mesh answers."""
    only = "{match: [{uri: {exact: /only}}], route: [{destination: {host: orders}}]}"
    world = Calls(route(f"    - {only}"))
    flow = world.exchange()
    next(flow)
    flow.close()
    assert world.line(SAID) == '404 NR route_not_found - 0 0 "-"'
    world = Calls(route("    - {route: [{destination: {host: orders, subset: empty}}]}"))
    flow = world.exchange()
    next(flow)
    flow.close()
    assert world.line(SAID) == '503 UH no_healthy_upstream - 1 19 "-"'


def test_a_failed_connection_after_retries():
    """URX and UF, with the reason and every endpoint that was tried."""
    world = Calls(route(
        "    - {retries: {attempts: 1, retryOn: connect-failure}, "
        "route: [{destination: {host: orders}}]}"
    ))  # fmt: skip
    flow = world.exchange()
    next(flow)
    flow.send(REFUSED)  # Sleep
    flow.send(None)
    flow.send(REFUSED)
    flow.close()
    assert world.line("%RESPONSE_FLAGS_LONG% %UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%") == (
        "UpstreamConnectionFailure,UpstreamRetryLimitExceeded 10.0.0.1,10.0.0.2"
    )
    assert world.line("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%") == (
        "503 UF,URX upstream_reset_before_response_started"
        "{remote_connection_failure|delayed_connect_error:_111}"
    )
    assert world.line("%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%").endswith("error: 111}")
    assert world.line("%UPSTREAM_TRANSPORT_FAILURE_REASON%") == "delayed connect error: 111"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (RESET, "503 UC upstream_reset_before_response_started{connection_termination}"),
        (TIMED_OUT, "504 UT response_timeout"),
    ],
    ids=["reset", "time-out"],
)
def test_other_failures_have_envoys_details(failure, said):
    """Without a reason of the transport."""
    world = Calls(route("    - {timeout: 1s, route: [{destination: {host: orders}}]}"))
    flow = world.exchange("POST", replayable=False)
    next(flow)
    flow.send(failure)
    flow.close()
    assert world.line("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%") == said
    assert world.line("%UPSTREAM_TRANSPORT_FAILURE_REASON%") == "-"


def test_a_body_that_is_cut_and_a_caller_that_leaves():
    """After the headers; the status stays what it was."""
    world = Calls()
    flow = world.exchange()
    next(flow)
    flow.send(answered(200))
    finish(flow, 3, FailureKind.TERMINATED)
    assert world.line("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%") == (
        "200 UC upstream_reset_after_response_started{connection_termination}"
    )
    flow = world.exchange()
    next(flow)
    flow.close()
    assert world.line("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%") == (
        "0 DC downstream_remote_disconnect"
    )


def test_faults_redirects_and_direct_responses():
    """What the mesh answers on purpose."""
    world = Calls(route(
        "    - {fault: {abort: {httpStatus: 418, percentage: {value: 100}}}, "
        "route: [{destination: {host: orders}}]}"
    ))  # fmt: skip
    flow = world.exchange()
    next(flow)
    flow.close()
    text = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT%"
    assert world.line(text) == "418 FI fault_filter_abort 18"
    world = Calls(route("    - {directResponse: {status: 200, body: {string: hi}}}"))
    flow = world.exchange()
    next(flow)
    flow.close()
    assert world.line(text) == "200 - direct_response 2"
    flow = world.exchange("HEAD")
    next(flow)
    flow.close()
    assert world.line(text) == "200 - direct_response 0"


def test_a_host_that_the_mesh_does_not_know_is_passed_through():
    """Istio's cluster and route of its own name."""
    world = Calls()
    flow = world.exchange(host="elsewhere.example")
    next(flow)
    flow.send(answered(200))
    finish(flow, 5)
    assert world.line(
        "%UPSTREAM_CLUSTER% %ROUTE_NAME% %REQ(:AUTHORITY)% %RESPONSE_CODE_DETAILS%"
    ) == ("PassthroughCluster allow_any elsewhere.example via_upstream")


def test_what_the_mesh_changes_is_seen_as_it_went_out():
    """Envoy logs a request when all has been done to it; the path that was asked for is kept."""
    world = Calls(route(
        "    - {match: [{uri: {prefix: /old}}], rewrite: {uri: /new, authority: other}, "
        "headers: {request: {set: {x-set: s}, "
        "remove: [x-gone]}}, route: [{destination: {host: orders}}]}"
    ))  # fmt: skip
    flow = world.exchange(
        target="/old?q=1", headers={"x-gone": "g", "x-kept": "k", "x-envoy-original-path": "/lie"}
    )
    next(flow)
    flow.send(answered(200))
    finish(flow)
    assert world.line(
        "%REQ(:PATH)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PATH% %REQ(:AUTHORITY)% %REQ(X-SET)% "
        "%REQ(X-GONE)% %REQ(X-KEPT)%"
    ) == ("/new?q=1 /old?q=1 /old?q=1 other s - k")


def test_a_connection_refused_outside_of_the_mesh_is_told_as_such():
    """The library raises its own error; nobody left."""
    world = Calls()
    flow = world.exchange(host="elsewhere.example")
    next(flow)
    flow.send(Failure(FailureKind.CONNECT, sent=False, detail="Connection refused"))
    flow.close()
    event = world.kept[-1]
    assert world.line(
        "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "
        "%UPSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_HOST% %UPSTREAM_HOSTS_ATTEMPTED%"
    ) == (
        "0 UF upstream_reset_before_response_started{remote_connection_failure|Connection_refused} "
        "Connection refused - -"
    )
    assert of_outbound(event, None)["error.type"] == "connect"
    said = of_attempt(event.tries[0], None)
    assert said["error.type"] == "connect"
    assert "meshware.endpoint" not in said
    assert "peer.address" not in said
