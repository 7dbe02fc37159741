"""The real Envoy before one app: a listener for each case, as `meshware export envoy` writes it.

All listeners have one port, on an address each of the loopback, so that policies may name ports.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from identities import MeshAuthority

from conformance.rules.cases import NAMESPACE, Answer, Ask, RuleCase, Source
from meshware.envoy import Settings, export_files
from meshware.identity.svid import X509SVID
from meshware.policy.file import MemoryRecords, Records
from meshware.policy.load import load_text
from meshware.policy.record_types import BundleRecord, MeshRecord
from meshware.policy.records import build_records
from meshware.policy.view import Client
from meshware.runtime.files import replace_file

PATIENCE_S = 120.0
AT_ONCE = 24  # cases
_NO_ANSWER = Answer(0)


def records_of(text: str, authorities: dict[str, MeshAuthority]) -> MemoryRecords:
    """Records of policy, with the roots of all trust domains among them."""
    found = dict(build_records(load_text(text).resources))
    mesh = msgspec.json.decode(found["mesh"], type=MeshRecord)
    others = tuple(name for name in authorities if name != mesh.trust_domain)
    found["mesh"] = msgspec.json.encode(msgspec.structs.replace(mesh, bundles=others))
    for name, authority in authorities.items():
        record = BundleRecord(trust_domain=name, roots=(authority.root_pem,))
        found[f"bundle/{name}"] = msgspec.json.encode(record)
    return MemoryRecords(found)


class InboundEnvoy:
    """One Envoy, with the listener of each case before an app of its own.

    Args:
        program: the executable.
        directory: empty.
        authorities: by trust domain; the first is the workload's own.
        app_port: where the app listens.
    """

    def __init__(
        self, program: Path, directory: Path, authorities: dict[str, MeshAuthority], app_port: int
    ) -> None:
        self._program = program
        self._directory = directory
        self.authorities = authorities
        self._app_port = app_port
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._net = f"127.{random.SystemRandom().randrange(64, 255)}"
        self.port = _free_port()
        self.listeners: dict[str, str] = {}
        identity = directory / "identity"
        identity.mkdir(parents=True)
        own = next(iter(authorities.values())).issue(f"{NAMESPACE}/app")
        replace_file(identity / "svid.pem", own.pem.encode(), mode=0o600)

    def export(self, case: RuleCase, records: Records) -> dict[str, bytes]:
        """What the command writes for a case."""
        address = f"{self._net}.{len(self.listeners) // 250}.{len(self.listeners) % 250 + 1}"
        self.listeners[case.name] = address
        settings = Settings(
            directory=str(self._directory),
            identity=str(self._directory / "identity"),
            admin_port=1,
            inbound=(address, self.port),
            app_port=self._app_port,
        )
        export = export_files(records, Client(namespace=NAMESPACE, name="app"), settings)
        assert not export.warnings, (export.warnings, case.policies)
        return export.files

    def write(self, cases: Sequence[tuple[RuleCase, Records]]) -> None:
        """Write one configuration with the inbound listeners of all cases."""
        found: list[Any] = []
        clusters: dict[str, Any] = {}
        files: dict[str, bytes] = {}
        for case, records in cases:
            files = self.export(case, records)
            [listener] = [
                each
                for each in json.loads(files["lds.json"])["resources"]
                if each["name"] == "inbound"
            ]
            found.append({**listener, "name": case.name})
            for each in json.loads(files["cds.json"])["resources"]:
                clusters[each["name"]] = each
        files["lds.json"] = json.dumps({"resources": found}).encode()
        files["cds.json"] = json.dumps({"resources": list(clusters.values())}).encode()
        bootstrap = json.loads(files["bootstrap.json"])
        bootstrap["admin"]["address"]["socket_address"]["port_value"] = 0
        files["bootstrap.json"] = json.dumps(bootstrap).encode()
        for name, data in files.items():
            path = self._directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)

    async def __aenter__(self) -> InboundEnvoy:
        self._errors = (self._directory / "errors.log").open("wb")
        admin = self._directory / "admin.address"
        self._process = await asyncio.create_subprocess_exec(
            str(self._program),
            *("--config-path", str(self._directory / "bootstrap.json")),
            *("--admin-address-path", str(admin)),
            *("--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"),
            stdout=self._errors,
            stderr=self._errors,
        )
        until = time.monotonic() + PATIENCE_S
        while not (admin.exists() and await self._is_ready(admin.read_text())):
            said = (self._directory / "errors.log").read_text(errors="replace")
            assert self._process.returncode is None, f"Envoy ended: {said[-3000:]}"
            assert time.monotonic() < until, f"Envoy is not ready: {said[-3000:]}"
            await asyncio.sleep(0.05)
        return self

    async def _is_ready(self, admin: str) -> bool:
        host, _, port = admin.rpartition(":")
        if not port:
            return False
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /listeners HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            said = await reader.read()
            writer.close()
        except OSError:
            return False
        return said.count(f":{self.port}".encode()) >= len(self.listeners)

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()  # nothing is asked of it any more
            await self._process.wait()
        self._errors.close()

    # --- asking ---------------------------------------------------------------------------------

    async def ask_all(self, cases: Sequence[RuleCase]) -> dict[str, list[Answer]]:
        """Send every case's requests, each case's over as few connections as they come from."""
        at_once = asyncio.Semaphore(AT_ONCE)
        found: dict[str, list[Answer]] = {}

        async def ask(case: RuleCase) -> None:
            async with at_once:
                found[case.name] = await self._ask_case(case)

        async with asyncio.TaskGroup() as group:
            for case in cases:
                group.create_task(ask(case))
        return found

    async def _ask_case(self, case: RuleCase) -> list[Answer]:
        connections: dict[Source, _Connection] = {}
        found: list[Answer] = []
        try:
            for ask in case.asks:
                connection = connections.get(ask.source)
                if connection is None or connection.is_closed:
                    connection = await self._connect(self.listeners[case.name], ask.source)
                    connections[ask.source] = connection
                found.append(await connection.ask(ask))
        finally:
            for connection in connections.values():
                connection.close()
        return found

    async def _connect(self, address: str, source: Source) -> _Connection:
        context = None if source.principal is None else self._context(source.principal)
        name = None if context is None else source.sni or ""
        reader, writer = await asyncio.open_connection(
            address, self.port, local_addr=(source.ip, 0), ssl=context, server_hostname=name
        )
        return _Connection(reader, writer)

    def _context(self, principal: str) -> ssl.SSLContext:
        found = self._contexts.get(principal)
        if found is None:
            found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            found.check_hostname = False
            found.verify_mode = ssl.CERT_NONE
            path = self._directory / f"client-{len(self._contexts)}.pem"
            path.write_bytes(issued(self.authorities, principal).pem.encode())
            found.load_cert_chain(path)
            self._contexts[principal] = found
        return found


def issued(authorities: dict[str, MeshAuthority], principal: str) -> X509SVID:
    """Issue an SVID for an ID without its scheme."""
    domain, slash, path = principal.partition("/")
    return authorities[domain].issue_path(slash + path)


class _Connection:
    """One connection of HTTP/1.1, over which requests go one after another, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.is_closed = False

    async def ask(self, ask: Ask) -> Answer:
        self._writer.write(ask.wire)
        try:
            head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            self.close()
            return _NO_ANSWER
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = tuple(
            (name.lower(), value) for name, _, value in (x.partition(": ") for x in lines)
        )
        table = dict(headers)
        length = 0 if ask.method == "HEAD" else int(table.get("content-length", 0))
        body = (await self._reader.readexactly(length)).decode()
        if table.get("connection") == "close":
            self.close()
        status = int(first.split(" ")[1])
        told = table.get("x-told")
        if told is None:
            return Answer(status, body, headers)
        path, seen = json.loads(told)
        return Answer(status, body, headers, path, tuple((name, value) for name, value in seen))

    def close(self) -> None:
        self.is_closed = True
        self._writer.close()


class App:
    """The app behind Envoy: it says 200, and tells in a header what it has seen."""

    async def __aenter__(self) -> App:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip("\r\n").split("\r\n")
                headers = [line.partition(": ")[::2] for line in lines]
                told = json.dumps([first.split(" ")[1], headers])
                answer = f"HTTP/1.1 200 OK\r\nx-told: {told}\r\ncontent-length: 0\r\n\r\n"
                writer.write(answer.encode("latin-1"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
