"""Programs below `meshware run`, for tests: started in a directory of their own."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from inbound_servers import ROOT, SUPPORT, PolicyFile, Server

__all__ = ["BIN", "DENY_SECRET", "Running", "free_port", "running"]

BIN = Path(sys.executable).parent
DENY_SECRET = {
    "apiVersion": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "no-secrets", "namespace": "default"},
    "spec": {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/secret*"]}}]}]},
}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Running(Server):
    """A server below `meshware run`."""

    def __init__(
        self,
        command: Sequence[str],
        place: Path,
        port: int,
        environ: dict[str, str],
        options: Sequence[str] = (),
    ) -> None:
        self.place = place
        program = [str(BIN / command[0]), *command[1:]] if "/" not in command[0] else command
        super().__init__(["meshware", "run", *options, "--", *program], place, environ)
        self.port = port

    def lines(self, name: str) -> list[str]:
        """What the app noted in a file."""
        path = self.place / name
        return path.read_text(encoding="utf-8").split() if path.exists() else []


@contextmanager
def running(
    command: Sequence[str],
    place: Path,
    *,
    policies: Sequence[dict] | None = (DENY_SECRET,),
    environ: dict[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Running]:
    """Run a command below `meshware run` until it answers.

    Args:
        command: its words; `{port}` becomes a free port.
        place: a directory for it.
        policies: besides the workload; None: there is no policy file at all.
        environ: more variables.
        options: of `meshware run`.
    """
    file = PolicyFile(place / "run")
    (place / "run" / "reports").mkdir()
    if policies is not None:
        file.write(*policies)
    port = free_port()
    server = Running(
        [word.replace("{port}", str(port)) for word in command],
        place,
        port,
        {
            "MESH_CONFIG": str(file.path),
            "PYTHONPATH": f"{SUPPORT}:{ROOT}",
            "PYTHONWARNINGS": "ignore::DeprecationWarning",
            **(environ or {}),
        },
        options,
    )
    try:
        server.wait_for(server.is_answering, "answer")
        yield server
    finally:
        server.end()
