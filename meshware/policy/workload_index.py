"""Which workload is meant by an identity, or by the labels of an endpoint. For telemetry alone.

An account may be that of several workloads (the versions of a service): then it is not known which
of them it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from meshware.errors import PolicyError
from meshware.policy.document.common import Labels
from meshware.policy.file import Records

__all__ = ["Known", "WorkloadIndex"]


class Known(NamedTuple):
    """A workload as policy names it."""

    name: str
    labels: Labels
    account: str | None


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    """What is read of a workload's record."""

    labels: Labels
    service_account: str | None = None


class WorkloadIndex:
    """All workloads of policy, by namespace; read when one is first asked for.

    Args:
        records: the policy file's.
        previous: of the policy before; what has the same digest is not read again.
    """

    def __init__(self, records: Records, previous: WorkloadIndex | None = None) -> None:
        self._records = records
        self._before = {} if previous is None else previous._read
        self._read: dict[str, tuple[str | None, Known]] = self._before
        self._by_namespace: dict[str, list[Known]] | None = None

    def of_account(self, namespace: str, account: str) -> Known | None:
        """Return the only workload of an account; None: there is none, or more than one."""
        return self._only(namespace, account, {})

    def of_labels(
        self, namespace: str, labels: Mapping[str, str], account: str | None
    ) -> Known | None:
        """Return the only workload that bears labels, and has an account where one is given."""
        return self._only(namespace, account, labels) if labels or account else None

    def _only(self, namespace: str, account: str | None, labels: Mapping[str, str]) -> Known | None:
        found = [
            known
            for known in self._all().get(namespace, ())
            if (account is None or known.account == account)
            and labels.items() <= known.labels.items()
        ]
        return found[0] if len(found) == 1 else None

    def _all(self) -> Mapping[str, list[Known]]:
        if self._by_namespace is None:
            self._read, by_namespace = {}, dict[str, list[Known]]()
            for key in self._records.keys("workload/"):
                known = self._known(key)
                if known is not None:
                    by_namespace.setdefault(key.split("/", 2)[1], []).append(known)
            self._by_namespace, self._before = by_namespace, {}
        return self._by_namespace

    def _known(self, key: str) -> Known | None:
        digest = self._records.digest(key)
        before = self._before.get(key)
        if before is not None and before[0] == digest:
            self._read[key] = before
            return before[1]
        try:
            data = self._records.get(key)
            part = None if data is None else msgspec.json.decode(data, type=_Part)
        except (PolicyError, msgspec.MsgspecError):
            return None  # whoever needs it refuses it; here it is for people
        if part is None:
            return None
        known = Known(key.split("/", 2)[2], part.labels, part.service_account)
        self._read[key] = (digest, known)
        return known
