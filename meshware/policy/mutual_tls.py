"""Compile mutual TLS of the mesh: by a DestinationRule's word, or of its own accord.

1. `tls.mode: ISTIO_MUTUAL` is for every endpoint. Without anybody to expect there, calls fail.
2. Where no `tls` is written, endpoints that have an identity are called by mutual TLS and the
   others in plaintext, each for itself, unless MeshConfig's enableAutoMtls is false.
3. Any other `tls` stands as it is written.

Expected are the names that the DestinationRule has, else those of the ServiceEntry, else the
endpoint's own account. Differs from Istio, which takes every account of the service at each.

Source: Istio ClientTLSSettings, MeshConfig.enableAutoMtls; Envoy's transport socket matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from meshware.policy.document.destination_rule import ClientTLSSettings
from meshware.policy.pool_rule import PoolRule, TLSRule

__all__ = ["Mutual", "compile_mutual", "pool_with"]


@dataclass(frozen=True, slots=True)
class Mutual:
    """Mutual TLS to one destination."""

    rule: TLSRule  # with the names that policy writes
    is_forced: bool

    def rule_for(self, own: str | None) -> TLSRule | None:
        """Return the rule for an endpoint; None: it is called in plaintext.

        Args:
            own: the ID in whose name it answers by mutual TLS; None: it does not.
        """
        if own is None and not self.is_forced:
            return None
        if self.rule.names or own is None:
            return self.rule
        return replace(self.rule, names=(own,))


def compile_mutual(
    written: ClientTLSSettings | None,
    names: Sequence[str],
    key: tuple[str, int, str],
    *,
    auto: bool,
) -> Mutual | None:
    """Return the mutual TLS of a destination; None: there is none.

    Args:
        written: the DestinationRule's.
        names: the ServiceEntry's `subjectAltNames`.
        key: host, port and subset.
        auto: whether endpoints with an identity are called by it of its own accord.
    """
    is_forced = written is not None and written.mode == "ISTIO_MUTUAL"
    if not is_forced and (written is not None or not auto):
        return None
    host, port, subset = key
    wanted = (written.subject_alt_names if written is not None else None) or names
    sni = (written.sni if written is not None else None) or f"outbound_.{port}_.{subset}_.{host}"
    return Mutual(TLSRule(is_mesh=True, sni=sni, names=tuple(wanted)), is_forced)


def pool_with(pool: PoolRule, tls: TLSRule) -> PoolRule:
    """Return a pool whose connections have this TLS."""
    return replace(pool, tls=tls)
