"""What an inbound listener asks before the app hears of a request: who may do what.

Source: Istio, the order of a sidecar's inbound filters.
"""

from __future__ import annotations

import msgspec

from meshware.envoy.rbac import Written, rbac_filters
from meshware.envoy.values import Json
from meshware.policy.document.authorization_policy import AuthorizationPolicySpec
from meshware.policy.file import Records
from meshware.policy.record_types import MeshRecord, WorkloadRecord

__all__ = ["NotExported", "security_filters"]


class NotExported(Exception):
    """A rule cannot be said in Envoy's words: without it the listener would let too much in.

    Attributes:
        resource: which has it, `AuthorizationPolicy shop/it`.
        why: a sentence.
    """

    def __init__(self, resource: str, why: str) -> None:
        super().__init__(f"{resource}: {why}")
        self.resource = resource
        self.why = why


def security_filters(records: Records, workload: WorkloadRecord, mesh: MeshRecord) -> list[Json]:
    """Return the HTTP filters of the policies that select a workload.

    Raises:
        NotExported: a policy cannot be said in Envoy's words.
    """
    trust_domains = (mesh.trust_domain, *mesh.trust_domain_aliases)
    policies = [_policy(records, key) for key in workload.authorization]
    for policy in policies:
        try:
            rbac_filters([policy], trust_domains)
        except ValueError as error:
            raise NotExported(_resource(policy), str(error)) from error
    return rbac_filters(policies, trust_domains)


def _policy(records: Records, key: str) -> Written:
    data = records.get(key)
    if data is None:
        raise ValueError(f"the policy file names {key} and does not hold it")
    _, namespace, name = key.split("/", 2)
    spec = msgspec.json.decode(data, type=AuthorizationPolicySpec)
    policy = Written(namespace=namespace, name=name, spec=spec)
    if spec.action == "CUSTOM":
        raise NotExported(_resource(policy), "external authorizers are not exported")
    return policy


def _resource(policy: Written) -> str:
    return f"AuthorizationPolicy {policy.namespace}/{policy.name}"
