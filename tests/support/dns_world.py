"""Services that are found by DNS: their policy, upstreams at several addresses, and a client."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
from upstreams import Upstream, http

from meshware.clients.httpx import MeshTransport
from meshware.runtime.mesh import Mesh


def entry(port: int, *hosts: str, resolution: str = "DNS", **spec: Any) -> str:
    """A service at port 80 whose endpoints listen at a port of theirs."""
    given = {
        "hosts": list(hosts) or ["api.test"],
        "location": "MESH_INTERNAL",
        "resolution": resolution,
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": port}],
        **spec,
    }
    name = given["hosts"][0].replace(".", "-")
    return f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec: {json.dumps(given)}
"""


@contextmanager
def upstreams(count: int) -> Iterator[Sequence[Upstream]]:
    """Upstreams at one port of 127.0.0.1, 127.0.0.2 and so on, each of which says its address."""
    for _ in range(20):
        with ExitStack() as stack:
            port, made = 0, []
            try:
                for number in range(1, count + 1):
                    place = (f"127.0.0.{number}", port)
                    upstream = Upstream([[http(200, place[0].encode())]], place=place)
                    made.append(stack.enter_context(closing(upstream)))
                    port = upstream.port
            except OSError:
                continue  # somebody has that port at another address
            yield made
            return
    raise AssertionError("no port is free at all addresses")


class Caller:
    """A client in a process that follows policy."""

    def __init__(self, config: Path, environ: Mapping[str, str]) -> None:
        self.mesh = Mesh.from_env({"MESH_CONFIG": str(config), **environ})
        self._client = httpx2.Client(transport=MeshTransport(self.mesh))

    def get(self, url: str = "http://api.test/") -> tuple[int, str]:
        """Make a call, and return status and body."""
        response = self._client.get(url)
        return response.status_code, response.text

    def close(self) -> None:
        self._client.close()
        self.mesh.stop()


@contextmanager
def calling(config: Path, **environ: str) -> Iterator[Caller]:
    """A client that follows a policy file, or YAML, which is ended."""
    caller = Caller(config, environ)
    try:
        yield caller
    finally:
        caller.close()
