"""Check the fields that several networking kinds share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meshware.policy.codes import DUPLICATE, INVALID_REGEX, SUSPICIOUS
from meshware.policy.document.common import StringMatch
from meshware.policy.parse import Resource
from meshware.policy.regex import compile_regex
from meshware.policy.validate.common import Report
from meshware.policy.validate.grammar import bad_label, is_name
from meshware.policy.yaml12 import brief

__all__ = [
    "SHORTEST_S",
    "check_duration",
    "check_export_to",
    "check_labels",
    "check_selector",
    "check_string_match",
    "check_unique",
    "is_presence",
]

SHORTEST_S = 0.001  # Istio takes no shorter duration
_EVERYWHERE, _OWN, _NOWHERE = "*", ".", "~"


def check_duration(
    resource: Resource, path: str, seconds: float | None, report: Report, instead: str = ""
) -> None:
    """Report a duration that is too short to mean anything.

    Args:
        resource: whose field it is.
        path: the field.
        seconds: its value; None: it is not written.
        report: takes the problem.
        instead: what else there is to write, such as ", or remove it".
    """
    if seconds is not None and seconds < SHORTEST_S:
        name = path.rpartition(".")[2]
        report.error(resource, path, f"{name} is too short; write at least 1ms{instead}")


def check_export_to(
    resource: Resource,
    written: Sequence[str] | None,
    report: Report,
    *,
    may_be_nobody: bool = False,
) -> None:
    """Report words of `exportTo` that are no namespaces, or that contradict each other.

    Args:
        resource: whose field it is.
        written: its value.
        report: takes the problems.
        may_be_nobody: `~` is allowed, as it is for services.
    """
    seen: set[str] = set()
    for index, word in enumerate(written or ()):
        here = f"spec.exportTo[{index}]"
        namespace = resource.namespace if word == _OWN else word
        if namespace in seen:
            report.error(resource, here, f"exportTo has {brief(word)!r} twice; remove one")
        seen.add(namespace)
        if word == _NOWHERE and not may_be_nobody:
            report.error(
                resource,
                here,
                f"exportTo `~` would hide this {resource.kind} from everybody; write `.` for its "
                "own namespace, or remove the resource",
            )
        elif word not in (_EVERYWHERE, _OWN, _NOWHERE) and not is_name(word):
            report.error(
                resource,
                here,
                f"exportTo[{index}] is {brief(word)!r}; write `.`, `*` or a namespace",
            )
    for word in (_EVERYWHERE, _NOWHERE):
        if word in seen and len(seen) > 1:
            report.error(
                resource,
                "spec.exportTo",
                f"exportTo has `{word}` beside others; let it stand alone",
            )


def check_labels(
    resource: Resource, path: str, labels: Mapping[str, str] | None, report: Report
) -> bool:
    """Report labels that no workload can have; return whether all are good."""
    is_good = True
    for name, value in (labels or {}).items():
        wrong = bad_label(name, value)
        if wrong is not None:
            is_good = False
            report.error(
                resource,
                f"{path}[{name}]",
                f"{brief(name)!r}: {brief(value)!r} is no label; {wrong}",
            )
    return is_good


def check_selector(
    resource: Resource, path: str, labels: Mapping[str, str] | None, report: Report
) -> None:
    """Report a selector that selects everything by accident, or has what no label can have.

    Args:
        resource: whose selector it is.
        path: the field that holds the labels, such as `spec.workloadSelector.labels`.
        labels: what is written there.
        report: takes the problems.
    """
    if not labels:
        above, _, name = path.rpartition(".")
        report.warning(
            resource,
            above,
            "workloadSelector names no label and so selects every workload of namespace "
            f"{resource.namespace}; add {name}, or remove it to say the same",
            SUSPICIOUS,
        )
    check_labels(resource, path, labels, report)


def is_presence(match: StringMatch) -> bool:
    """Say whether a match asks only that something is there: `{}`, or Istio's regex `*`."""
    return match.regex == "*" or (
        match.exact is None and match.prefix is None and match.regex is None
    )


def check_string_match(
    resource: Resource,
    path: str,
    match: StringMatch,
    report: Report,
    *,
    may_be_presence: bool,
    may_be_any_prefix: bool = False,
) -> bool:
    """Report what is wrong with a StringMatch; return whether it is good.

    Args:
        resource: whose it is.
        path: the field.
        match: what is written there.
        report: takes the problems.
        may_be_presence: `{}` is allowed.
        may_be_any_prefix: an empty prefix is allowed.
    """
    name = path.rpartition(".")[2]
    written = [word for word in ("exact", "prefix", "regex") if getattr(match, word) is not None]
    if len(written) > 1:
        report.error(resource, path, f"{name} has both {' and '.join(written)}; keep one of them")
        return False
    if not written:
        if may_be_presence:
            return True
        report.error(resource, path, f"{name} asks for nothing; write exact, prefix or regex")
        return False
    if match.prefix == "" and not may_be_any_prefix:
        report.error(
            resource, f"{path}.prefix", "prefix is empty and every value begins so; write a text"
        )
        return False
    if match.regex is None or match.regex == "*":
        return True
    if match.regex == "":
        report.error(
            resource, f"{path}.regex", "regex is empty; write a pattern, or exact", INVALID_REGEX
        )
        return False
    try:
        compile_regex(match.regex)
    except ValueError as error:
        report.error(
            resource,
            f"{path}.regex",
            f"the regular expression {brief(match.regex)!r} cannot be used: {error}; mend it",
            INVALID_REGEX,
        )
        return False
    return True


def check_unique(
    resource: Resource, path: str, name: str, seen: dict[str, str], report: Report
) -> None:
    """Report a name that an earlier item of the same list has.

    Args:
        resource: whose it is.
        path: the field that holds the name.
        name: its value.
        seen: the names so far, with their fields; this one is added.
        report: takes the problem.
    """
    first = seen.setdefault(name, path)
    if first != path:
        report.error(
            resource,
            path,
            f"{brief(name)!r} is there already, at {first}; rename or remove one",
            DUPLICATE,
        )
