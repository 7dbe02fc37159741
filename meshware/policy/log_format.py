"""Access log formats: Envoy's format strings and JSON templates, parsed and checked.

::

    format   = *( text / "%%" / operator )
    operator = "%" NAME [ "(" argument ")" ] [ ":" length ] "%"

What the operators stand for of a call is `meshware.telemetry.log_values`'s matter; which there are
is in `meshware.policy.log_operators`. Source: Envoy, "Substitution Formatter"; Istio,
`EnvoyTextLogFormat` and `EnvoyJSONLogFormatIstio`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meshware.policy.log_operators import ELSEWHERE, OPERATORS

__all__ = [
    "DEFAULT_LABELS",
    "DEFAULT_TEXT",
    "Format",
    "JsonFormat",
    "Part",
    "compile_format",
    "compile_labels",
    "problems_of",
    "problems_of_labels",
    "warnings_of",
    "warnings_of_labels",
]

DEFAULT_TEXT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "
    '%CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" '
    '"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
"""Istio's, with the spaces as Istio has them."""

DEFAULT_LABELS: Mapping[str, object] = MappingProxyType(
    {
        "authority": "%REQ(:AUTHORITY)%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
        "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "duration": "%DURATION%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "protocol": "%PROTOCOL%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "requested_server_name": "%REQUESTED_SERVER_NAME%",
        "response_code": "%RESPONSE_CODE%",
        "response_code_details": "%RESPONSE_CODE_DETAILS%",
        "response_flags": "%RESPONSE_FLAGS%",
        "route_name": "%ROUTE_NAME%",
        "start_time": "%START_TIME%",
        "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
        "upstream_host": "%UPSTREAM_HOST%",
        "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
        "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
        "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "user_agent": "%REQ(USER-AGENT)%",
        "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    }
)
"""Istio's JSON; the labels of a log that has none of its own."""

_OPERATOR = re.compile(r"%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%")  # Envoy's own pattern
_NAME = re.compile(r"%([A-Za-z0-9_]+)")
_LENGTH = re.compile(r"(?:\([^)]*\))?:(?![0-9]+%)")
_BAD_LENGTH = re.compile(r"%([A-Z0-9_]+)\([^)%]*\):([^%()]*)%")
_MOST_TEXT = 16384  # characters of a format
_DEEPEST = 16  # objects and lists within labels
_MOST_SHOWN = 40
_MOST_COMPLAINT = 300  # characters: an argument may be long, and is repeated
_FORM = "write %NAME%, %NAME(ARGUMENT)% or %NAME(ARGUMENT):LENGTH%, or %% for a percent sign"


@dataclass(frozen=True, slots=True)
class Part:
    """One operator in a format."""

    name: str
    argument: str = ""
    length: int | None = None  # characters at most; None: all


Format = tuple[str | Part, ...]
"""Text, and operators between; at least one of either."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found in a format: a problem, or a warning."""

    at: int  # character, from 1
    text: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"at character {self.at}: {self.text}"


def compile_format(text: str) -> Format:
    """Return a format's parts.

    Raises:
        ValueError: it has problems; the text is `problems_of`'s first.
    """
    parts: list[str | Part] = []
    for each in _read(text):
        if isinstance(each, _Found):
            if not each.is_warning:
                raise ValueError(str(each))
        elif isinstance(each, str) and parts and isinstance(parts[-1], str):
            parts[-1] += each
        else:
            parts.append(each)
    return tuple(parts) or ("",)


def problems_of(text: str) -> tuple[str, ...]:
    """Return what is wrong with a format, each with its position and a remedy."""
    return tuple(str(one) for one in _read(text) if isinstance(one, _Found) and not one.is_warning)


def warnings_of(text: str) -> tuple[str, ...]:
    """Return what of a format says nothing in process, and what may surprise."""
    return tuple(str(one) for one in _read(text) if isinstance(one, _Found) and one.is_warning)


# --- JSON ---------------------------------------------------------------------------------------


class JsonFormat(tuple[str | Part, ...]):
    """A format in a JSON log: apart from a tuple of elements."""

    __slots__ = ()


def compile_labels(labels: Mapping[str, object]) -> Mapping[str, object]:
    """Return the members of a JSON log, sorted by name as Envoy writes them.

    Members are `JsonFormat`, lists as tuples, mappings, and what needs no operators as it is.

    Args:
        labels: texts with operators, numbers, booleans, null, and objects and lists of these;
            empty: Istio's own.

    Raises:
        ValueError: there is a problem; the text is `problems_of_labels`' first.
    """
    wrong = problems_of_labels(labels)
    if wrong:
        raise ValueError(f"{wrong[0][0]}: {wrong[0][1]}")
    return {name: _compiled(value) for name, value in sorted((labels or DEFAULT_LABELS).items())}


def _compiled(value: object) -> object:
    if isinstance(value, str):
        return JsonFormat(compile_format(value)) if "%" in value else value
    if isinstance(value, Mapping):
        return {name: _compiled(each) for name, each in sorted(value.items())}
    if isinstance(value, list | tuple):
        return tuple(_compiled(each) for each in value)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # as Envoy writes numbers
    return value


def problems_of_labels(labels: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return what is wrong with labels: the field, as `a.b[0]`, and the problem."""
    return tuple(
        (path, text if at is None else str(at))
        for path, text, at in _walk(labels, "", 0)
        if at is None or not at.is_warning
    )


def warnings_of_labels(labels: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return what of labels says nothing in process: the field, and why."""
    return tuple(
        (path, str(at)) for path, _, at in _walk(labels, "", 0) if at is not None and at.is_warning
    )


def _walk(value: object, path: str, depth: int) -> Iterator[tuple[str, str, _Found | None]]:
    if depth > _DEEPEST:
        yield path, f"it is nested deeper than {_DEEPEST} levels; make it flatter", None
        return
    match value:
        case str():
            if "%" in value:
                for found in _read(value):
                    if isinstance(found, _Found):
                        yield path, "", found
        case Mapping():
            for name, each in value.items():
                if not isinstance(name, str):
                    yield path, f"{_brief(repr(name))} is no name; put it into quotes", None
                    continue
                yield from _walk(each, f"{path}.{name}" if path else name, depth + 1)
        case list() | tuple():
            for index, each in enumerate(value):
                yield from _walk(each, f"{path}[{index}]", depth + 1)
        case None | bool() | int():
            pass
        case float() if value - value == 0:  # neither infinite nor nan, which JSON does not have
            pass
        case _:
            yield path, f"{_brief(repr(value))} has no place in JSON; write a text", None


# --- reading ------------------------------------------------------------------------------------


def _read(text: str) -> Iterator[str | Part | _Found]:
    """Yield texts, operators, and what is wrong with either."""
    if len(text) > _MOST_TEXT:
        yield _Found(_MOST_TEXT, f"it is longer than {_MOST_TEXT} characters; make it shorter")
        return
    if "\n" in text.removesuffix("\n"):
        at = text.index("\n") + 1
        yield _Found(at, "here a call's entry begins another line", is_warning=True)
    at = 0
    while at < len(text):
        percent = text.find("%", at)
        if percent < 0:
            yield text[at:]
            return
        if percent > at:
            yield text[at:percent]
        if text.startswith("%%", percent):
            yield "%"
            at = percent + 2
            continue
        found = _OPERATOR.match(text, percent)
        if found is None:
            yield _Found(percent + 1, _unreadable(text, percent))
            return  # what the next percent sign is, nobody can tell
        judged = list(_judged(found, percent + 1))
        bad = _BAD_LENGTH.match(text, percent)
        if bad is not None and ")" in (found[2] or "") and not isinstance(judged[-1], Part):
            # As in Envoy brackets reach to the next `)%`; whoever wrote this meant an earlier one.
            name, length = bad[1], _brief(bad[2])
            yield _Found(percent + 1, f"%{name}%: its length `:{length}` is no number; {_FORM}")
            at = bad.end()
            continue
        yield from judged
        at = found.end()


def _judged(found: re.Match[str], at: int) -> Iterator[Part | _Found]:
    """Yield an operator, or what is wrong with it, and what it does not say here."""
    name, argument, length = found[1], found[2] or "", found[3]
    operator = OPERATORS.get(name)
    if operator is None:
        yield _Found(at, _unknown(name))
        return
    wrong: str | None = None
    if operator.takes == "nothing" and found[2] is not None:
        wrong = f"it takes nothing in brackets; write %{name}%"
    elif operator.takes == "must" and not argument:
        wrong = f"it needs something in brackets; write %{name}(...)%"
    elif length is not None and not operator.has_length:
        wrong = f"it takes no length; remove `:{length[:_MOST_SHOWN]}`"
    elif length is not None and len(length) > 9:
        wrong = "its length is too large; write at most 9 digits"
    elif "\n" in argument or "\r" in argument or "\0" in argument:
        wrong = "there is a line end within its brackets; remove it"
    elif operator.complaint is not None and found[2] is not None:
        wrong = operator.complaint(argument)
    if wrong is not None:
        yield _Found(at, f"%{name}%: {wrong[:_MOST_COMPLAINT]}")
        return
    if operator.absent:
        yield _Found(at, f"%{name}% says nothing in process: {operator.absent}", is_warning=True)
    yield Part(name, argument, None if length is None else int(length))


def _unknown(name: str) -> str:
    if name in ELSEWHERE:
        return f"%{name}%: {ELSEWHERE[name]}"
    close = difflib.get_close_matches(name, OPERATORS, n=1)
    remedy = (
        f"write %{close[0]}%" if close else "see docs/reference/access-logs.md for those there are"
    )
    return f"there is no operator %{_brief(name)}%; {remedy}"


def _unreadable(text: str, percent: int) -> str:
    """Return what is wrong where a percent sign begins no operator."""
    name = _NAME.match(text, percent)
    if name is None:
        return f"the percent sign begins no operator; {_FORM}"
    word = name[1]
    if word != word.upper() and word.upper() in OPERATORS:
        return f"names of operators are in capitals; write %{word.upper()}%"
    behind = text[name.end() : name.end() + 1]
    if behind == "(" and ")" not in text[name.end() :]:
        return f"%{_brief(word)}( is not closed; {_FORM}"
    if _LENGTH.match(text, name.end()) is not None and word in OPERATORS:
        return f"the length behind %{word} is no number; {_FORM}"
    return f"%{_brief(word)} is no operator, for want of a percent sign behind it; {_FORM}"


def _brief(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."
