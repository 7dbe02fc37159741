"""Say what a host that nobody declares was most likely meant to be."""

from __future__ import annotations

from meshware.policy.decode import nearest
from meshware.policy.names import candidates, expand
from meshware.policy.validate.registry import Registry
from meshware.policy.yaml12 import brief

__all__ = ["Hints"]

_MOST_HOSTS = 1000  # among which a likeness is looked for
_MOST_LOOKS = 50  # looking for likenesses takes time, and after so many there is a pattern


class Hints:
    """Finds the service that a slip of the pen meant. Not for two checks at once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._looks = 0

    def for_host(self, written: str, namespace: str) -> str:
        """Return a remedy for an unknown host of a policy.

        Args:
            written: the host as written.
            namespace: that of the resource that names it.
        """
        written = written.lower().removesuffix(".")
        short = [
            host
            for host in candidates(written, namespace)
            if host != expand(written, namespace) and host in self._registry.claims
        ]
        if short:
            return f"in policy a short host has no dot: write {brief(short[0], 100)}"
        first = written.partition(".")[0]
        same = [h for h in self._registry.by_first_label.get(first, ()) if h != written]
        if len(same) == 1:
            return f"did you mean {brief(same[0], 100)}?"
        near = self._nearest(written, namespace)
        if near is not None:
            return f"did you mean {brief(near, 100)}?"
        return "mend it, or add a ServiceEntry"

    def _nearest(self, written: str, namespace: str) -> str | None:
        if len(self._registry.claims) > _MOST_HOSTS or self._looks >= _MOST_LOOKS:
            return None
        self._looks += 1
        if "." in written:
            return nearest(written, self._registry.claims)
        ending = expand("x", namespace)[1:]
        shorts = {
            host.removesuffix(ending): host
            for host in self._registry.claims
            if host.endswith(ending)
        }
        return nearest(written, shorts)
