"""Serve what this process has counted from a route of the app, where there is no daemon.

An app mounts one of them where it likes; nothing is served by itself. Who may scrape is decided as
of any other route. It tells of one process: behind several workers a scraper meets now one, now
another, and sums seem to fall. `meshware sync` adds all workers up.
Source: Prometheus, "Exposition formats"; the content types are those that prometheus_client sends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from meshware.telemetry.exposition import exposition
from meshware.telemetry.measured import MeshOf, counted_by

__all__ = ["MetricsASGI", "MetricsWSGI"]

_OPEN = "application/openmetrics-text"
_OPEN_TYPE = f"{_OPEN}; version=1.0.0; charset=utf-8"
_TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NOT_ALLOWED = b"metrics are read by GET\n"


class MetricsASGI:
    """An ASGI app that answers with metrics: `app.mount("/metrics", MetricsASGI(Mesh.current))`.

    Args:
        mesh: whose counts; or what returns it, asked for at each scrape.
    """

    def __init__(self, mesh: MeshOf) -> None:
        self._mesh = mesh

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one call.

        Raises:
            ValueError: it is no HTTP call; servers take that for "not supported".
        """
        if scope["type"] != "http":
            raise ValueError(f"metrics are served over http, not over {scope['type']}")
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
        status, headers, body = _answer(self._mesh, scope["method"], accept.decode("latin-1"))
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode()) for name, value in headers],
            }
        )
        is_head = scope["method"] == "HEAD"
        await send({"type": "http.response.body", "body": b"" if is_head else body})


class MetricsWSGI:
    """A WSGI app that answers with metrics, to be mounted by a dispatcher of the framework's.

    Args:
        mesh: whose counts; or what returns it, asked for at each scrape.
    """

    def __init__(self, mesh: MeshOf) -> None:
        self._mesh = mesh

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        """Answer one call."""
        method = environ["REQUEST_METHOD"]
        status, headers, body = _answer(self._mesh, method, environ.get("HTTP_ACCEPT", ""))
        start_response(f"{status} {'OK' if status == 200 else 'Method Not Allowed'}", headers)
        return [b"" if method == "HEAD" else body]


def _answer(mesh: MeshOf, method: str, accept: str) -> tuple[int, list[tuple[str, str]], bytes]:
    if method not in ("GET", "HEAD"):
        return 405, [("allow", "GET, HEAD"), *_of(_NOT_ALLOWED, "text/plain")], _NOT_ALLOWED
    is_open = _OPEN in accept
    counted = counted_by(mesh)
    text = exposition(counted.series, counted.counters, counted.gauges, is_open=is_open)
    body = (text + "# EOF\n" if is_open else text).encode()
    return 200, _of(body, _OPEN_TYPE if is_open else _TEXT_TYPE), body


def _of(body: bytes, content_type: str) -> list[tuple[str, str]]:
    return [("content-type", content_type), ("content-length", str(len(body)))]
