"""Serve the dashboard at the address of /healthz and /metrics, by uvicorn in its own thread."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshware.clock import Clock
from meshware.dashboard.access import Access
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
        from uvicorn.protocols.http.h11_impl import H11Protocol

        from meshware.dashboard.api import build_app

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
        transports: dict[Any, asyncio.Transport] = {}

        class Protocol(H11Protocol):
            """Lets a connection be ended that nobody reads from."""

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                if self.client is not None:
                    transports[tuple(self.client)] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    transports.pop(tuple(self.client), None)
                super().connection_lost(exc)

        def abort(scope: Scope) -> None:
            transport = transports.get(tuple(scope.get("client") or ()))
            if transport is not None:
                transport.abort()

        app = _WithAnswers(
            build_app(console, access, clock, abort=abort, prometheus=prometheus), answers
        )
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
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

    def __init__(self, app: ASGIApp, answers: Answers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in _OURS:
            await self._app(scope, receive, send)
            return
        from starlette.responses import Response

        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        status, kind, body = await asyncio.to_thread(
            self._answers.to, scope["path"], accept.decode("latin-1")
        )
        response = Response(body, status, {"Content-Type": kind})
        await response(scope, receive, send)
