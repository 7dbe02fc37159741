"""What policy knows of how endpoints are called: in whose name they answer, and by which means.

An endpoint speaks mutual TLS when it has a service account, unless it has a label
`security.istio.io/tlsMode` that says anything else than `istio`; outside of the mesh nobody does. A
port at which its workload wants plaintext (PeerAuthentication, DISABLE) speaks plaintext.

Differs from Istio: the label alone, without an account, says nothing; `check` tells so.

Source: Istio, `getTLSModeFromWorkloadEntry`, auto mTLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshware.errors import IdentityError
from meshware.identity.spiffe import workload_id
from meshware.policy.document.service_entry import WorkloadEntrySpec
from meshware.policy.peer_modes import ModesOf, mode_at
from meshware.policy.workload_extras import ExtrasOf

__all__ = ["TLS_MODE_LABEL", "Accounts", "Speech"]

TLS_MODE_LABEL = "security.istio.io/tlsMode"
"""Of a workload that says itself whether it speaks mutual TLS: by `istio`, and no other word."""


class Speech(NamedTuple):
    """How an endpoint is called."""

    tls_id: str | None = None  # whom to expect there; None: it speaks plaintext
    plain_ports: tuple[int, ...] = ()
    token_ports: tuple[int, ...] = ()


_PLAIN = Speech()


@dataclass(frozen=True, slots=True)
class Accounts:
    """Tells how endpoints are called."""

    trust_domain: str
    modes_of: ModesOf
    extras_of: ExtrasOf

    def speech(
        self,
        namespace: str,
        entry: WorkloadEntrySpec,
        labels: Mapping[str, str],
        ports: Mapping[str, int],
    ) -> Speech:
        """Return how an endpoint inside of the mesh is called.

        Args:
            namespace: its own.
            entry: it.
            labels: its labels.
            ports: its own port by the service's.
        """
        if not entry.service_account:
            return _PLAIN
        try:
            named = str(workload_id(self.trust_domain, namespace, entry.service_account))
        except IdentityError:
            return _PLAIN  # `check` refuses it
        tokens = self.extras_of(namespace, labels).tokens
        takes_tokens = tuple(
            port
            for port in sorted(set(ports.values()))
            if tokens.ports.get(str(port), tokens.mode) == "ACCEPT"
        )
        if labels.get(TLS_MODE_LABEL, "istio") != "istio":
            return Speech(named, tuple(sorted(set(ports.values()))), takes_tokens)
        modes = self.modes_of(namespace, labels)
        plain = tuple(p for p in sorted(set(ports.values())) if mode_at(modes, p) == "DISABLE")
        return Speech(named, plain, takes_tokens)
