"""Ask a Prometheus server for what is older than the hour that the daemon remembers.

Asked on the dashboard's event loop, and never waited for by anybody else: each question has a
deadline, an answer has a size, and no more are under way than a few.
Source: Prometheus, "HTTP API", range queries.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from meshware.dashboard.promql import Selection, Span, queries
from meshware.errors import MeshError, SyncError

if TYPE_CHECKING:
    import httpx2

__all__ = ["HistoryError", "Prometheus", "checked_url"]

_MOST_S = 10.0  # for all of one question
_MOST_BYTES = 1024 * 1024  # of one answer: 240 points are a hundredth of it
_MOST_AT_ONCE = 4  # questions; the next one waits, within its own deadline
_log = logging.getLogger("meshware.dashboard")


class HistoryError(MeshError):
    """Prometheus did not answer; the message is one line that says what to mend."""


class _Stream(msgspec.Struct):
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct):
    result: list[_Stream] = []


class _Answer(msgspec.Struct):
    status: str
    data: _Data = msgspec.field(default_factory=_Data)
    error: str = ""


def checked_url(written: str) -> str:
    """Return the base of a Prometheus server's addresses, without a slash at its end.

    Raises:
        SyncError: it is none; the message names `--prometheus`.
    """
    try:
        parts = urlsplit(written)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment or not written.isprintable() or " " in written:
        raise SyncError(
            f"--prometheus is {written!r}: write the address of a Prometheus server, as "
            "http://127.0.0.1:9090"
        )
    if parts.username is not None or parts.password is not None:
        raise SyncError(
            "--prometheus has a user or password in it, which logs and pages would show: name a "
            "proxy that adds them"
        )
    return written.rstrip("/")


class Prometheus:
    """Asks one server. Of one event loop.

    Args:
        url: as `checked_url` returns it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: httpx2.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._told = ""  # trouble that was logged already

    async def series(self, selection: Selection, span: Span) -> dict[str, Any]:
        """Return what the chosen calls came to, in the shape of `Live.series`.

        Raises:
            HistoryError: there is no good answer.
        """
        try:
            async with asyncio.timeout(_MOST_S), self._places, asyncio.TaskGroup() as tasks:
                client = await self._opened()
                asked = {
                    name: tasks.create_task(self._values(client, promql, span))
                    for name, promql in queries(selection, span).items()
                }
        except TimeoutError:
            raise self._trouble(f"did not answer within {_MOST_S:.0f} s") from None
        except ExceptionGroup as group:
            known, others = group.split(HistoryError)
            if known is None or others is not None:
                raise
            raise self._trouble(str(known.exceptions[0])) from group
        self._told = ""
        return _series(span, {name: task.result() for name, task in asked.items()})

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _trouble(self, what: str) -> HistoryError:
        """Return an error, and log it unless it was the last thing that was logged."""
        message = f"Prometheus at {self._url} {what}"
        if message != self._told:
            self._told = message
            _log.warning("%s; the dashboard shows no history until it does", message)
        return HistoryError(message)

    async def _opened(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._client is None:
                import httpx2

                self._client = await asyncio.to_thread(  # it reads the system's authorities
                    httpx2.AsyncClient, timeout=2 * _MOST_S, follow_redirects=False, trust_env=False
                )
            return self._client

    async def _values(self, client: httpx2.AsyncClient, promql: str, span: Span) -> list[Any]:
        """Return the value of an expression at each point; None where it has none."""
        import httpx2

        asked = {
            "query": promql,
            "start": str(span.start),
            "end": str(span.end),
            "step": str(span.step_s),
        }
        body = bytearray()
        try:
            async with client.stream(
                "GET",
                f"{self._url}/api/v1/query_range",
                params=asked,
                headers={"accept-encoding": "identity"},
            ) as answer:
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise HistoryError(f"sent more than {_MOST_BYTES} bytes")
        except httpx2.HTTPError as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise HistoryError(f"cannot be reached: {why}; is it running there?") from error
        try:
            told = msgspec.json.decode(bytes(body), type=_Answer)
        except msgspec.MsgspecError:
            raise HistoryError(
                f"answered {answer.status_code} and nothing of Prometheus's: does --prometheus "
                "name the right server and path?"
            ) from None
        if answer.status_code != 200 or told.status != "success":
            why = told.error[:200].replace("\n", " ") or f"status {answer.status_code}"
            raise HistoryError(f"refused the question: {why}")
        values = dict(told.data.result[0].values) if told.data.result else {}
        return [_number(values.get(at)) for at in span.instants]


def _number(written: str | None) -> float | None:
    try:
        found = math.nan if written is None else float(written)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _series(span: Span, found: Mapping[str, list[Any]]) -> dict[str, Any]:
    nothing = [None] * len(span.instants)
    rates, errors = found.get("rate", nothing), found.get("errors", nothing)
    attempts = found.get("attempts", nothing)
    return {
        "step_s": span.step_s,
        "start": span.start,
        "rate": rates,
        "error_share": [
            None if not rate else min((error or 0.0) / rate, 1.0)
            for rate, error in zip(rates, errors, strict=True)
        ],
        "p50_ms": found.get("p50_ms", nothing),
        "p95_ms": found.get("p95_ms", nothing),
        "p99_ms": found.get("p99_ms", nothing),
        "attempts": [None if rate is None else rate * span.step_s for rate in attempts],
        "calls": [None if rate is None else rate * span.step_s for rate in rates],
    }
