"""Mutual TLS of the mesh: the caller writes `http://`, and both ends know who the other is."""

from __future__ import annotations

import itertools
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from client_world import World, every_driver, wait_until
from mutual_upstreams import APP, ORDERS, WORKLOAD, mutual, service_of
from upstreams import OK, Upstream

from meshware.testing import TestMesh

pytestmark = every_driver

ISTIO = "tls: {mode: ISTIO_MUTUAL}"


class It:
    """A client whose mesh has an identity, and upstreams."""

    def __init__(self, stack, driver, tmp_path) -> None:
        self._stack, self._driver, self._directory = stack, driver, tmp_path
        self.world = World(WORKLOAD)
        self.mesh: TestMesh = self.world
        self.client = stack.enter_context(driver.client(self.world))

    def upstream(self, spiffe_id=ORDERS, *, issuer=None, life_s=3600.0):
        """Open one that shows an SVID for an ID."""
        svid = (issuer or self.mesh).issue(spiffe_id, life_s)
        return self._stack.enter_context(mutual(self._directory, self.mesh, svid))

    def apply(self, *texts, workload=WORKLOAD):
        """Put policy in force."""
        self.mesh.apply("---".join((workload, *texts)))

    def get(self, name="orders", **options):
        """Call, and return the status and the mesh's flags."""
        response, _ = self.client.call("GET", f"http://{name}/", **options)
        return response.status, response.info.flags


@pytest.fixture
def it(driver, tmp_path):
    """See above."""
    with ExitStack() as stack:
        made = It(stack, driver, tmp_path)
        yield made
        assert made.world.nothing_in_flight()


def arrived(upstream) -> int:
    """The bytes of requests that came over any connection."""
    upstream.wait_until_left()
    return sum(handshake.received for handshake in upstream.handshakes) + len(upstream.requests)


def uri_of(handshake) -> str:
    """The ID that a client has shown."""
    [(kind, name)] = handshake.peer["subjectAltName"]
    assert kind == "URI"
    return name


@pytest.mark.parametrize("policy", ["", ISTIO], ids=["of its own accord", "ISTIO_MUTUAL"])
def test_a_call_is_upgraded_to_mutual_tls(it, policy):
    """The app changes nothing; both ends show who they are, and the connection is kept."""
    orders = it.upstream()
    it.apply(service_of("orders", (orders.port, "orders"), policy=policy))
    for _ in range(3):
        assert it.get() == (200, "-")
    [handshake] = orders.handshakes
    assert uri_of(handshake) == APP
    assert handshake.server_name == "outbound_.80_._.orders.default.svc.cluster.local"
    assert orders.requests[0]["host"] == "orders"


@pytest.mark.parametrize(
    "shown",
    [
        {"spiffe_id": "spiffe://cluster.local/ns/default/sa/other"},
        {"spiffe_id": "spiffe://cluster.local/ns/shop/sa/orders"},
        {"spiffe_id": "spiffe://other.example/ns/default/sa/orders"},
        {"life_s": -1},
        {"issuer": "another"},
    ],
    ids=["account", "namespace", "trust domain", "expired", "authority"],
)
def test_whoever_else_answers_gets_nothing(it, shown):
    """503 UF, before a byte of the request has left."""
    if "issuer" in shown:
        shown = {"issuer": TestMesh(WORKLOAD)}
    orders = it.upstream(**shown)
    it.apply(service_of("orders", (orders.port, "orders")))
    response, body = it.client.call("POST", "http://orders/", body=b"secret")
    assert (response.status, response.info.flags) == (503, "UF")
    assert b"TLS_error: " in body
    assert arrived(orders) == 0


def test_without_an_identity_nothing_is_dialled(it):
    """And nothing goes out in the clear in its place."""
    orders = it.upstream()
    it.apply(
        service_of("orders", (orders.port, "orders")),
        workload=WORKLOAD.replace("serviceAccount: app", ""),
    )
    assert it.get() == (503, "UF")
    assert (orders.handshakes, orders.connections) == ([], 0)


def test_a_plaintext_server_in_the_place_of_one_with_an_identity_gets_nothing(it):
    """Whatever listens there does not learn what was asked."""
    with socket.create_server(("127.0.0.1", 0)) as plain, ThreadPoolExecutor(1) as pool:
        heard = pool.submit(_hear, plain)
        it.apply(service_of("orders", (plain.getsockname()[1], "orders")))
        assert it.get() == (503, "UF")
        assert b"orders HTTP" not in heard.result() and b"GET" not in heard.result()


def _hear(listener) -> bytes:
    """What the first caller says; it is answered as plaintext servers do."""
    connection, _ = listener.accept()
    with connection:
        said = connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    return said


def test_endpoints_are_called_each_as_it_speaks(it):
    """One has an identity already, the other not yet: a mesh is built one by one."""
    orders = it.upstream()
    with closing(Upstream([OK])) as plain:
        it.apply(service_of("orders", (orders.port, "orders"), (plain.port, None)))
        for _ in range(6):
            assert it.get() == (200, "-")
        assert len(orders.requests) == len(plain.requests) == 3
        assert len(orders.handshakes) == 1
        assert plain.connections == 1


def test_two_accounts_behind_one_service_are_told_apart(it):
    """Neither can stand in for the other, and their connections live side by side."""
    one, two = it.upstream(), it.upstream("spiffe://cluster.local/ns/default/sa/second")
    it.apply(service_of("orders", (one.port, "orders"), (two.port, "second")))
    for _ in range(6):
        assert it.get() == (200, "-")
    assert (len(one.handshakes), len(two.handshakes)) == (1, 1)
    it.apply(service_of("orders", (one.port, "second"), (two.port, "orders")))
    for _ in range(2):
        assert it.get() == (503, "UF")


def test_two_services_at_one_address_share_no_connection(it):
    """What one was checked for says nothing of the other."""
    orders = it.upstream()
    it.apply(
        service_of("orders", (orders.port, "orders")), service_of("stock", (orders.port, "stock"))
    )
    assert it.get("orders") == (200, "-")
    assert it.get("stock") == (503, "UF")
    assert it.get("orders") == (200, "-")
    assert len(orders.requests) == 2


@pytest.mark.parametrize(
    ("policy", "more", "account", "result"),
    [
        ("tls: {mode: ISTIO_MUTUAL}", "", None, (503, "UF")),
        (f'tls: {{mode: ISTIO_MUTUAL, subjectAltNames: ["{ORDERS}"]}}', "", None, (200, "-")),
        ('tls: {mode: ISTIO_MUTUAL, subjectAltNames: ["spiffe://cluster.local/ns/x/sa/y"]}',
         "", "orders", (503, "UF")),
        ("tls: {mode: ISTIO_MUTUAL}", f'subjectAltNames: ["{ORDERS}"]', None, (200, "-")),
        ("tls: {mode: DISABLE}", "", "orders", (503, "UC")),
    ],
    ids=["nobody expected", "by the rule", "another", "by the service", "plaintext"],
)  # fmt: skip
def test_policy_says_whom_to_expect(it, policy, more, account, result):
    """A DestinationRule, else the ServiceEntry, else the registry; nobody is never anybody."""
    orders = it.upstream()
    it.apply(service_of("orders", (orders.port, account), policy=policy, more=more))
    assert it.get() == result


def test_a_renewed_identity_takes_the_place_of_the_old(it):
    """New connections show it, the old ones end, and no call fails."""
    orders = it.upstream()
    it.apply(service_of("orders", (orders.port, "orders")))
    for turn in itertools.count(1):
        for _ in range(3):
            assert it.get() == (200, "-")
        assert len(orders.handshakes) == turn
        if turn == 5:
            break
        it.mesh._own = None  # as half of its life passes
    wait_until(lambda: len(orders._live) <= 1)


def test_no_request_begins_on_a_connection_whose_certificate_has_ended(it):
    """Ours or theirs: a session never outlives an identity."""
    orders = it.upstream(life_s=2)
    it.apply(service_of("orders", (orders.port, "orders")))
    assert it.get() == (200, "-")
    wait_until(lambda: it.get() == (503, "UF"))
    # The first is used no more, and each one after it is refused.
    wait_until(lambda: len(orders.handshakes) >= 2)
    wait_until(lambda: orders.handshakes[-1].received == 0)
