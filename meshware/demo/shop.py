"""The bookshop of examples/ as running processes: a page, three versions of reviews, ratings."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meshware.demo.processes import Processes, clean_environment, listen
from meshware.errors import SettingsError

__all__ = ["Shop", "examples_directory"]


@dataclass(frozen=True, slots=True)
class Role:
    """What one process of the FastAPI app is told to be."""

    role: str
    fault: str = ""


FASTAPI = {
    "reviews-v1": Role("reviews-v1"),
    "reviews-v2": Role("reviews-v2"),
    "reviews-v3": Role("reviews-v3"),
    "ratings": Role("ratings"),
    "ratings-failing": Role("ratings", "error"),
    "ratings-hanging": Role("ratings", "hang"),
}
"""The workloads that the FastAPI app plays, by name."""


def examples_directory() -> Path:
    """Return where the example apps lie: in the wheel beside this module, or in the checkout.

    Raises:
        SettingsError: neither is there.
    """
    here = Path(__file__).resolve().parent
    for place in (here / "examples", here.parents[1] / "examples"):
        if (place / "flask_app" / "app.py").is_file():
            return place
    raise SettingsError("the example apps are not installed: install meshware from its wheel")


class Shop:
    """The shop's sockets and processes. Sockets are made first, for policy names their ports."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._sockets: dict[str, socket.socket] = {
            name: listen() for name in ("productpage", *FASTAPI)
        }
        self.ports: Mapping[str, int] = {
            name: listener.getsockname()[1] for name, listener in self._sockets.items()
        }

    def start(self, config: Path) -> None:
        """Start every process, following the policy at `config`."""
        examples = examples_directory()
        for name, role in FASTAPI.items():
            self._start_fastapi(name, role, examples, config)
        listener = self._sockets["productpage"]
        self._processes.start(
            "productpage",
            "meshware",
            [
                "run", "--", sys.executable, "-m", "gunicorn",
                "--chdir", str(examples / "flask_app"),
                "--bind", f"fd://{listener.fileno()}",
                "--workers", "2",
                "--threads", "8",
                "--log-level", "warning",
                "--no-control-socket",
                "app:app",
            ],
            environ=self._environ("productpage", config),
            inherit=listener,
        )  # fmt: skip

    def _start_fastapi(self, name: str, role: Role, examples: Path, config: Path) -> None:
        listener = self._sockets[name]
        environ = self._environ(name, config)
        environ["SHOP_ROLE"] = role.role
        environ["SHOP_FAULT"] = role.fault
        self._processes.start(
            name,
            "meshware",
            [
                "run", "--", sys.executable, "-m", "uvicorn",
                "--app-dir", str(examples / "fastapi_app"),
                "--fd", str(listener.fileno()),
                "--log-level", "warning",
                "app:app",
            ],
            environ=environ,
            inherit=listener,
        )  # fmt: skip

    def _environ(self, name: str, config: Path) -> dict[str, str]:
        return {
            **clean_environment(os.environ),
            "MESH_CONFIG": str(config),
            "MESH_WORKLOAD": f"default/{name}",
            "MESH_ADDRESS": "127.0.0.1",
            "MESH_PORT": str(self.ports[name]),
        }
