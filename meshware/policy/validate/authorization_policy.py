"""Check AuthorizationPolicies: what a rule says must mean one thing, and be carried out.

An empty list could mean all or nothing, and a value that can never match leaves a door open in a
DENY policy, so both are told with their field. What passes here compiles (`inbound_rules`).

Source: Istio's validation of AuthorizationPolicy.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

import msgspec

from meshware.policy.codes import INVALID, NOT_APPLICABLE, NOT_SUPPORTED_YET
from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    Condition,
    MeshAuthorizationPolicySpec,
    MeshRule,
    Operation,
    Rule,
    Source,
)
from meshware.policy.inbound_matchers import ADDRESS_KEYS
from meshware.policy.inbound_policies import DRY_RUN, TRUE_WORDS
from meshware.policy.inbound_rules import NamedPolicy, compile_inbound, header_of
from meshware.policy.parse import Resource
from meshware.policy.user_matchers import claim_path
from meshware.policy.validate.authorization_values import (
    MAX_ACCOUNTS,
    OPERATION_DOUBTS,
    OPERATION_ERRORS,
    PEER_KEY_TESTS,
    SOURCE_DOUBTS,
    SOURCE_ERRORS,
    USER_KEY_TESTS,
    Test,
    block,
    is_token,
    nothing,
    port,
    star_within,
)
from meshware.policy.validate.common import Report
from meshware.policy.yaml12 import brief

__all__ = ["check_authorization_policy"]

_Spec = AuthorizationPolicySpec | MeshAuthorizationPolicySpec

_DRY_RUN_FIELD = f"metadata.annotations[{DRY_RUN}]"
_FALSE_WORDS = frozenset({"0", "f", "F", "false", "FALSE", "False"})

_PORT_KEY = "destination.port"
_CLAIMS_KEY = "request.auth.claims"
_ENVOY_KEY = "experimental.envoy.filters."
# Keys that Istio once had: what they said, a selector and `namespace` say today.
_REMOVED_KEYS = frozenset({"destination.name", "destination.namespace", "destination.user"})
_REMOVED_LABELS = "destination.labels["
_KNOWN_KEYS = (
    *sorted(ADDRESS_KEYS),
    *sorted(PEER_KEY_TESTS),
    _PORT_KEY,
    "request.headers[NAME]",
    *sorted(USER_KEY_TESTS),
    f"{_CLAIMS_KEY}[NAME]",
)


def check_authorization_policy(resource: Resource, report: Report) -> None:
    """Report what is wrong with one AuthorizationPolicy by itself."""
    if isinstance(resource.spec, AuthorizationPolicySpec | MeshAuthorizationPolicySpec):
        _Checker(resource, report).policy(resource.spec)


class _Checker:
    """Walks through one policy with the path of what it looks at."""

    def __init__(self, resource: Resource, report: Report) -> None:
        self._resource, self._report = resource, report
        self._is_bad = False

    def policy(self, spec: _Spec) -> None:
        self._dry_run(spec)
        if not spec.rules and spec.action not in (None, "ALLOW"):
            self._error(
                "spec.rules",
                f"a {spec.action} policy without rules never holds; write `rules: [{{}}]` for "
                "every request, or remove the policy",
            )
        rules: tuple[Rule | MeshRule, ...] = spec.rules or ()
        for index, rule in enumerate(rules):
            self._rule(rule, f"spec.rules[{index}]")
        # Which action has a provider is told by `custom_rules`.
        is_named = spec.provider is not None and bool(spec.provider.name)
        if not self._is_bad and (spec.action == "CUSTOM") == is_named:
            self._compile(spec)

    def _compile(self, spec: _Spec) -> None:
        """Make sure that no worker meets a policy that it cannot compile."""
        named = NamedPolicy(namespace=self._resource.namespace, name=self._resource.name, spec=spec)
        try:
            compile_inbound([named])
        except ValueError as error:
            self._error("spec", f"this policy cannot be carried out: {error}; remove it")

    def _dry_run(self, spec: _Spec) -> None:
        for name in self._resource.annotations:
            if name != DRY_RUN and re.sub(r"[-_]", "", name.lower()) == "istio.io/dryrun":
                # Misspelt it would be enforced, which its author does not expect.
                self._error(f"metadata.annotations[{name}]", f"did you mean {DRY_RUN}? write it so")
        value = self._resource.annotations.get(DRY_RUN)
        if value in TRUE_WORDS and spec.action not in (None, "ALLOW", "DENY"):
            self._error(
                _DRY_RUN_FIELD,
                f"a policy with action {spec.action} has no dry run, only ALLOW and DENY have; "
                "remove the annotation or the policy",
            )
        elif value is not None and value not in TRUE_WORDS | _FALSE_WORDS:
            self._error(_DRY_RUN_FIELD, f'{DRY_RUN} is {brief(value)!r}; write "true" or "false"')

    def _rule(self, rule: Rule | MeshRule, path: str) -> None:
        self._not_empty(rule.from_, f"{path}.from", "a source, or remove it for any source")
        for index, one in enumerate(rule.from_ or ()):
            here = f"{path}.from[{index}].source"
            if one.source is None:
                self._error(here, "source is missing; add it, or remove `from` for any source")
            else:
                self._values_of(one.source, here, SOURCE_ERRORS, SOURCE_DOUBTS)
                self._accounts(one.source, here)
        self._not_empty(rule.to, f"{path}.to", "an operation, or remove it for any operation")
        operations: list[Operation | None] = [to.operation for to in rule.to or ()]
        for index, operation in enumerate(operations):
            here = f"{path}.to[{index}].operation"
            if operation is None:
                self._error(here, "operation is missing; add it, or remove `to` for any operation")
            else:
                self._values_of(operation, here, OPERATION_ERRORS, OPERATION_DOUBTS)
        self._not_empty(rule.when, f"{path}.when", "a condition, or remove it")
        for index, condition in enumerate(rule.when or ()):
            self._condition(condition, f"{path}.when[{index}]")

    def _accounts(self, source: Source, path: str) -> None:
        """Report what Istio does not let stand beside service accounts."""
        accounts = source.service_accounts or source.not_service_accounts
        if not accounts:
            return
        if len(accounts) > MAX_ACCOUNTS:
            self._error(
                path, f"there are more than {MAX_ACCOUNTS} service accounts; split the rule"
            )
        for field in ("principals", "not_principals", "namespaces", "not_namespaces"):
            if getattr(source, field) is not None:
                self._error(
                    path,
                    "serviceAccounts cannot stand beside principals or namespaces; write one of "
                    "them",
                )
                return

    def _condition(self, condition: Condition, path: str) -> None:
        if condition.values is None and condition.not_values is None:
            self._error(path, "a condition has neither values nor notValues; add one of them")
        tests = self._tests_of_key(condition.key, f"{path}.key")
        if tests is None:
            return
        error, doubt = tests
        for name, values in (("values", condition.values), ("notValues", condition.not_values)):
            self._values(values, f"{path}.{name}", error, doubt)

    def _tests_of_key(self, key: str, path: str) -> tuple[Test, Test] | None:
        """Return the tests of a key's values, or None when the key itself was told about."""
        if key in ADDRESS_KEYS:
            return block, nothing
        if key == _PORT_KEY:
            return port, nothing
        if key in PEER_KEY_TESTS:
            return PEER_KEY_TESTS[key]
        if key in USER_KEY_TESTS:
            return USER_KEY_TESTS[key]
        if claim_path(key) is not None:
            return nothing, star_within
        header = header_of(key)
        if header is not None and is_token(header):
            return nothing, star_within
        if header is not None and header.startswith(":"):
            self._error(
                path,
                f"{brief(key)} is no header of HTTP/1.1; write operation.methods, hosts or paths",
                NOT_APPLICABLE,
            )
        elif key.startswith(_CLAIMS_KEY):
            self._error(
                path,
                f"{brief(key)} names no claim; write {_CLAIMS_KEY}[NAME], and {_CLAIMS_KEY}[A][B] "
                "for the claim B inside of A",
            )
        elif key.startswith(_ENVOY_KEY):
            self._error(
                path,
                f"{brief(key)} is not applicable: there is no Envoy; remove it",
                NOT_APPLICABLE,
            )
        elif key in _REMOVED_KEYS or key.startswith(_REMOVED_LABELS):
            self._error(
                path,
                f"Istio no longer has the key {brief(key)}; select workloads by spec.selector and "
                "metadata.namespace",
            )
        else:
            self._error(path, _unknown_key(key))
        return None

    def _values_of(
        self,
        part: Source | Operation,
        path: str,
        errors: Mapping[str, Test],
        doubts: Mapping[str, Test],
    ) -> None:
        is_empty = True
        for field in msgspec.structs.fields(part):
            values = getattr(part, field.name)
            if values is None:
                continue
            is_empty = False
            here = f"{path}.{field.encode_name}"
            error = errors.get(field.name)
            if error is None:
                message = f"{field.encode_name} is not supported yet; remove it"
                self._error(here, message, NOT_SUPPORTED_YET)
            else:
                self._values(values, here, error, doubts.get(field.name, nothing))
        if is_empty:
            what = path.rpartition(".")[2]
            self._error(path, f"{what} is empty; add a field to it, or remove it for any {what}")

    def _values(self, values: Sequence[str] | None, path: str, error: Test, doubt: Test) -> None:
        self._not_empty(values, path, "a value, or remove it")
        for index, value in enumerate(values or ()):
            here = f"{path}[{index}]"
            wrong = error(value) if value else "write a text that is not empty"
            if wrong is not None:
                self._error(here, f"{here.rpartition('.')[2]} is {brief(value)!r}; {wrong}")
                continue
            doubtful = doubt(value)
            if doubtful is not None:
                message = f"{here.rpartition('.')[2]} is {brief(value)!r}: {doubtful}"
                self._report.warning(self._resource, here, message)

    def _not_empty(self, values: Sequence[object] | None, path: str, remedy: str) -> None:
        if values is not None and not values:
            name = path.rpartition(".")[2]
            self._error(
                path, f"{name} is an empty list, which could mean all or nothing; add {remedy}"
            )

    def _error(self, field: str, message: str, code: str = INVALID) -> None:
        self._is_bad = True
        self._report.error(self._resource, field, message, code)


def _unknown_key(key: str) -> str:
    if not key:
        return "key is empty; write an attribute, such as source.ip"
    near = difflib.get_close_matches(key[:100], _KNOWN_KEYS, 1, 0.6)
    if near:
        return f"there is no key {brief(key)!r}; did you mean {near[0]!r}?"
    return f"there is no key {brief(key)!r}; write one of {', '.join(_KNOWN_KEYS)}"
