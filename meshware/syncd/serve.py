"""Serve the dashboard at the address of /healthz and /metrics, by uvicorn in its own thread."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from meshware.clock import Clock
from meshware.dashboard.access import HEADERS, Access, is_local_name, is_loopback, is_own_origin
from meshware.dashboard.data import Console
from meshware.errors import SyncError
from meshware.syncd.listen import Address, Answers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["DashboardServer", "read_token"]

_MOST_CONNECTIONS = 200
_LEAST_TOKEN = 16
_OURS = frozenset({"/healthz", "/metrics"})


def read_token(path: Path) -> str:
    """Return the token in a file: one line of letters, digits, `-` and `_`.

    Raises:
        SyncError: it cannot be read, others may read it, or it is no good token.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SyncError(f"--dashboard-token-file {path} may be read by others: chmod 600 it")
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SyncError(
            f"--dashboard-token-file {path} cannot be read: {error}; write the token into it"
        ) from error
    if len(token) < _LEAST_TOKEN or not set(token.replace("-", "_")) <= _LETTERS:
        raise SyncError(
            f"--dashboard-token-file {path} holds no token of at least {_LEAST_TOKEN} letters, "
            "digits, - and _: write one, as of `openssl rand -hex 32`"
        )
    return token


_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class DashboardServer:
    """An HTTP server in a thread of its own, from construction to `stop`.

    Args:
        address: where.
        answers: to /healthz and /metrics, which need no token.
        console: what the dashboard shows.
        access: who may see it.
        clock: the machine's.
        prometheus: address of a server that keeps history; None: there is none.

    Raises:
        SyncError: the address cannot be had.
    """

    def __init__(
        self,
        address: Address,
        answers: Answers,
        console: Console,
        access: Access,
        clock: Clock,
        *,
        prometheus: str | None = None,
    ) -> None:
        import uvicorn

        from meshware.dashboard.api import build_app
        from meshware.syncd.connections import Connections

        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address.host, address.port))
        except OSError as error:
            self._socket.close()
            reason = (error.strerror or str(error)).lower()
            raise SyncError(
                f"cannot listen on {address}: {reason}; name another address by --listen, or "
                "--listen off"
            ) from error
        self.address = Address(address.host, self._socket.getsockname()[1])
        connections = Connections()
        page = build_app(console, access, clock, abort=connections.abort, prometheus=prometheus)
        app = _WithAnswers(page, answers, is_local=is_loopback(address.host))
        config = uvicorn.Config(
            app,
            http=connections.protocol(),
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="error",  # a client's mistakes would fill the daemon's log
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="meshware-dashboard", daemon=True)
        self._socket.listen(128)  # from now on connections wait, and are not refused
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()

    def _run(self) -> None:
        # Signals are the daemon's: `Server.run` would take them in the main thread alone.
        asyncio.run(self._server.serve(sockets=[self._socket]))


class _WithAnswers:
    """Answers what monitoring asks, and hands the rest to the dashboard."""

    def __init__(self, app: ASGIApp, answers: Answers, *, is_local: bool) -> None:
        self._app = app
        self._answers = answers
        self._is_local = is_local  # nobody but this machine can ask, by a name of its own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in _OURS:
            await self._app(scope, receive, send)
            return
        from starlette.responses import Response

        status, kind, body = 405, "text/plain", b"there is GET alone\n"
        headers = {**HEADERS, "Allow": "GET, HEAD"}
        if scope["method"] in ("GET", "HEAD"):
            headers = dict(HEADERS)
            host, accept = _header(scope, b"host"), _header(scope, b"accept")
            if self._is_local and scope["path"] == "/metrics" and not is_local_name(host):
                # A page elsewhere whose name was turned to this address would read them.
                status, body = 403, b"metrics are asked for by a loopback name\n"
            elif scope["path"] == "/healthz" and not _is_own(scope, host):
                status, body = 403, b"another site's page asks, which has no business here\n"
            else:
                status, kind, body = await asyncio.to_thread(
                    self._answers.to, scope["path"], accept
                )
        await Response(body, status, {**headers, "Content-Type": kind})(scope, receive, send)


def _is_own(scope: Scope, host: str) -> bool:
    origins = [value.decode("latin-1") for key, value in scope["headers"] if key == b"origin"]
    return all(is_own_origin(origin, host) for origin in origins)


def _header(scope: Scope, name: bytes) -> str:
    found: bytes = next((value for key, value in scope["headers"] if key == name), b"")
    return found.decode("latin-1")
