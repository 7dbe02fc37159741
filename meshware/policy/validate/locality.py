"""Check preferences among localities, and how new endpoints are eased in.

Source: Istio, `validateLocalityLbSetting`, `validateWarmup`.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.destination_rule import (
    Distribute,
    Failover,
    LoadBalancerSettings,
    LocalityLbSetting,
)
from meshware.policy.locality import split_locality
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_duration
from meshware.policy.validate.grammar import bad_label
from meshware.policy.yaml12 import brief

__all__ = ["check_locality", "check_warmup"]

_ALL = 100


def check_locality(
    resource: Resource,
    path: str,
    setting: LocalityLbSetting | None,
    report: Report,
    *,
    ejects: bool,
) -> None:
    """Report a setting that says two things, or that would change nothing.

    Args:
        resource: whose setting it is.
        path: of the setting.
        setting: as written.
        report: takes what is found.
        ejects: whether outlierDetection is set beside it; True where that is not known.
    """
    if setting is None:
        return
    given = {
        "distribute": setting.distribute,
        "failover": setting.failover,
        "failoverPriority": setting.failover_priority,
    }
    written = [name for name, value in given.items() if value]
    if "distribute" in written and len(written) > 1:
        report.error(resource, path, f"{' and '.join(written)} are both set; keep one of them")
    elif len(written) > 1 and setting.failover_priority:
        report.warning(
            resource,
            f"{path}.failover",
            "failover is not looked at beside failoverPriority; remove it",
            SUSPICIOUS,
        )
    if setting.enabled is False and written:
        report.warning(
            resource,
            f"{path}.enabled",
            f"enabled: false turns off {' and '.join(written)}; remove one of the two",
            SUSPICIOUS,
        )
    if not ejects and "distribute" not in written and written:
        report.warning(
            resource,
            path,
            f"{written[0]} changes nothing without outlierDetection beside it; add one, {{}} for "
            "its defaults",
            SUSPICIOUS,
        )
    _check_distribute(resource, f"{path}.distribute", setting.distribute or (), report)
    _check_failover(resource, f"{path}.failover", setting.failover or (), report)
    for index, label in enumerate(setting.failover_priority or ()):
        name, _, value = label.partition("=")
        if bad_label(name, value):
            report.error(
                resource,
                f"{path}.failoverPriority[{index}]",
                f"{brief(label)!r} is no label; write a name, or name=value",
            )


def _check_distribute(
    resource: Resource, path: str, entries: Sequence[Distribute], report: Report
) -> None:
    froms: list[tuple[str, int]] = []
    for index, entry in enumerate(entries):
        here = f"{path}[{index}]"
        if not entry.from_:
            report.error(resource, f"{here}.from", "from is missing; write region/zone/subzone")
        elif wrong := _bad_locality(entry.from_):
            report.error(resource, f"{here}.from", f"from is {brief(entry.from_)!r}; {wrong}")
        else:
            for before, at in froms:
                if _overlap(before, entry.from_):
                    report.error(
                        resource,
                        f"{here}.from",
                        f"distribute[{at}] is from {brief(before)} already; the first one counts, "
                        "so join them",
                    )
                    break
            froms.append((entry.from_, index))
        _check_to(resource, f"{here}.to", entry.to or {}, report)


def _check_to(resource: Resource, path: str, to: dict[str, int], report: Report) -> None:
    if not to:
        report.error(resource, path, "to is empty; write localities with their shares")
        return
    seen: list[str] = []
    for locality, weight in to.items():
        wrong = _bad_locality(locality)
        if wrong:
            report.error(resource, path, f"{brief(locality)!r} is no locality; {wrong}")
        if not 1 <= weight <= _ALL:
            report.error(
                resource,
                path,
                f"the share of {brief(locality)} is {weight}; write a number from 1 to 100",
            )
        same = next((before for before in seen if _overlap(before, locality)), None)
        if same is not None:
            report.error(
                resource, path, f"{brief(locality)} and {brief(same)} overlap; keep one of them"
            )
        seen.append(locality)
    total = sum(to.values())
    if total != _ALL:
        report.error(resource, path, f"the shares add up to {total}; write some that add up to 100")


def _bad_locality(written: str) -> str | None:
    """Say what is wrong with a locality, or pattern of one; None: nothing."""
    parts = written.split("/")
    if len(parts) > 3 or not all(parts):
        return "write region/zone/subzone, or its first one or two parts"
    if any("*" in part and part != "*" for part in parts):
        return "a star stands for a whole part"
    if "*" in parts[:-1]:
        return "a star may only be the last part"
    return None


def _overlap(one: str, other: str) -> bool:
    return all(
        a == b or a in ("", "*") or b in ("", "*")
        for a, b in zip(split_locality(one), split_locality(other), strict=True)
    )


def _check_failover(
    resource: Resource, path: str, entries: Sequence[Failover], report: Report
) -> None:
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        here = f"{path}[{index}]"
        for name, region in (("from", entry.from_), ("to", entry.to)):
            if not region or "/" in region or "*" in region:
                report.error(
                    resource,
                    f"{here}.{name}",
                    f"{name} is {brief(region or '')!r}; write the name of a region alone",
                )
        if entry.from_ and entry.from_ == entry.to:
            report.error(resource, here, f"from and to are both {brief(entry.to)}; name another")
        if entry.from_ and seen.setdefault(entry.from_, index) != index:
            report.error(
                resource,
                f"{here}.from",
                f"failover[{seen[entry.from_]}] is from {brief(entry.from_)} already; keep one",
            )


def check_warmup(
    resource: Resource, path: str, written: LoadBalancerSettings, report: Report
) -> None:
    """Report a warm-up that cannot be, or that the balancer does not know."""
    warmup, older = written.warmup, written.warmup_duration_secs
    name = "warmup" if warmup is not None else "warmupDurationSecs"
    if warmup is None and older is None:
        return
    if warmup is not None and older is not None:
        report.warning(
            resource,
            f"{path}.warmupDurationSecs",
            "warmupDurationSecs is not looked at beside warmup; remove it",
            SUSPICIOUS,
        )
    if written.consistent_hash is not None or written.simple in ("RANDOM", "PASSTHROUGH"):
        report.warning(
            resource,
            f"{path}.{name}",
            f"{name} is for ROUND_ROBIN and LEAST_REQUEST, and changes nothing here; remove it",
            SUSPICIOUS,
        )
    if warmup is None:
        check_duration(resource, f"{path}.{name}", older, report)
        return
    check_duration(resource, f"{path}.warmup.duration", warmup.duration, report)
    if warmup.minimum_percent is not None and not 0 <= warmup.minimum_percent <= _ALL:
        report.error(
            resource,
            f"{path}.warmup.minimumPercent",
            f"minimumPercent is {warmup.minimum_percent:g}; write a number from 0 to 100",
        )
    if warmup.aggression is not None and warmup.aggression < 1:
        report.error(
            resource,
            f"{path}.warmup.aggression",
            f"aggression is {warmup.aggression:g}; write 1 for even growth, or more for a fast "
            "start",
        )
