"""The real Envoy: where it is, and one process of it over an exported configuration."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx

from meshware.cli.export import write_export
from meshware.envoy import Endpoints, Settings, export_files
from meshware.policy.file import Records
from meshware.policy.view import Client

PATIENCE_S = 60.0

LOG = {
    "call": "%REQ(X-CASE)%",
    "flags": "%RESPONSE_FLAGS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "long_flags": "%RESPONSE_FLAGS_LONG%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "asked_path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "bare_path": "%PATH(NQ)%",
    "query": "%QUERY_PARAMS%",
    "authority": "%REQ(:AUTHORITY)%",
    "bytes_sent": "%BYTES_SENT%",
    "bytes_received": "%BYTES_RECEIVED%",
    "grpc": "%GRPC_STATUS%",
    "text": "%REQ(:METHOD)% %REQ(X-NONE)% 100%% %RESPONSE_CODE%",
    "nested": {"list": ["%RESP(CONTENT-TYPE)%", 1, None]},
}
"""What both sides log of a call, in Envoy's words."""


class Envoy:
    """One Envoy, on free ports of the loopback.

    Args:
        program: the executable.
        directory: empty; for the configuration, and what Envoy writes.
        records: policy.
        client: who calls.
    """

    def __init__(
        self,
        program: Path,
        directory: Path,
        records: Records,
        client: Client,
        *,
        endpoints: Endpoints = "inline",
    ) -> None:
        self._program = program
        self._directory = directory
        self._client = client
        self._settings = Settings(
            directory=str(directory), port=1, admin_port=1, endpoints=endpoints
        )
        self.replace(records)

    def replace(self, records: Records) -> None:
        """Put other policy in its place, as the command would."""
        export = export_files(records, self._client, self._settings)
        content = json.loads(export.files["bootstrap.json"])
        content["admin"]["address"]["socket_address"]["port_value"] = 0
        export.files["bootstrap.json"] = json.dumps(content).encode()
        content = json.loads(export.files["lds.json"])
        self._any_port_and_a_log(content)
        export.files["lds.json"] = json.dumps(content).encode()
        write_export(export, self._directory)

    def _any_port_and_a_log(self, content: Any) -> None:
        [listener] = content["resources"]
        listener["address"]["socket_address"]["port_value"] = 0
        [chain] = listener["filter_chains"]
        kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
        chain["filters"][0]["typed_config"]["access_log"] = [
            {
                "name": "file",
                "typed_config": {
                    "@type": kind,
                    "path": str(self._directory / "access.log"),
                    "log_format": {"json_format": LOG},
                },
            }
        ]

    async def __aenter__(self) -> Envoy:
        self._errors = (self._directory / "errors.log").open("wb")
        admin = self._directory / "admin.address"
        self._process = await asyncio.create_subprocess_exec(
            str(self._program),
            "--config-path",
            str(self._directory / "bootstrap.json"),
            "--admin-address-path",
            str(admin),
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
            "--file-flush-interval-msec",
            "10",
            "--log-level",
            "warning",
            stdout=self._errors,
            stderr=self._errors,
        )
        until = time.monotonic() + PATIENCE_S
        while not (admin.exists() and admin.read_text()):
            self._see_that_it_runs(until)
            await asyncio.sleep(0.02)
        self.admin = f"http://{admin.read_text()}"
        async with httpx.AsyncClient(trust_env=False) as client:
            while not (listeners := await self._listeners(client)):
                self._see_that_it_runs(until)
                await asyncio.sleep(0.02)
        self.port = int(listeners[-1].rpartition(":")[2])
        return self

    async def _listeners(self, client: httpx.AsyncClient) -> list[str]:
        """The addresses that it listens at, none before it is ready."""
        try:
            ready = await client.get(f"{self.admin}/ready")
            found = await client.get(f"{self.admin}/listeners")
        except httpx.TransportError:
            return []
        return found.text.split() if ready.status_code == 200 else []

    def _see_that_it_runs(self, until: float) -> None:
        said = (self._directory / "errors.log").read_text(errors="replace")
        assert self._process.returncode is None, f"Envoy ended: {said[-3000:]}"
        assert time.monotonic() < until, f"Envoy is not ready: {said[-3000:]}"

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 10)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._errors.close()

    async def log(self, calls: set[str]) -> dict[str, dict[str, Any]]:
        """The access log's line for each of these calls, once all are there."""
        path = self._directory / "access.log"
        until = time.monotonic() + PATIENCE_S
        while True:
            text = path.read_text() if path.exists() else ""
            lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
            found = {line["call"]: line for line in lines}
            missing = calls - set(found)
            if not missing:
                return found
            assert time.monotonic() < until, f"no line in Envoy's access log for {sorted(missing)}"
            await asyncio.sleep(0.05)
