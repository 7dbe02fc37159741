"""Merge Telemetries and MeshConfig into what is measured, traced and logged at one workload.

Levels come widest first: the root namespace's Telemetry, the namespace's, the one that selects the
workload; in each of them entries apply in their order, and what comes later counts over what came
before. Of metrics, overrides are merged by provider, side, metric and tag; of tracing, field by
field; of access logs, by provider and side. Which providers count at all is what the last level
that names any says. A provider that MeshConfig does not have is dropped; names compare without
case. Sides are told apart everywhere: CLIENT is what goes out, SERVER what comes in.

Source: Istio, `mergeMetrics`, `mergeLogs`, `Tracing`. Differs from Istio: without
`defaultProviders` metrics are on, as in its installations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from meshware.policy.cel import Constants, compile_filter, compile_tag
from meshware.policy.document.telemetry import (
    AccessLogging,
    CustomTag,
    Metrics,
    MetricSelector,
    ProviderRef,
    TagOverride,
    TelemetrySpec,
    Tracing,
)
from meshware.policy.record_types import TelemetrySettings
from meshware.policy.telemetry_plan import (
    METRICS,
    Expression,
    LogPlan,
    MetricPlan,
    MetricsPlan,
    SidePlan,
    Tag,
    TelemetryPlan,
    TracingPlan,
)
from meshware.policy.telemetry_providers import Providers, log_of_settings

__all__ = ["custom_metric", "merge_telemetry", "tag_of"]

Side = Literal["CLIENT", "SERVER"]
_BOTH = "CLIENT_AND_SERVER"
_PREFIX = "istio_"
_DEFAULT_SAMPLING = 1.0  # percent: Istio's PILOT_TRACE_SAMPLING


def merge_telemetry(
    settings: TelemetrySettings,
    providers: Providers,
    policies: Sequence[TelemetrySpec],
    node: Constants,
) -> TelemetryPlan:
    """Return the plan of a workload.

    Args:
        settings: MeshConfig's.
        providers: those that there are.
        policies: that apply to the workload, the widest first.
        node: what expressions find under `xds.node`.

    Raises:
        CelError: an expression cannot be compiled; it was checked when policy was loaded.
    """
    metrics = [entry for policy in policies for entry in policy.metrics or ()]
    tracing = [entry for policy in policies for entry in policy.tracing or ()]
    logs = [policy.access_logging for policy in policies if policy.access_logging]
    merger = _Merger(settings, providers, node)

    def side(which: Side) -> SidePlan:
        return SidePlan(
            metrics=merger.metrics(metrics, which),
            tracing=merger.tracing(tracing, which),
            logs=merger.logs(logs, which),
        )

    return TelemetryPlan(inbound=side("SERVER"), outbound=side("CLIENT"))


def custom_metric(name: str) -> str | None:
    """Return the metric that a `customMetric` means; None: there is none of that name."""
    full = name if name.startswith(_PREFIX) else f"{_PREFIX}{name}"
    return full if full in METRICS.values() else None


def tag_of(name: str, written: CustomTag) -> Tag:
    """Return a tag of spans."""
    if written.environment is not None:
        variable = written.environment
        return Tag(name=name, environment=variable.name, default=variable.default_value)
    if written.header is not None:
        header = written.header
        return Tag(name=name, header=header.name.lower(), default=header.default_value)
    if written.formatter is not None:
        return Tag(name=name, formatter=written.formatter.value)
    return Tag(name=name, literal=written.literal.value if written.literal else "")


@dataclass(slots=True)
class _Override:
    """What is said of one metric so far."""

    is_disabled: bool = False
    tags: dict[str, TagOverride] = field(default_factory=dict)


class _Merger:
    """Merges what is said of one workload."""

    def __init__(self, settings: TelemetrySettings, providers: Providers, node: Constants) -> None:
        self._settings, self._providers, self._node = settings, providers, node
        self._compiled: dict[str, Expression] = {}

    # --- metrics ------------------------------------------------------------------------------

    def metrics(self, entries: Sequence[Metrics], side: Side) -> MetricsPlan:
        """Return what is counted on one side."""
        above = _folded(
            self._settings.metrics if self._settings.metrics is not None else ("prometheus",)
        )
        in_scope = above
        for entry in entries:
            in_scope = _named(entry.providers) or in_scope
        kept = next((name for name in in_scope if self._providers.keeps_metrics(name)), None)
        if kept is None:
            return MetricsPlan(is_on=False)
        # Only what is said of the provider that is kept matters; others are not in process.
        said: dict[str, _Override] = {}
        is_off = False
        for entry in entries:
            above = _named(entry.providers) or above
            if kept not in above:
                continue
            for override in entry.overrides or ():
                match = override.match or MetricSelector()
                if match.mode not in (None, _BOTH, side):
                    continue
                if match.metric == "ALL_METRICS" and override.disabled:
                    is_off = True
                    continue
                is_off = False  # whatever else is said of the provider puts it on again
                for metric in _metrics_of(match):
                    one = said.setdefault(metric, _Override())
                    if override.disabled is not None:
                        one.is_disabled = override.disabled
                    one.tags.update(override.tag_overrides or {})
        if is_off:
            return MetricsPlan(is_on=False)
        return MetricsPlan(changed={metric: self._metric(one) for metric, one in said.items()})

    def _metric(self, said: _Override) -> MetricPlan:
        tags: dict[str, Expression] = {}
        removed: set[str] = set()
        for name, override in sorted(said.tags.items()):
            if override.operation == "REMOVE":
                removed.add(name)
            else:
                tags[name] = self._expression(override.value or "")
        return MetricPlan(is_on=not said.is_disabled, tags=tags, removed=frozenset(removed))

    def _expression(self, text: str) -> Expression:
        if text not in self._compiled:
            self._compiled[text] = compile_tag(text, self._node)
        return self._compiled[text]

    # --- tracing ------------------------------------------------------------------------------

    def tracing(self, entries: Sequence[Tracing], side: Side) -> TracingPlan | None:
        """Return how calls of one side are traced; None: they are not."""
        settings = self._settings
        default = settings.tracing or (("meshware",) if settings.has_tracing else ())
        provider = default[0] if default else None
        said = Tracing()
        for entry in entries:
            mode = entry.match.mode if entry.match is not None else None
            if mode not in (None, _BOTH, side):
                continue
            if entry.providers:
                provider = entry.providers[0].name  # Istio: of several the first
            said = _over(said, entry)
        receiver = None if provider is None else self._providers.tracing(provider)
        if receiver is None:
            return None
        sampling = said.random_sampling_percentage
        if sampling is None:
            sampling = settings.sampling if settings.sampling is not None else _DEFAULT_SAMPLING
        return TracingPlan(
            provider=receiver.name,
            kind=receiver.kind,
            host=receiver.host,
            port=receiver.port,
            path=receiver.path,
            headers=receiver.headers,
            header_variables=receiver.header_variables,
            timeout_s=receiver.timeout_s,
            longest_url=receiver.longest_url,
            sampling_ratio=sampling / 100,
            is_reported=not said.disable_span_reporting,
            propagates=not said.disable_context_propagation,
            has_istio_tags=said.enable_istio_tags is not False,
            uses_request_id=said.use_request_id_for_trace_sampling is not False,
            tags=tuple(tag_of(name, tag) for name, tag in sorted((said.custom_tags or {}).items())),
        )

    # --- access logs --------------------------------------------------------------------------

    def logs(self, levels: Sequence[tuple[AccessLogging, ...]], side: Side) -> tuple[LogPlan, ...]:
        """Return the access logs of one side."""
        settings = self._settings
        default = _folded(settings.logs or ())
        if not levels and not default:
            # Nothing is said of providers: the older settings of MeshConfig count.
            return () if settings.log_file is None else (log_of_settings(settings),)
        if not levels:
            return self._log_plans(dict.fromkeys(default))
        mine = [
            [each for each in level if each.match is None or each.match.mode in (None, _BOTH, side)]
            for level in levels
        ]
        in_scope = default
        for level in mine:
            named = tuple(name for entry in level for name in _named(entry.providers))
            in_scope = named or in_scope
        above = default
        filters: dict[str, str | None] = {}
        kept: dict[str, str | None] = {}
        for entry in (entry for level in mine for entry in level):
            named = _named(entry.providers)
            above = named or above
            written = entry.filter.expression if entry.filter is not None else None
            for name in above:
                if name not in in_scope:
                    continue
                if named or written:  # an entry that names nobody leaves the filters as they are
                    filters[name] = written or None
                if entry.disabled:
                    kept.pop(name, None)
                else:
                    kept[name] = filters.get(name)
        return self._log_plans(kept)

    def _log_plans(self, kept: Mapping[str, str | None]) -> tuple[LogPlan, ...]:
        plans = []
        for name, expression in kept.items():
            made = None if expression is None else compile_filter(expression, self._node)
            plan = self._providers.log(name, self._settings, made)
            if plan is not None:
                plans.append(plan)
        return tuple(plans)


def _over(said: Tracing, entry: Tracing) -> Tracing:
    """Return what is said of tracing, with an entry over it, field by field."""
    merged = {}
    for name in (
        "random_sampling_percentage",
        "disable_span_reporting",
        "disable_context_propagation",
        "custom_tags",  # the whole map: Istio does not merge the tags of levels
        "enable_istio_tags",
        "use_request_id_for_trace_sampling",
    ):
        written = getattr(entry, name)
        merged[name] = written if written is not None else getattr(said, name)
    return Tracing(**merged)


def _metrics_of(match: MetricSelector) -> Iterable[str]:
    if match.custom_metric is not None:
        metric = custom_metric(match.custom_metric)
        return () if metric is None else (metric,)
    if match.metric is None or match.metric == "ALL_METRICS":
        return METRICS.values()
    metric = METRICS.get(match.metric)
    return () if metric is None else (metric,)


def _named(providers: Iterable[ProviderRef] | None) -> tuple[str, ...]:
    return _folded(provider.name for provider in providers or ())


def _folded(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.casefold() for name in names))
