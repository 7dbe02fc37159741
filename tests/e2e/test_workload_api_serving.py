"""`meshware sync --workload-api`: the daemon serves the SPIFFE Workload API on a Unix socket.

The client is the `spiffe` package, and the callers of other users are processes of theirs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import threading

import grpc
import pytest
import spiffe
from ca_world import needs_root, users
from daemons import meshware
from identity_world import made_mesh, wait_until
from workload_api_world import TD, ask_as, place, serving, spiffe_id

__all__ = ["place"]


@contextlib.contextmanager
def client_of(path):
    """The `spiffe` package, as this user."""
    with spiffe.WorkloadApiClient("unix:" + path, default_timeout=20) as client:
        yield client


def test_the_daemons_own_user_gets_every_svid_where_policy_binds_no_users(place):
    """With their keys, and the bundle of the trust domain."""
    made_mesh(place)
    with serving(place) as (_, path), client_of(path) as client:
        context = client.fetch_x509_context()
        assert {str(each.spiffe_id) for each in context.x509_svids} == {
            spiffe_id("web"),
            spiffe_id("orders"),
        }
        bundles = client.fetch_x509_bundles()
        domain = spiffe.TrustDomain(TD)
        assert len(bundles.get_bundle_for_trust_domain(domain).x509_authorities) == 1
        for svid in context.x509_svids:
            assert svid.private_key.public_key() == svid.leaf.public_key()


def test_a_rotation_is_pushed(place):
    """Who watches gets each new SVID by itself."""
    made_mesh(place, spec="  identity: {leafLife: 4s}\n")
    got = []
    with serving(place) as (_, path), client_of(path) as client:
        handler = client.stream_x509_contexts(got.append, lambda _: None)
        wait_until(lambda: len({each.default_svid.leaf.serial_number for each in got}) >= 3)
        handler.cancel()


def test_a_root_of_another_domain_comes_along(place):
    """Bundles of policy are federated ones."""
    from secured_apps import Authority

    pem = Authority("partner.test").pem.replace("\n", "\n      ")
    spec = f"  caCertificates:\n  - trustDomains: [partner.test]\n    pem: |\n      {pem}\n"
    made_mesh(place, spec=spec)
    with serving(place) as (_, path), client_of(path) as client:
        found = client.fetch_x509_context().x509_bundle_set
        assert {each.trust_domain.name for each in found.bundles} == {TD, "partner.test"}
        found = client.fetch_x509_bundles()
        assert {each.trust_domain.name for each in found.bundles} == {TD, "partner.test"}


@needs_root
def test_each_user_gets_its_own_and_a_stranger_nothing(place):
    """The kernel says who calls; root itself is nobody's fellow here."""
    web, orders, stranger = users(3)
    bound = ", ".join(
        f"{{serviceAccount: default/{name}, user: {user.pw_name}}}"
        for name, user in (("web", web), ("orders", orders))
    )
    made_mesh(place, spec=f"  nodeIdentities: [{bound}]\n")
    with serving(place) as (_, path):
        assert ask_as(web.pw_uid, path) == {"ids": [spiffe_id("web")]}
        assert ask_as(orders.pw_uid, path) == {"ids": [spiffe_id("orders")]}
        for uid in (stranger.pw_uid, os.geteuid()):
            assert "no identity is issued to this user" in ask_as(uid, path)["error"]


@needs_root
def test_another_users_key_in_ones_own_directory_is_handed_to_nobody(place):
    """Whether it is a link, a second name or a copy."""
    web, orders = users(2)
    bound = ", ".join(
        f"{{serviceAccount: default/{name}, user: {user.pw_name}}}"
        for name, user in (("web", web), ("orders", orders))
    )
    made_mesh(place, spec=f"  nodeIdentities: [{bound}]\n")
    identity = place / "run" / "identity" / "default"
    with serving(place) as (daemon, path):
        daemon.popen.send_signal(signal.SIGSTOP)  # so that the daemon does not mend it at once
        svid = identity / "web" / "svid.pem"
        other = identity / "orders" / "svid.pem"
        svid.unlink()
        svid.symlink_to(other)
        daemon.popen.send_signal(signal.SIGCONT)
        for _ in range(5):
            said = ask_as(web.pw_uid, path)
            assert said.get("ids", [spiffe_id("web")]) == [spiffe_id("web")]
        daemon.wait_for(lambda: svid.is_file() and not svid.is_symlink())
        # And the decision itself, with nobody who mends.
        from meshware.ca.handouts import Handouts
        from meshware.clock import SystemClock

        [plan_file] = (place / "state").glob("*/identities.json")
        daemon.end(signal.SIGKILL)
        handouts = Handouts(place / "run", plan_file, SystemClock())
        assert [str(each.id) for each in handouts.of(web.pw_uid).svids] == [spiffe_id("web")]
        for forge in (
            lambda: svid.symlink_to(other),
            lambda: os.link(other, svid),
            lambda: svid.write_bytes(other.read_bytes()),
        ):
            svid.unlink()
            forge()
            handouts = Handouts(place / "run", plan_file, SystemClock())
            assert handouts.of(web.pw_uid).svids == ()
            assert len(handouts.of(orders.pw_uid).svids) <= 1


def test_a_call_without_the_security_header_is_refused(place):
    """As the SPIFFE Workload Endpoint demands."""
    made_mesh(place)
    with serving(place) as (_, path), grpc.insecure_channel("unix:" + path) as channel:
        for kind, method in (
            (channel.unary_stream, "FetchX509SVID"),
            (channel.unary_stream, "FetchX509Bundles"),
            (channel.unary_stream, "FetchJWTBundles"),
            (channel.unary_unary, "FetchJWTSVID"),
        ):
            call = kind(f"/SpiffeWorkloadAPI/{method}")
            with pytest.raises(grpc.RpcError) as caught:
                list(call(b"", timeout=20))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_jwt_svids_are_not_there(place):
    """And that is said."""
    made_mesh(place)
    with serving(place) as (_, path), client_of(path) as client:
        with pytest.raises(spiffe.errors.PySpiffeError, match="UNIMPLEMENTED|no JWT-SVIDs"):
            client.fetch_jwt_svid(audience={"test"})
        with pytest.raises(spiffe.errors.PySpiffeError, match="UNIMPLEMENTED|no JWT-SVIDs"):
            client.fetch_jwt_bundles()


def test_garbage_and_crowds_end_nothing(place):
    """Bytes that are no gRPC, silent connections by the hundred, and callers that go away."""
    made_mesh(place)
    with serving(place) as (daemon, path):
        for data in (b"", b"\0" * 100_000, b"GET / HTTP/1.1\r\n\r\n", os.urandom(50_000)):
            with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
                sock.connect(path)
                sock.sendall(data)
        crowd = []
        for _ in range(200):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(5)
            with contextlib.suppress(OSError):
                sock.connect(path)
            crowd.append(sock)
        for sock in crowd:
            sock.close()

        def answers():
            """Whether a call succeeds."""
            with client_of(path) as client, contextlib.suppress(spiffe.errors.PySpiffeError):
                return len(client.fetch_x509_context().x509_svids) == 2
            return False

        wait_until(answers)
        assert daemon.popen.poll() is None
        descriptors = f"/proc/{daemon.popen.pid}/fd"
        wait_until(lambda: len(os.listdir(descriptors)) < 60)


def test_many_watch_at_once(place):
    """Fifty streams of one user."""
    made_mesh(place)
    with serving(place) as (_, path):
        got, failed = [], []

        def watch():
            with client_of(path) as client:
                try:
                    got.append(client.fetch_x509_svid())
                except spiffe.errors.PySpiffeError as error:
                    failed.append(error)

        threads = [threading.Thread(target=watch) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(got), failed) == (50, [])


def test_the_socket_is_everybodys_and_goes_with_the_daemon(place):
    """A stale one is replaced; one in use, or a file, is left alone."""
    made_mesh(place)
    with serving(place) as (daemon, path):
        about = os.stat(path)
        assert (stat.S_ISSOCK(about.st_mode), stat.S_IMODE(about.st_mode)) == (True, 0o666)
        daemon.end(signal.SIGKILL)
        assert os.path.exists(path)
    with serving(place) as (daemon, path):
        with client_of(path) as client:
            assert client.fetch_x509_svid()
        (place / "other").mkdir()
        made_mesh(place / "other")
        again = second(place / "other", path)
        assert (again.returncode, "another process listens" in str(again.stderr)) == (2, True)
        daemon.end(signal.SIGTERM)
        assert not os.path.exists(path)
    (place / "file").write_text("mine")
    again = second(place / "other", place / "file")
    assert (again.returncode, "no socket" in str(again.stderr)) == (2, True)
    assert (place / "file").read_text() == "mine"
    again = second(place / "other", place / ("x" * 120))
    assert (again.returncode, "at most" in str(again.stderr)) == (2, True)


def second(root, path):
    """Another daemon that is to serve at a path."""
    return meshware(
        *("sync", "--source", root / "mesh", "--run-dir", root / "run"),
        *("--state-dir", root / "state", "--listen", "off", "--workload-api", path),
    )
