"""A workload with an identity, served by real servers, and callers good and bad."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from inbound_servers import PATIENCE_S, PolicyFile, Server, records_of

from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.issue import Issuer, issue_intermediate, issue_root, issue_svid, new_key
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.identity.tls import mesh_client_context
from meshware.policy.record_types import PeerModes, WorkloadRecord
from meshware.runtime.files import replace_file
from meshware.runtime.follower import POLL_S

SELF = "spiffe://cluster.local/ns/default/sa/app"
CALLER = "spiffe://cluster.local/ns/shop/sa/web"
WORKLOAD = "workload/default/app"
LISTENS = re.compile(r"(?:Listening at|running on|Running on):? https?://127\.0\.0\.1:(\d+)")


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def authority(trust_domain: str = "cluster.local", name: str = "root") -> Issuer:
    """An intermediate below a root of its own."""
    root = issue_root(trust_domain, new_key(), now(), 86400.0, name)
    return issue_intermediate(root, new_key(), now(), 86400.0)


def svid_of(issuer: Issuer, spiffe_id: str, *, ended: bool = False) -> X509SVID:
    """An SVID; one that has ended if asked for."""
    at = now() - timedelta(seconds=600) if ended else now()
    return issue_svid(issuer, SpiffeID.parse(spiffe_id), new_key(), at, 300.0 if ended else 3600.0)


class World:
    """A run directory with policy and an identity."""

    def __init__(self, run_dir: Path) -> None:
        self.policy = PolicyFile(run_dir)
        self.issuer = authority()
        self.identity = run_dir / "identity" / "default" / "app"
        self.identity.mkdir(parents=True)
        self.believe(self.issuer)
        self.become(svid_of(self.issuer, SELF))
        self.mode: str = "STRICT"
        self.generation = self.set_mode("STRICT")

    def become(self, svid: X509SVID) -> None:
        """Put an SVID in force."""
        replace_file(self.identity / "svid.pem", svid.pem.encode(), mode=0o600)
        self.svid = svid

    def believe(self, *issuers: Issuer) -> None:
        """Put a bundle of these roots in force."""
        roots = "".join(one.cert_pem[one.cert_pem.rindex("-----BEGIN") :] for one in issuers)
        replace_file(self.identity / "bundle.pem", roots.encode(), mode=0o644)
        self.roots = roots

    def set_mode(
        self, mode: str, ports: Mapping[str, str] | None = None, account: str | None = "app"
    ) -> int:
        """Put a mode in force. Returns the generation."""
        records = records_of()
        workload = msgspec.json.decode(records[WORKLOAD], type=WorkloadRecord)
        peer = PeerModes(mode=mode, ports=dict(ports or {}))
        changed = msgspec.structs.replace(workload, service_account=account, peer=peer)
        self.generation = self.policy.write_records(
            {**records, WORKLOAD: msgspec.json.encode(changed)}
        )
        self.mode = mode
        return self.generation

    def client_context(self, svid: X509SVID) -> ssl.SSLContext:
        """The context of a caller that expects this workload."""
        bundles = Bundles([Bundle.from_pem("cluster.local", self.roots)])
        return mesh_client_context(svid, bundles, frozenset({SELF}), now)


def careless_context() -> ssl.SSLContext:
    """The context of a caller that shows nothing and believes anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class TLSServer(Server):
    """A server whose port may speak TLS."""

    world: World

    def wait_until_listening(self) -> None:
        """Wait until it says where it listens, and answers there as policy says."""
        self.wait_for(lambda: LISTENS.search(self.words()), "listen")
        found = LISTENS.search(self.words())
        assert found is not None
        self.port = int(found[1])
        self.wait_for_generation()

    def wait_for_generation(self) -> None:
        """Wait until the workers have the newest policy in force."""
        self.wait_for(self._has_newest, "take up policy")
        if "--workers" in self.popen.args:
            time.sleep(2 * POLL_S)  # whichever of them answered, the others look as often

    def _has_newest(self) -> bool:
        context = None
        if self.world.mode != "DISABLE":
            context = self.world.client_context(svid_of(self.world.issuer, CALLER))
        try:
            said = self.ask(context)
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return bool(said["generation"] == self.world.generation)

    def ask(
        self,
        context: ssl.SSLContext | None,
        target: str = "/",
        headers: Sequence[tuple[str, str]] = (),
        name: str | None = None,
    ) -> dict[str, Any]:
        """Ask once. Returns what the app said.

        Raises:
            OSError: the connection was refused or ended.
            http.client.HTTPException: there was no answer.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as bare:
            used = bare if context is None else context.wrap_socket(bare, server_hostname=name)
            with used:
                return self.ask_over(used, target, headers)

    def ask_over(
        self, used: socket.socket, target: str = "/", headers: Sequence[tuple[str, str]] = ()
    ) -> dict[str, Any]:
        """Ask over a connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = used
        connection.request("GET", target, headers=dict(headers))
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, (response.status, body)
        said: dict[str, Any] = json.loads(body)
        return said

    def calls(self) -> list[str]:
        """The paths that reached the app."""
        path = self.log.parent / "calls"
        return path.read_text().splitlines() if path.exists() else []


@contextmanager
def tls_serving(
    command: Sequence[str], place: Path, world: World, **environ: str
) -> Iterator[TLSServer]:
    """A running server, which is ended."""
    server = TLSServer(command, place, {"MESH_CONFIG": os.fspath(world.policy.path), **environ})
    server.world = world
    try:
        server.wait_until_listening()
        yield server
    finally:
        server.end()
    assert "Traceback" not in server.words()
