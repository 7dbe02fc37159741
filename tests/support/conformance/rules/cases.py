"""One case: policies about the workload `app`, and requests that it is sent.

In policies `$port` stands for the port at which the workload listens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

NAMESPACE = "shop"

WORKLOAD = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app, namespace: shop}
spec: {address: 127.0.0.1, labels: {app: app, tier: front}, serviceAccount: app}
"""

TRUST_DOMAINS = ("cluster.local", "old.example", "partner.example")
"""Whose certificates are believed: the own one, its alias, a stranger."""


@dataclass(frozen=True)
class Source:
    """Whence a request comes: one connection for all that share it."""

    principal: str | None = None  # "cluster.local/ns/web/sa/a"; None: plaintext
    ip: str = "127.0.0.1"
    sni: str | None = None


@dataclass(frozen=True)
class Ask:
    """One request, as it stands on the wire."""

    target: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = (("host", "app.example"),)
    source: Source = field(default_factory=Source)
    tokens: tuple[str, ...] = ()  # what kinds of tokens are among the headers

    @property
    def wire(self) -> bytes:
        """The bytes of its head."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def values(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for key, value in self.headers if key.lower() == name]


@dataclass(frozen=True)
class RuleCase:
    """Policies, and requests that they decide."""

    name: str
    policies: str
    asks: Sequence[Ask]


@dataclass(frozen=True)
class Answer:
    """What a request was answered."""

    status: int  # 0: the connection was closed without an answer
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    path: str | None = None  # that the app has seen; None: it was not called
    seen: tuple[tuple[str, str], ...] = ()  # headers that the app has seen
