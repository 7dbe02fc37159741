"""Hand what this process has counted to prometheus_client, where an app has a registry already.

It tells of one process. Where a service has several workers, `meshware sync` adds all of them up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshware.telemetry.exposition import BOUNDS, HELP, HISTOGRAMS
from meshware.telemetry.measured import MeshOf, counted_by
from meshware.telemetry.report import Counted
from meshware.telemetry.series import COUNT, Series, of_metric

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["MeshCollector"]


class MeshCollector:
    """A collector: `prometheus_client.REGISTRY.register(MeshCollector(Mesh.current))`.

    Args:
        mesh: whose counts; or what returns it, asked for at each scrape.
    """

    def __init__(self, mesh: MeshOf) -> None:
        self._mesh = mesh

    def describe(self) -> list[Metric]:
        """Return nothing: a registry asks while the app is imported, when nothing is counted."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, with exemplars where the registry is written as OpenMetrics."""
        counted = counted_by(self._mesh)
        yield from _calls(counted)
        yield from _ours(counted)


def _calls(counted: Counted) -> Iterator[Metric]:
    from prometheus_client.core import Metric

    kept = of_metric(counted.series, COUNT)
    if kept:
        family = Metric(COUNT.removesuffix("_total"), HELP[COUNT], "counter")
        for series in kept:
            family.add_sample(COUNT, dict(series.labels), series.count)
        yield family
    for name, attribute in HISTOGRAMS:
        kept = of_metric(counted.series, name)
        if kept:
            family = Metric(name, HELP[name], "histogram")
            for series in kept:
                _add_histogram(family, name, attribute, series)
            yield family


def _add_histogram(family: Metric, name: str, attribute: str, series: Series) -> None:
    from prometheus_client.samples import Exemplar

    labels, histogram = dict(series.labels), getattr(series, attribute)
    upto = 0
    for at, count in enumerate(histogram.counts):
        upto += count
        mine = histogram.exemplars.get(at)
        family.add_sample(
            f"{name}_bucket",
            {**labels, "le": BOUNDS[at]},
            upto,
            exemplar=None
            if mine is None
            else Exemplar({"trace_id": mine.trace_id}, mine.value, mine.at),
        )
    family.add_sample(f"{name}_count", labels, upto)
    family.add_sample(f"{name}_sum", labels, histogram.total)


def _ours(counted: Counted) -> Iterator[Metric]:
    from prometheus_client.core import Metric

    for kind, samples in (("counter", counted.counters), ("gauge", counted.gauges)):
        families: dict[str, Metric] = {}
        for (name, labels), value in sorted(samples.items()):
            family = families.get(name)
            if family is None:
                help_text = HELP.get(name, "Counted by this process.")
                family = families[name] = Metric(name.removesuffix("_total"), help_text, kind)
            family.add_sample(name, dict(labels), value)
        yield from families.values()
