"""The words of `meshware explain` for people: what happens to a call, and why, in that order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from meshware.runtime.explain import Answer, InboundAnswer
from meshware.runtime.outbound_answer import (
    DestinationAnswer,
    MirrorAnswer,
    OutboundAnswer,
    PolicyAnswer,
    RuleAnswer,
    SettingAnswer,
)

__all__ = ["text_of"]


def text_of(answer: Answer) -> str:
    """Return an answer for people."""
    name = "" if answer.id is None else f"{answer.id}: "
    if answer.inbound is not None:
        return "\n".join(_inbound(answer.inbound, name))
    assert answer.outbound is not None
    return "\n".join(_outbound(answer.outbound, name))


def _inbound(answer: InboundAnswer, name: str) -> Iterator[str]:
    by = "no rule" if answer.policy is None else f"{answer.policy}, rule {answer.rule}"
    if answer.place is not None:
        by += f" at {answer.place}"
    if answer.detail is not None:
        by += f": {answer.detail}"
    if answer.asks:
        by += f"; if {', '.join(answer.asks)} would allow it, who is not asked here"
    yield f"{name}{answer.verdict}, status {answer.status}, by {by} ({answer.reason})"
    if answer.request_principal is not None:
        yield f"  on behalf of: {answer.request_principal}"
    for path in answer.candidates:
        yield f"  path decided on: {path}"
    for policy in answer.audited:
        yield f"  audited by {policy}"
    if answer.shadow is not None:
        said: str = answer.shadow
        if answer.shadow_policy is not None:
            said += f" by {answer.shadow_policy}, rule {answer.shadow_rule}"
        yield f"  were the policies on trial enforced: {said}"
    yield from _section("what is told of the call", map(_policy, answer.telemetries))


def _outbound(answer: OutboundAnswer, name: str) -> Iterator[str]:
    yield name + _headline(answer)
    for reason in answer.why:
        yield f"  {reason}"
    if answer.redirect_to is not None:
        yield f"  redirected to {answer.redirect_to}"
    of = f"rules of VirtualService {_owner(answer)}"
    counts = Counter(rule.rule for rule in answer.rules)
    yield from _section(of, (_rule(rule, counts[rule.rule]) for rule in answer.rules))
    if len(answer.destinations) > 1:
        yield from _section("weighted destinations", map(_destination, answer.destinations))
    yield from _section("faults and copies", _on_purpose(answer))
    if answer.sent is not None:
        yield from _section("changed on the way", _sent(answer))
    if answer.destination is not None:
        yield from _section("times and tries", _times(answer))
        yield from _section("endpoints", _endpoints(answer))
        yield from _section("settings", map(_setting, answer.settings))
    yield from _section("policies", map(_policy, answer.policies))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in found)


def _headline(answer: OutboundAnswer) -> str:
    route = "" if answer.route is None else f", route {answer.route}"
    if answer.status is not None:
        return f"answered {answer.status} here, flag {answer.flag}{route}"
    if answer.destination is None:
        return "passed through: the mesh does not know the host"
    goal = _goal(answer.destination, answer.port, answer.subset)
    return f"route {answer.route} to {goal}, endpoint {answer.picked}"


def _goal(host: str, port: int | None, subset: str | None) -> str:
    return f"{host}:{port}" + ("" if subset is None else f", subset {subset}")


def _place(file: str | None, line: int | None) -> str:
    return "" if file is None else f" ({file}:{line})"


def _owner(answer: OutboundAnswer) -> str:
    if answer.virtual_service is not None:
        return answer.virtual_service
    holds = [p for p in answer.policies if (p.kind, p.state) == ("VirtualService", "in-force")]
    return f"{holds[0].namespace}/{holds[0].name}" if holds else "of nobody"


_RULE_STATES = {
    "taken": "matched",
    "no-match": "did not match",
    "not-for-this-client": "is not for this client",
    "not-reached": "was not asked",
}


def _rule(rule: RuleAnswer, blocks: int) -> str:
    name = "" if rule.name is None else f' ("{rule.name}")'
    block = f", match {rule.match}" if blocks > 1 else ""
    if rule.delegate is not None:
        block += f" of VirtualService {rule.delegate}"
    why = "; ".join(rule.why)
    state = _RULE_STATES[rule.state]
    return f"rule {rule.rule}{name}{block} {state}: {why}{_place(rule.file, rule.line)}"


def _destination(to: DestinationAnswer) -> str:
    mark = " <- this call" if to.is_chosen else ""
    return f"{to.share_percent:g} % to {_goal(to.host, to.port, to.subset)}{mark}"


def _on_purpose(answer: OutboundAnswer) -> Iterator[str]:
    delay = answer.fault.delay if answer.fault is not None else None
    abort = answer.fault.abort if answer.fault is not None else None
    if delay is not None:
        yield f"{delay.percent:g} % of calls are delayed by {delay.seconds:g} s"
    if abort is not None:
        grpc = "" if abort.grpc_status is None else f" with gRPC status {abort.grpc_status}"
        yield f"{abort.percent:g} % of calls are aborted: {abort.status}{grpc}"
    yield from map(_mirror, answer.mirrors)


def _mirror(to: MirrorAnswer) -> str:
    end = "" if to.exists else ", which does not exist: no copy is sent"
    return f"{to.percent:g} % of calls are copied to {_goal(to.host, to.port, to.subset)}{end}"


def _sent(answer: OutboundAnswer) -> Iterator[str]:
    sent = answer.sent
    assert sent is not None
    if sent.path is not None:
        yield f"path: {sent.path}"
    if sent.host is not None:
        yield f"Host: {sent.host}"
    for name in sent.removed:
        yield f"header {name} is removed"
    for name, value in sent.set:
        yield f"header {name}: {value}"


_RETRIES_FROM = {
    "rule": "",
    "mesh": " (from MeshConfig's defaultHttpRetryPolicy)",
    "default": " (the default)",
}


def _times(answer: OutboundAnswer) -> Iterator[str]:
    whole = "none" if answer.timeout_s is None else f"{answer.timeout_s:g} s for the whole call"
    yield f"time-out: {whole}; {answer.connect_timeout_s:g} s to connect"
    if answer.retries is None:
        return
    retries = answer.retries
    each = "" if retries.per_try_timeout_s is None else f", {retries.per_try_timeout_s:g} s each"
    on = ", ".join(retries.on)
    source = _RETRIES_FROM[answer.retries_from or "default"]
    yield f"retries: {retries.attempts}{each}, on {on}{source}; {answer.retries_why}"


def _endpoints(answer: OutboundAnswer) -> Iterator[str]:
    for endpoint in answer.endpoints:
        address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
        key = f"{address}:{endpoint.port}"
        mark = " <- this call" if key == answer.picked else ""
        yield f"{key} {endpoint.state}{mark}"
    for other in answer.other_endpoints:
        port = "" if other.port is None else f":{other.port}"
        yield f"{other.address}{port} left out, {other.state}: {other.why}"
    for number, level in enumerate(answer.levels):
        yield (
            f"level {number} gets {level.share_percent:g} % of the calls: "
            + ", ".join(level.endpoints)
        )
    for kept in answer.not_ejected:
        yield f"{kept.endpoint} is not ejected: {kept.why}"


def _setting(setting: SettingAnswer) -> str:
    if setting.level is None:
        return f"{setting.setting}: {setting.value} (the default)"
    place = _place(setting.file, setting.line)
    where = f"{setting.level} of DestinationRule {setting.policy}{place}"
    if setting.is_reset:
        return f"{setting.setting}: {setting.value}, reset by {where}, which leaves it out"
    return f"{setting.setting}: {setting.value}, from {where}"


_POLICY_STATES = {
    "in-force": "holds",
    "comes-after": "does not hold",
    "hidden": "is not seen by this client",
    "not-for-this-client": "is not for this client",
}


def _policy(policy: PolicyAnswer) -> str:
    why = "" if policy.why is None else f": {policy.why}"
    what = f"{policy.kind} {policy.namespace}/{policy.name} {_POLICY_STATES[policy.state]}"
    return f"{what}{why}{_place(policy.file, policy.line)}"
