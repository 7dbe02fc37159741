"""What holds now in one process, in numbers: its policy, its certificate, and who is ejected."""

from __future__ import annotations

from meshware.outbound.ledger import Ledger
from meshware.policy.snapshot import Snapshot
from meshware.policy.view import Client
from meshware.telemetry.report import Gauges
from meshware.telemetry.series import ENDPOINT_EJECTIONS, Labels

__all__ = ["gauges_of"]

_MOST_EJECTED = 100  # endpoints of a cluster that are told one by one


def gauges_of(  # noqa: PLR0917 - each is another thing that holds
    client: Client,
    snapshot: Snapshot,
    ledger: Ledger,
    applied_at: float,
    until_s: float | None,
    now: float,
) -> Gauges:
    """Return what holds now, by name and labels.

    Args:
        client: whose process it is.
        snapshot: the policy in force.
        ledger: what is in flight outbound.
        applied_at: unix seconds, when the policy came into force.
        until_s: unix seconds at which the certificate ends; None: there is none.
        now: monotonic seconds.
    """
    own: Labels = (("namespace", client.namespace), ("workload", client.name or "unknown"))
    gauges: Gauges = {
        ("meshware_policy_generation", own): snapshot.generation,
        ("meshware_policy_applied_timestamp_seconds", own): applied_at,
    }
    if until_s is not None:
        gauges[("meshware_certificate_expiry_timestamp_seconds", own)] = until_s
    for cluster in snapshot.clusters():
        if cluster.outlier is not None:
            host = cluster.name.rpartition("|")[2]
            key = ("meshware_ejected_endpoints", (("destination_service", host), *own))
            out = ledger.cluster(cluster.name).ejected(cluster, now)
            gauges[key] = gauges.get(key, 0) + len(out)
            for endpoint in sorted(out)[:_MOST_EJECTED]:
                pair = (("destination_service", host), ("endpoint", endpoint))
                gauges[(ENDPOINT_EJECTIONS, (*pair, *own))] = 1
    return gauges
