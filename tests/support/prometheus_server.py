"""A real Prometheus that scrapes a daemon."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request

PATIENCE_S = 60.0

CONFIG = """\
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: mesh
    static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    """The server, in a process of its own, with data in a directory of the test's."""

    def __init__(self, program: str, place, target: str, *, port: int = 0) -> None:
        place.mkdir()
        (place / "prometheus.yml").write_text(CONFIG.format(target=target))
        with socket.create_server(("127.0.0.1", port)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = (place / "log").open("wb")
        self.popen = subprocess.Popen(
            [
                program,
                f"--config.file={place}/prometheus.yml",
                f"--storage.tsdb.path={place}/data",
                f"--web.listen-address={self.address}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def ask(self, path: str, **query: str):
        """What its HTTP API answers."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return found["data"]

    def query(self, promql: str) -> dict[tuple[tuple[str, str], ...], float]:
        """What an expression is now, by labels."""
        return {
            tuple(sorted(one["metric"].items())): float(one["value"][1])
            for one in self.ask("query", query=promql)["result"]
        }

    def wait_for(self, promql: str, wanted) -> None:
        """Wait until an expression is what is wanted."""
        until, found = time.monotonic() + PATIENCE_S, None
        while time.monotonic() < until:
            try:
                found = self.query(promql)
            except OSError:
                found = None  # it does not listen yet
            if found == wanted:
                return
            time.sleep(0.2)
        raise AssertionError(f"{promql} is {found} in place of {wanted}")

    def wait_until(self, promql: str, meanwhile) -> None:
        """Do something again and again until an expression has a value."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            meanwhile()
            try:
                if self.query(promql):
                    return
            except OSError:
                pass  # it does not listen yet
            time.sleep(0.2)
        raise AssertionError(f"{promql} has no value")

    def end(self) -> None:
        """Stop it."""
        self.popen.terminate()
        self.popen.wait(PATIENCE_S)
        self._log.close()
