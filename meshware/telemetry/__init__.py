"""What calls come to, told to people and machines: metrics, traces, access logs.

Where there is no daemon, an app may tell of its own process; none of this is on by itself.

- `MeshCollector`: a collector for a registry of prometheus_client.
- `MetricsASGI`, `MetricsWSGI`: apps that answer with metrics, to be mounted at a route.
- `LoggingFilter`: puts the call that a log record is made for into the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshware.telemetry.collector import MeshCollector
    from meshware.telemetry.log_filter import LoggingFilter
    from meshware.telemetry.routes import MetricsASGI, MetricsWSGI

__all__ = ["LoggingFilter", "MeshCollector", "MetricsASGI", "MetricsWSGI"]


def __getattr__(name: str) -> Any:
    """Import what only some apps use when it is asked for: the mesh itself is in this package."""
    if name == "MeshCollector":
        from meshware.telemetry.collector import MeshCollector

        return MeshCollector
    if name == "LoggingFilter":
        from meshware.telemetry.log_filter import LoggingFilter

        return LoggingFilter
    if name in ("MetricsASGI", "MetricsWSGI"):
        from meshware.telemetry import routes

        return getattr(routes, name)
    raise AttributeError(f"module 'meshware.telemetry' has no attribute {name!r}")
