"""Who takes metrics, spans and access logs: MeshConfig's extensionProviders, and what is built in.

Built in are `prometheus` (metrics), `envoy` (an access log on standard output), both as in Istio,
and ours: `logging` (an access log by the standard library's logging alone), `meshware` (spans for
the dashboard alone) and `opentelemetry` (spans by the provider that the app itself has set up). A
provider of MeshConfig with one of these names stands in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from meshware.policy.authorizers import service_host
from meshware.policy.document.mesh_config import (
    EnvoyFileAccessLog,
    ExtensionProvider,
    OpenTelemetryProvider,
    PrometheusProvider,
)
from meshware.policy.record_types import TelemetrySettings
from meshware.policy.telemetry_plan import Expression, LogPlan

__all__ = [
    "BUILT_IN",
    "KINDS",
    "Kind",
    "Providers",
    "Receiver",
    "format_of_settings",
    "kind_of",
    "log_of_settings",
]

Kind = Literal["metrics", "tracing", "accessLogging"]
KINDS: tuple[Kind, ...] = ("metrics", "tracing", "accessLogging")

BUILT_IN: Mapping[str, Kind] = {
    "prometheus": "metrics",
    "envoy": "accessLogging",
    "logging": "accessLogging",
    "meshware": "tracing",
    "opentelemetry": "tracing",
}
_STANDARD_OUTPUT = "/dev/stdout"
_LONGEST_URL = 256  # Envoy's `max_path_tag_length`

Dial = Callable[[str, int], tuple[str, int]]
"""Return where a service of the mesh is reached, by its host and port."""


def kind_of(provider: ExtensionProvider) -> Kind | None:
    """Return what a provider takes; None: it is none of telemetry."""
    if provider.prometheus is not None:
        return "metrics"
    if provider.envoy_file_access_log is not None:
        return "accessLogging"
    return "tracing" if provider.opentelemetry is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A receiver of spans."""

    name: str
    kind: Literal["opentelemetry", "meshware"]
    host: str = ""
    port: int = 0
    path: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    header_variables: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 10.0
    longest_url: int = _LONGEST_URL


class Providers:
    """The providers of a mesh, by name, whatever its case.

    Args:
        written: MeshConfig's.
        dial: finds services of the mesh.
    """

    def __init__(self, written: Iterable[ExtensionProvider], dial: Dial) -> None:
        self._dial = dial
        self._found: dict[str, ExtensionProvider] = {}
        for provider in (*written, *_built_in()):
            if kind_of(provider) is not None:
                self._found.setdefault(provider.name.casefold(), provider)

    def keeps_metrics(self, name: str) -> bool:
        """Say whether a name is of a provider of metrics."""
        found = self._found.get(name.casefold())
        return found is not None and found.prometheus is not None

    def tracing(self, name: str) -> Receiver | None:
        """Return a receiver of spans; None: there is none of that name."""
        folded = name.casefold()
        found = self._found.get(folded)
        if found is None:
            if folded == "meshware":
                return Receiver(name="meshware", kind="meshware")
            if folded == "opentelemetry":
                return Receiver(name="opentelemetry", kind="opentelemetry")
            return None
        if found.opentelemetry is None:
            return None
        return self._receiver(found.name, found.opentelemetry)

    def log(
        self, name: str, settings: TelemetrySettings, expression: Expression | None
    ) -> LogPlan | None:
        """Return an access log; None: there is none of that name."""
        found = self._found.get(name.casefold())
        if found is None and name.casefold() == "logging":
            text, labels = format_of_settings(settings)
            return LogPlan(
                provider="logging", path=None, text=text, labels=labels, filter=expression
            )
        written = found.envoy_file_access_log if found is not None else None
        if found is None or written is None:
            return None
        text, labels = None, None
        if written.log_format is not None:
            text, labels = written.log_format.text, written.log_format.labels
        if text is None and labels is None and found.name.casefold() == "envoy":
            # Istio: the built-in one is written as MeshConfig says of accessLogFile.
            text, labels = format_of_settings(settings)
        return LogPlan(
            provider=found.name,
            path=written.path or _STANDARD_OUTPUT,
            text=text,
            labels=labels,
            omits_empty=written.omit_empty_values or False,
            filter=expression,
        )

    def _receiver(self, name: str, written: OpenTelemetryProvider) -> Receiver:
        http = written.http
        headers = (http.headers if http is not None else None) or ()
        host, port = self._dial(service_host(written.service).lower(), written.port)
        timeout_s = http.timeout if http is not None and http.timeout is not None else 10.0
        return Receiver(
            name=name,
            kind="opentelemetry",
            host=host,
            port=port,
            path=None if http is None else http.path or "/",
            headers=tuple((each.name, each.value) for each in headers if each.value is not None),
            header_variables=tuple(
                (each.name, each.env_name) for each in headers if each.env_name is not None
            ),
            timeout_s=timeout_s,
            longest_url=written.max_tag_length or _LONGEST_URL,
        )


def log_of_settings(settings: TelemetrySettings, name: str = "accessLogFile") -> LogPlan:
    """Return the log that MeshConfig describes by itself, without a provider."""
    text, labels = format_of_settings(settings)
    return LogPlan(provider=name, path=settings.log_file, text=text, labels=labels)


def format_of_settings(
    settings: TelemetrySettings,
) -> tuple[str | None, Mapping[str, object] | None]:
    """Return the format string and the labels that MeshConfig has for logs without their own."""
    if settings.log_encoding == "TEXT":
        return settings.log_format, None
    if settings.log_format is None:
        return None, {}  # Istio's labels
    try:
        labels = json.loads(settings.log_format)
    except (ValueError, RecursionError):
        return None, {}
    return None, labels if isinstance(labels, dict) else {}


def _built_in() -> tuple[ExtensionProvider, ...]:
    return (
        ExtensionProvider(name="prometheus", prometheus=PrometheusProvider()),
        ExtensionProvider(
            name="envoy", envoy_file_access_log=EnvoyFileAccessLog(path=_STANDARD_OUTPUT)
        ),
    )
