"""A real Envoy with listeners and clusters that do not change, a port for each listener."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0


class StaticEnvoy:
    """Runs from when it is made until it is closed.

    Args:
        program: Envoy's.
        directory: for its files.
        resources: `static_resources`; its listeners have names, and the port 0.

    Attributes:
        ports: of the listeners, by name.
    """

    def __init__(
        self, program: str, directory: Path, resources: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        config = {
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": resources,
        }
        (directory / "envoy.json").write_text(json.dumps(config))
        self._directory = directory
        self._log = (directory / "envoy.log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                *("--config-path", str(directory / "envoy.json")),
                *("--admin-address-path", str(directory / "admin")),
                *("--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"),
                *("--file-flush-interval-msec", "10"),
            ],
            stdout=self._log,
            stderr=self._log,
        )
        try:
            self.ports = self._listening(len(resources["listeners"]))
        except BaseException:
            self.close()
            raise

    def _listening(self, count: int) -> dict[str, int]:
        until = time.monotonic() + PATIENCE_S
        while True:
            said = (self._directory / "envoy.log").read_text(errors="replace")
            assert self._process.poll() is None, f"Envoy ended: {said[-3000:]}"
            assert time.monotonic() < until, f"Envoy is not ready: {said[-3000:]}"
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                lines = [line.split("::") for line in self._listeners() if "::127" in line]
                if len(lines) == count:
                    return {name: int(where.rpartition(":")[2]) for name, where in lines}
            time.sleep(0.05)

    def _listeners(self) -> list[str]:
        host, _, port = (self._directory / "admin").read_text().rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
        try:
            connection.request("GET", "/listeners")
            return connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
