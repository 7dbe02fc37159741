"""Check Telemetries: values, expressions, providers that there are, and which of several count.

Source: Istio's CRD and `ValidateTelemetry`; its analysers, IST0157, IST0159 and IST0160.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from meshware.policy.cel import CelError, compile_filter, compile_tag
from meshware.policy.codes import (
    NOT_APPLICABLE,
    TELEMETRIES_OF_NAMESPACE,
    TELEMETRIES_OF_WORKLOAD,
    UNKNOWN_REFERENCE,
)
from meshware.policy.decode import nearest
from meshware.policy.document.common import Labels
from meshware.policy.document.mesh_config import MeshConfigSpec
from meshware.policy.document.service_entry import WorkloadEntrySpec, WorkloadGroupSpec
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
from meshware.policy.labels import selects
from meshware.policy.log_format import problems_of, warnings_of
from meshware.policy.parse import Resource
from meshware.policy.records import age, labels_of
from meshware.policy.telemetry_merge import custom_metric
from meshware.policy.telemetry_plan import METRICS, Expression
from meshware.policy.telemetry_providers import BUILT_IN, Kind, kind_of
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import SHORTEST_S, check_duration
from meshware.policy.validate.grammar import is_token
from meshware.policy.yaml12 import brief

__all__ = ["check_telemetries", "check_telemetry"]

_MOST_TAGS = 100  # of one metric or span
_LONGEST_NAME = 256
_SOURCES = ("literal", "environment", "header", "formatter")


def check_telemetry(resource: Resource, report: Report) -> None:
    """Report what is wrong with one Telemetry by itself."""
    spec = resource.spec
    if not isinstance(spec, TelemetrySpec):
        return
    checker = _Checker(resource, report)
    for index, metrics in enumerate(spec.metrics or ()):
        checker.metrics(f"spec.metrics[{index}]", metrics)
    for index, tracing in enumerate(spec.tracing or ()):
        checker.tracing(f"spec.tracing[{index}]", tracing)
    for index, logs in enumerate(spec.access_logging or ()):
        checker.logs(f"spec.accessLogging[{index}]", logs)


class _Checker:
    """Looks at one Telemetry."""

    def __init__(self, resource: Resource, report: Report) -> None:
        self._resource, self._report = resource, report

    def metrics(self, path: str, entry: Metrics) -> None:
        """Report what is wrong with an entry of `metrics`."""
        self._providers(path, entry.providers)
        interval = entry.reporting_interval
        check_duration(self._resource, f"{path}.reportingInterval", interval, self._report)
        if interval is not None and interval >= SHORTEST_S:
            self._warn(
                f"{path}.reportingInterval",
                "reportingInterval is for TCP and gRPC streams, and changes nothing here: a call "
                "counts when it ends; remove it, or leave it for Istio",
                NOT_APPLICABLE,
            )
        for index, override in enumerate(entry.overrides or ()):
            here = f"{path}.overrides[{index}]"
            if override.match is not None:
                self._match(f"{here}.match", override.match)
            tags = override.tag_overrides or {}
            if len(tags) > _MOST_TAGS:
                self._error(
                    f"{here}.tagOverrides",
                    f"there are {len(tags)} tags; write at most {_MOST_TAGS}",
                )
            for name, tag in tags.items():
                self._tag_override(f"{here}.tagOverrides[{name}]", name, tag)

    def _match(self, path: str, match: MetricSelector) -> None:
        if match.metric is not None and match.custom_metric is not None:
            self._error(path, "match has both metric and customMetric; keep one of them")
            return
        written = match.metric
        if written is not None and written != "ALL_METRICS" and written not in METRICS:
            self._warn(
                f"{path}.metric",
                f"{written} is not kept in an app's process, so this changes nothing here; remove "
                "it, or leave it for Istio",
                NOT_APPLICABLE,
            )
        custom = match.custom_metric
        if custom is not None and custom_metric(custom) is None:
            names = tuple(name.removeprefix("istio_") for name in METRICS.values())
            near = nearest(custom, names)
            hint = f"did you mean {near}?" if near else f"write one of {', '.join(names)}"
            self._error(f"{path}.customMetric", f"there is no metric {brief(custom)!r}; {hint}")

    def _tag_override(self, path: str, name: str, tag: TagOverride) -> None:
        if not name or len(name) > _LONGEST_NAME:
            self._error(path, f"a tag's name has 1 to {_LONGEST_NAME} characters; write another")
        if tag.operation == "REMOVE":
            if tag.value is not None:
                self._error(f"{path}.value", "a tag that is removed has no value; remove this one")
        elif not tag.value:
            self._error(
                f"{path}.value",
                "value is missing; write an expression such as request.host, or operation: REMOVE",
            )
        else:
            self._expression(f"{path}.value", tag.value, compile_tag)

    def tracing(self, path: str, entry: Tracing) -> None:
        """Report what is wrong with an entry of `tracing`."""
        self._providers(path, entry.providers)
        if len(entry.providers or ()) > 1:
            self._warn(
                f"{path}.providers", "of several providers of tracing the first counts; keep one"
            )
        tags = entry.custom_tags or {}
        if len(tags) > _MOST_TAGS:
            self._error(
                f"{path}.customTags", f"there are {len(tags)} tags; write at most {_MOST_TAGS}"
            )
        for name, tag in tags.items():
            here = f"{path}.customTags[{name}]"
            if not name or len(name) > _LONGEST_NAME:
                self._error(
                    here, f"a tag's name has 1 to {_LONGEST_NAME} characters; write another"
                )
            self._custom_tag(here, tag)

    def _custom_tag(self, path: str, tag: CustomTag) -> None:
        written = [name for name in _SOURCES if getattr(tag, name) is not None]
        if len(written) != 1:
            what = f"has {' and '.join(written)}" if written else "says nothing"
            self._error(path, f"the tag {what}; write one of {', '.join(_SOURCES)}")
            return
        if tag.literal is not None and not tag.literal.value:
            self._error(f"{path}.literal.value", "value is empty; write one, or remove the tag")
        if tag.environment is not None and not tag.environment.name:
            self._error(f"{path}.environment.name", "name is empty; write the variable's")
        if tag.header is not None and not is_token(tag.header.name):
            self._error(
                f"{path}.header.name",
                f"name is {brief(tag.header.name)!r}; write the name of a header",
            )
        if tag.formatter is not None:
            value = tag.formatter.value
            here = f"{path}.formatter.value"
            if not value:
                self._error(here, "value is empty; write one, or remove the tag")
            for problem in problems_of(value):
                self._error(here, f"the format has a problem {problem}")
            for warning in warnings_of(value):
                self._warn(here, f"in the format {warning}")

    def logs(self, path: str, entry: AccessLogging) -> None:
        """Report what is wrong with an entry of `accessLogging`."""
        self._providers(path, entry.providers)
        if entry.filter is None:
            return
        if not entry.filter.expression:
            self._error(
                f"{path}.filter.expression",
                "expression is missing; write one such as response.code >= 400, or remove filter",
            )
        else:
            self._expression(f"{path}.filter.expression", entry.filter.expression, compile_filter)

    def _expression(self, path: str, text: str, compile_it: Callable[[str], Expression]) -> None:
        try:
            compile_it(text)
        except CelError as error:
            self._error(path, f"the expression {brief(text, 60)!r} cannot be used: {error}")

    def _providers(self, path: str, providers: Iterable[ProviderRef] | None) -> None:
        seen: set[str] = set()
        for index, provider in enumerate(providers or ()):
            here = f"{path}.providers[{index}].name"
            if not provider.name:
                self._error(here, "name is empty; write a provider's")
            elif provider.name.casefold() in seen:
                self._error(here, f"{brief(provider.name)!r} is there already; remove one")
            seen.add(provider.name.casefold())

    def _error(self, path: str, message: str) -> None:
        self._report.error(self._resource, path, message)

    def _warn(self, path: str, message: str, code: str | None = None) -> None:
        if code is None:
            self._report.warning(self._resource, path, message)
        else:
            self._report.warning(self._resource, path, message, code)


# --- together -----------------------------------------------------------------------------------


def check_telemetries(resources: Sequence[Resource], report: Report) -> None:
    """Report Telemetries that do not count, and providers that there are not."""
    providers = _Fitting(resources, report)
    for resource in resources:
        if isinstance(resource.spec, TelemetrySpec):
            for kind, here, name in _named(resource.spec):
                providers.check(resource, here, name, kind)
        elif isinstance(resource.spec, MeshConfigSpec) and resource.spec.default_providers:
            default = resource.spec.default_providers
            lists: tuple[tuple[Kind, tuple[str, ...] | None], ...] = (
                ("metrics", default.metrics),
                ("tracing", default.tracing),
                ("accessLogging", default.access_logging),
            )
            for kind, names in lists:
                for index, name in enumerate(names or ()):
                    here = f"spec.defaultProviders.{kind}[{index}]"
                    providers.check(resource, here, name, kind)
    _check_rivals(resources, report)


def _named(spec: TelemetrySpec) -> Iterable[tuple[Kind, str, str]]:
    """Yield kind, field and name of each provider that a Telemetry names."""
    lists: tuple[tuple[Kind, Sequence[Metrics | Tracing | AccessLogging] | None], ...] = (
        ("metrics", spec.metrics),
        ("tracing", spec.tracing),
        ("accessLogging", spec.access_logging),
    )
    for kind, entries in lists:
        for at, entry in enumerate(entries or ()):
            for index, provider in enumerate(entry.providers or ()):
                if provider.name:
                    yield kind, f"spec.{kind}[{at}].providers[{index}].name", provider.name


class _Fitting:
    """Knows which providers there are.

    Args:
        resources: the MeshConfig is among them.
        report: takes the problems.
    """

    def __init__(self, resources: Sequence[Resource], report: Report) -> None:
        self._report = report
        self._kinds: dict[str, tuple[str, Kind | None]] = {
            name.casefold(): (name, kind) for name, kind in BUILT_IN.items()
        }
        for resource in resources:
            if isinstance(resource.spec, MeshConfigSpec):
                for each in resource.spec.extension_providers or ():
                    self._kinds[each.name.casefold()] = (each.name, kind_of(each))

    def check(self, resource: Resource, path: str, name: str, kind: Kind) -> None:
        """Report a name that is of no provider, or of one that takes something else."""
        found = self._kinds.get(name.casefold())
        if found is not None and found[1] == kind:
            return
        fitting = sorted(written for written, its in self._kinds.values() if its == kind)
        near = nearest(name, fitting)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(fitting)}"
        what = (
            f"MeshConfig has no extensionProvider {brief(name)!r}"
            if found is None
            else f"{brief(name)!r} is no provider of {kind}"
        )
        self._report.warning(
            resource, path, f"{what}, so it is left out; {hint}", UNKNOWN_REFERENCE
        )


def _check_rivals(resources: Sequence[Resource], report: Report) -> None:
    """Report Telemetries that another one comes before: of each level one counts."""
    ordered = sorted(resources, key=age)
    wide: dict[str, Resource] = {}
    narrow: dict[str, list[tuple[Resource, Labels]]] = {}
    for resource in ordered:
        spec = resource.spec
        if not isinstance(spec, TelemetrySpec):
            continue
        labels = spec.selector.match_labels if spec.selector else None
        if labels:
            narrow.setdefault(resource.namespace, []).append((resource, labels))
            continue
        first = wide.setdefault(resource.namespace, resource)
        if first is not resource:
            report.warning(
                resource,
                "spec",
                f"{first.name} ({first.origin.file}:{first.origin.line}) is older and for the same "
                f"workloads, all of namespace {resource.namespace}, so this one does not count; "
                "put both into one",
                TELEMETRIES_OF_NAMESPACE,
            )
    told: set[str] = set()
    for resource in ordered:
        if not isinstance(resource.spec, WorkloadEntrySpec | WorkloadGroupSpec):
            continue
        own = labels_of(resource)
        there = narrow.get(resource.namespace, ())
        selecting = [found for found, labels in there if selects(labels, own)]
        for other in selecting[1:]:
            if other.key in told:
                continue
            told.add(other.key)
            first = selecting[0]
            report.warning(
                other,
                "spec.selector",
                f"{first.name} ({first.origin.file}:{first.origin.line}) is older and selects "
                f"workload {resource.name} too, so this one does not count there; put both into "
                "one, or select others",
                TELEMETRIES_OF_WORKLOAD,
            )
