"""Which rules can cover which endpoints of an app, and which rules are for none.

It is decided without a request, so a rule "can" cover an endpoint when some request may meet it:
sources, hosts, ports and conditions are taken to hold. What is told as a finding is certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from meshware.policy.codes import (
    ENDPOINT_NOT_COVERED,
    ENDPOINT_NOT_GUARDED,
    ENDPOINT_NOT_SEEN,
    ENDPOINT_OPEN,
    RULE_WITHOUT_ENDPOINT,
)
from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    MeshAuthorizationPolicySpec,
    MeshOperation,
    MeshRule,
    Operation,
    Rule,
)
from meshware.policy.handler_matchers import HANDLER_FIELDS, asks_handlers, handler_values, meets
from meshware.policy.inbound_facts import Handler
from meshware.policy.inbound_policies import is_dry_run
from meshware.policy.labels import selects
from meshware.policy.match import Patterns
from meshware.policy.parse import Resource
from meshware.policy.path_overlap import (
    Pieces,
    literal_of,
    may_meet,
    pattern_pieces,
    template_pieces,
)
from meshware.policy.problems import Problem, Severity
from meshware.policy.validate.common import Report
from meshware.policy.yaml12 import brief

__all__ = ["Coverage", "Endpoint", "coverage_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint of an app, for one method."""

    handler: Handler | None  # None: a mounted app that cannot be asked; `route` is its prefix's
    route: str  # in plain braces where it has such a form
    method: str | None  # None: whatever the request has
    file: str | None = None  # where it is written
    line: int | None = None
    has_mesh: bool = False  # a mesh within the app stands in front of it

    @property
    def pieces(self) -> Pieces:
        """The paths that lead to it."""
        return template_pieces(self.handler.routes if self.handler else (self.route,))

    def __str__(self) -> str:
        """Return `GET /users/{id} (shop.api.show)`."""
        name = f" ({self.handler.functions[-1]})" if self.handler else ""
        return f"{self.method or 'any method'} {self.route}{name}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What rules say about the endpoints of an app.

    Attributes:
        allowed_by: for each endpoint the ALLOW rules that can cover it: `namespace/name[rule]`.
        stopped_by: for each the DENY and CUSTOM rules that can.
        problems: what is most likely a mistake.
    """

    endpoints: Sequence[Endpoint]
    allowed_by: Sequence[Sequence[str]]
    stopped_by: Sequence[Sequence[str]]
    problems: Sequence[Problem]


@dataclass(frozen=True, slots=True)
class _Policy:
    resource: Resource
    action: str
    rules: tuple[Rule | MeshRule, ...]
    is_for_others: bool  # it selects other workloads too

    def operations(self) -> Iterator[tuple[int, int, Operation | None]]:
        """Yield each operation with the positions of its rule and of itself."""
        for at, rule in enumerate(self.rules):
            for number, to in enumerate(rule.to or (None,)):
                yield at, number, None if to is None else to.operation

    def closes(self, one: _Seen) -> bool:
        """Say whether it refuses every call of an endpoint, whoever makes it."""
        return self.action == "DENY" and any(
            not self.rules[at].from_ and not self.rules[at].when and one.is_all_of(operation)
            for at, _, operation in self.operations()
        )


def coverage_of(
    endpoints: Sequence[Endpoint],
    resources: Sequence[Resource],
    *,
    namespace: str,
    labels: Mapping[str, str],
    others: Sequence[tuple[str, Mapping[str, str]]],
    root_namespace: str,
) -> Coverage:
    """Compare the endpoints of an app with the rules of its workload.

    Args:
        endpoints: of the app.
        resources: all of policy.
        namespace, labels: of the workload.
        others: namespace and labels of every other workload.
        root_namespace: whose policies are for the whole mesh.
    """
    policies = list(_selected(resources, namespace, labels, others, root_namespace))
    seen = [_Seen(endpoint) for endpoint in endpoints]
    for policy in policies:
        for rule, _, operation in policy.operations():
            name = f"{policy.resource.namespace}/{policy.resource.name}[{rule}]"
            for one in seen:
                is_allow = policy.action == "ALLOW"
                found = one.allowed_by if is_allow else one.stopped_by
                if policy.action == "AUDIT" or name in found:
                    continue
                if one.may_meet(operation, is_deny=not is_allow):
                    found.append(name)
    for policy in policies:
        for one in seen:
            one.is_closed = one.is_closed or policy.closes(one)
    report = Report()
    for policy in policies:
        _tell_of_rules(policy, seen, report)
    has_allow = any(policy.action == "ALLOW" for policy in policies)
    return Coverage(
        endpoints=endpoints,
        allowed_by=[one.allowed_by for one in seen],
        stopped_by=[one.stopped_by for one in seen],
        problems=[*_of_endpoints(seen, namespace, has_allow), *report.problems],
    )


def _selected(
    resources: Sequence[Resource],
    namespace: str,
    labels: Mapping[str, str],
    others: Sequence[tuple[str, Mapping[str, str]]],
    root_namespace: str,
) -> Iterator[_Policy]:
    for resource in resources:
        spec = resource.spec
        if not isinstance(spec, AuthorizationPolicySpec | MeshAuthorizationPolicySpec):
            continue
        wanted = (spec.selector.match_labels if spec.selector else None) or None
        reach = None if resource.namespace == root_namespace else resource.namespace
        if reach not in (None, namespace) or not selects(wanted, labels) or is_dry_run(resource):
            continue
        yield _Policy(
            resource,
            spec.action or "ALLOW",
            spec.rules or (),
            any(reach in (None, place) and selects(wanted, theirs) for place, theirs in others),
        )


# --- endpoints ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """An endpoint, and the rules that can cover it."""

    endpoint: Endpoint
    allowed_by: list[str] = field(default_factory=list)
    stopped_by: list[str] = field(default_factory=list)
    pieces: Pieces = ()
    is_closed: bool = False  # a DENY rule refuses each of its calls

    def __post_init__(self) -> None:
        self.pieces = self.endpoint.pieces

    def may_meet(self, operation: Operation | None, *, is_deny: bool) -> bool:
        """Say whether some request for the endpoint may be what an operation says.

        What is not known of its handler holds for what denies, as it does when calls are decided.
        """
        if operation is None:
            return True
        method, handler = self.endpoint.method, self.endpoint.handler
        if method is not None:
            if operation.methods and not Patterns(operation.methods)(method):
                return False
            if operation.not_methods and Patterns(operation.not_methods)(method):
                return False
        if operation.paths and not any(map(self.may_have, operation.paths)):
            return False
        path = literal_of(self.pieces)
        for value in operation.not_paths or ():
            if value == "*" or (path is not None and self.may_have(value)):
                return False
        if not isinstance(operation, MeshOperation) or not asks_handlers(operation):
            return True
        answer = None if handler is None else meets(operation, is_deny=is_deny)(handler)
        return is_deny if answer is None else answer

    def is_all_of(self, operation: Operation | None) -> bool:
        """Say whether every call of the endpoint is what an operation of a DENY rule says."""
        if operation is None:
            return True
        if operation.hosts or operation.not_hosts or operation.ports or operation.not_ports:
            return False
        method, handler = self.endpoint.method, self.endpoint.handler
        if method is None:
            if operation.not_methods or (operation.methods and "*" not in operation.methods):
                return False
        elif (operation.methods and not Patterns(operation.methods)(method)) or (
            operation.not_methods and Patterns(operation.not_methods)(method)
        ):
            return False
        if operation.paths and not any(map(self._has_all_paths_in, operation.paths)):
            return False
        if any(map(self.may_have, operation.not_paths or ())):
            return False
        if not isinstance(operation, MeshOperation) or not asks_handlers(operation):
            return True
        return handler is not None and meets(operation, is_deny=True)(handler) is True

    def _has_all_paths_in(self, value: str) -> bool:
        """Say whether a value of `paths` certainly takes every path of the endpoint."""
        path = literal_of(self.pieces)
        if path is not None:
            return self.may_have(value)
        if not value.endswith("*") or value.startswith("*"):
            return value == "*"
        start = pattern_pieces(value)[:-1]
        return start == self.pieces[: len(start)]

    def may_have(self, path: str) -> bool:
        """Say whether a value of `paths` can be met."""
        return may_meet(self.pieces, pattern_pieces(path))


def _of_endpoints(seen: Sequence[_Seen], namespace: str, has_allow: bool) -> Iterator[Problem]:
    if not has_allow:
        yield _finding(
            None,
            namespace,
            ENDPOINT_OPEN,
            "no ALLOW policy applies to the workload, so that all that no rule denies is open to "
            "everybody",
            Severity.INFO,
        )
    some_guarded = any(one.endpoint.has_mesh for one in seen)
    for one in seen:
        endpoint = one.endpoint
        if endpoint.handler is None:
            yield _finding(
                endpoint,
                namespace,
                ENDPOINT_NOT_SEEN,
                f"{endpoint.route}: the app that is mounted there cannot be asked for its "
                "endpoints: rules by route, function or operationId deny it and never allow it",
                Severity.INFO,
            )
        if some_guarded and not endpoint.has_mesh:
            yield _finding(
                endpoint,
                namespace,
                ENDPOINT_NOT_GUARDED,
                f"{endpoint}: no MeshMiddleware of the app's stands in front of it, as one does of "
                "others: without `meshware run` no rule is asked; put one around the whole app",
                Severity.INFO,
            )
        if has_allow and not one.allowed_by and not one.is_closed:
            yield _finding(
                endpoint,
                namespace,
                ENDPOINT_NOT_COVERED,
                f"{endpoint}: no ALLOW rule covers it, so it is refused to everybody; write one "
                "that does, or a DENY rule for all of its calls where that is meant",
            )
        elif not has_allow and not one.stopped_by:
            yield _finding(
                endpoint,
                namespace,
                ENDPOINT_OPEN,
                f"{endpoint}: no rule covers it, and without any ALLOW policy it is open to "
                "everybody; write one that says who may call it",
            )


def _finding(
    endpoint: Endpoint | None,
    namespace: str,
    code: str,
    message: str,
    severity: Severity = Severity.WARNING,
) -> Problem:
    return Problem(
        severity=severity,
        code=code,
        kind=None,
        namespace=namespace,
        name=None,
        field=None,
        file=endpoint.file if endpoint else None,
        line=endpoint.line if endpoint else None,
        message=message,
    )


# --- rules ----------------------------------------------------------------------------------------


def _tell_of_rules(policy: _Policy, seen: Sequence[_Seen], report: Report) -> None:
    """Report what of a policy is for no endpoint."""
    for rule, number, operation in policy.operations():
        if operation is None:
            continue
        here = f"spec.rules[{rule}].to[{number}].operation"
        is_told = False
        for name, at, value in _values(operation):
            if not _is_somewhere(name, value, seen, is_deny=policy.action != "ALLOW"):
                is_told = True
                _tell(
                    policy,
                    f"{here}.{name}[{at}]",
                    f"{name}[{at}] is {brief(value)!r}, and no endpoint of the app has that; mend "
                    "it, or remove it",
                    report,
                    is_of_app=name not in ("paths", "notPaths"),
                )
        asks = asks_handlers(operation)
        known = [one for one in seen if one.endpoint.handler is not None or not asks]
        if not is_told and not any(one.may_meet(operation, is_deny=True) for one in known):
            _tell(
                policy,
                here,
                "no endpoint of the app is all that this operation says; mend it, or remove it",
                report,
                is_of_app=asks,
            )


def _tell(policy: _Policy, path: str, message: str, report: Report, *, is_of_app: bool) -> None:
    # Paths of other workloads may be meant.
    tell = report.info if policy.is_for_others and not is_of_app else report.warning
    tell(policy.resource, path, message, RULE_WITHOUT_ENDPOINT)


def _values(operation: Operation) -> Iterator[tuple[str, int, str]]:
    """Yield the values that name endpoints, with their field."""
    for each in msgspec.structs.fields(operation):
        if each.name in ("paths", "not_paths", *HANDLER_FIELDS):
            for at, value in enumerate(getattr(operation, each.name) or ()):
                if value != "*":
                    yield each.encode_name, at, value


def _is_somewhere(field_name: str, value: str, seen: Sequence[_Seen], *, is_deny: bool) -> bool:
    """Say whether some endpoint has what a value names."""
    may_be_besides = is_deny != field_name.startswith("not")
    if field_name in ("paths", "notPaths"):
        return any(one.may_have(value) for one in seen)
    name = field_name.removeprefix("not").lower()
    patterns = Patterns(handler_values(name, (value,)))
    for one in seen:
        handler = one.endpoint.handler
        if handler is None:
            continue
        names = {
            "routes": handler.routes + (handler.besides if may_be_besides else ()),
            "functions": handler.functions,
            "operationids": handler.operation_ids or (),
        }[name]
        if any(map(patterns, names)):
            return True
    return False
