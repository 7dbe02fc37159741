"""Serve `/healthz` and `/metrics`: is there policy, and what has the daemon done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING

import msgspec

from meshware.dashboard.access import to_open
from meshware.errors import SyncError
from meshware.runtime.dns_schedule import DnsFigures
from meshware.runtime.jwks_schedule import JwksFigures
from meshware.syncd.merging import Merged
from meshware.telemetry.exposition import exposition
from meshware.telemetry.series import CounterKey

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Address", "Answers", "Figures", "Listener", "host_and_port", "parse_address"]

_IDLE_S = 5.0  # a client that says nothing holds a thread no longer
_POLL_S = 0.1  # the server asks whether to stop


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int  # 0: any free one

    def __str__(self) -> str:
        """Return `host:port`, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def to_open(self) -> Address:
        """The address at which this machine finds it: nobody calls 0.0.0.0 nor [::]."""
        return Address(to_open(self.host), self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the daemon has done, at one moment."""

    generation: int = 0
    publishes: int = 0
    refusals: int = 0
    resources: int = 0
    workers: int = 0  # that live
    workers_behind: int = 0  # live, and on another generation than the published one
    is_refused: bool = False  # the sources cannot be used now
    published_at_s: float = 0.0  # unix time
    dns: DnsFigures = field(default_factory=DnsFigures)
    jwks: JwksFigures = field(default_factory=JwksFigures)


def parse_address(written: str) -> Address | None:
    """Return the address that `--listen` names; None for `off`.

    Raises:
        SyncError: it is neither.
    """
    if written == "off":
        return None
    found = host_and_port(written)
    if found is None:
        raise SyncError(
            f"--listen is {written!r}: write HOST:PORT, as 127.0.0.1:15090 or [::1]:15090, or off"
        )
    return found


def host_and_port(written: str) -> Address | None:
    """Return the address that HOST:PORT names, IPv6 in brackets; None: it names none."""
    host, colon, port = written.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not colon or not bare or not is_port or (":" in bare and bare == host):
        return None
    return Address(bare, int(port))


class Answers:
    """What is answered to /healthz and /metrics. From any thread.

    Args:
        figures: tells what the daemon has done, from any thread.
        merged: tells what workers have counted, likewise.
    """

    def __init__(self, figures: Callable[[], Figures], merged: Callable[[], Merged]) -> None:
        from prometheus_client import CollectorRegistry

        self._figures = figures
        self._merged = merged
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(figures))

    def to(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Return status, content type and body for a path without its query."""
        if path == "/healthz":
            figures = self._figures()
            # Policy that is refused is no illness: the last good one is served.
            body = msgspec.json.encode(
                {"generation": figures.generation or None, "refused": figures.is_refused}
            )
            return (200 if figures.generation else 503), "application/json", body
        if path == "/metrics":
            from prometheus_client.exposition import choose_encoder

            encode, content_type = choose_encoder(accept)
            own = encode(self._registry)
            return 200, content_type, with_counts(own, self._merged(), content_type)
        return 404, "text/plain", b"there are /healthz and /metrics\n"


class Listener:
    """An HTTP server in threads of its own, from construction to `stop`.

    Args:
        address: where.
        figures: tells what the daemon has done, from any thread.
        merged: tells what workers have counted, likewise.

    Raises:
        SyncError: the address cannot be had.
    """

    def __init__(
        self, address: Address, figures: Callable[[], Figures], merged: Callable[[], Merged]
    ) -> None:
        server_class = _IPv6Server if ":" in address.host else _Server
        handler = type("Handler", (_Handler,), {"answers": Answers(figures, merged)})
        try:
            self._server = server_class((address.host, address.port), handler)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SyncError(
                f"cannot listen on {address}: {reason}; name another address by --listen, or "
                "--listen off"
            ) from error
        self.address = Address(address.host, self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(_POLL_S,),
            name="meshware-listener",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join(timeout=5)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    address_family = AF_INET

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that go away."""


class _IPv6Server(_Server):
    address_family = AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_S
    server_version = "meshware"
    sys_version = ""
    answers: Answers

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        self._answer(*self.answers.to(path, self.headers.get("Accept", "")))

    do_HEAD = do_GET

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep no access log."""


def with_counts(own: bytes, merged: Merged, content_type: str) -> bytes:
    """Return metrics of the daemon's own with those of workers behind them."""
    end = b"# EOF\n"
    is_open = own.endswith(end)
    name: CounterKey = ("meshware_telemetry_left_out_total", ())
    left_out = {name: float(merged.store.left_out)}
    text = exposition(
        merged.store.series.values(),
        {**merged.store.counters, **left_out},
        merged.gauges,
        is_open=is_open,
    )
    return b"".join((own.removesuffix(end), text.encode(), end if is_open else b""))


class _Collector:
    """Tells prometheus_client the figures of the moment."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        now = self._figures()
        for name, text, value in (
            ("generation", "Generation of the published policy; 0: none yet.", now.generation),
            ("resources", "Resources in the sources when they were read last.", now.resources),
            ("workers_live", "Workers that follow on this node.", now.workers),
            (
                "workers_behind",
                "Live workers that have not applied the published generation.",
                now.workers_behind,
            ),
            ("refused", "1 while the sources cannot be used.", int(now.is_refused)),
            (
                "published_timestamp_seconds",
                "When policy was published last, unix time.",
                now.published_at_s,
            ),
            ("dns_names", "Names that policy has for endpoints.", now.dns.names),
            ("dns_names_failing", "Those whose last look-up was bad.", now.dns.failing),
            ("dns_names_unresolved", "Those that never had an address.", now.dns.unresolved),
            ("jwks_sources", "Addresses that policy has for keys of tokens.", now.jwks.sources),
            (
                "jwks_sources_failing",
                "Those whose last fetch was bad.",
                len(now.jwks.findings),
            ),
            ("jwks_sources_missing", "Those without keys.", now.jwks.missing),
        ):
            yield GaugeMetricFamily(f"meshware_sync_{name}", text, value=value)
        yield CounterMetricFamily(
            "meshware_sync_publishes", "Times policy was published.", value=now.publishes
        )
        yield CounterMetricFamily(
            "meshware_sync_refusals", "Times the sources were refused.", value=now.refusals
        )
        lookups = CounterMetricFamily(
            "meshware_sync_dns_lookups",
            "Look-ups of names: `ok`, or why their answer was bad.",
            labels=("outcome",),
        )
        for outcome, count in sorted(now.dns.lookups.items()):
            lookups.add_metric((outcome,), count)
        yield lookups
        fetches = CounterMetricFamily(
            "meshware_sync_jwks_fetches",
            "Fetches of keys: `ok`, or why they were bad.",
            labels=("outcome",),
        )
        for outcome, count in sorted(now.jwks.fetches.items()):
            fetches.add_metric((outcome,), count)
        yield fetches
