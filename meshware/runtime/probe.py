"""Ask a workload whether it is well, by plaintext or as the workload itself, by mutual TLS."""

from __future__ import annotations

import http.client
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult

from meshware.clock import SystemClock
from meshware.errors import IdentityError, SettingsError
from meshware.policy.file import Records
from meshware.policy.snapshot import build_snapshot
from meshware.policy.view import Client
from meshware.runtime.identity import Identity
from meshware.runtime.identity_sources import IdentitySources

__all__ = ["Outcome", "own_context", "probe"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question."""

    ok: bool
    status: int | None  # None: no answer
    reason: str
    took_s: float


def own_context(
    records: Records, client: Client, run_dir: Path, endpoint: str, most_s: float
) -> ssl.SSLContext:
    """Return the TLS in which a workload calls itself.

    Args:
        records: the policy.
        client: the workload.
        run_dir: where its identity lies, if it lies in files.
        endpoint: where an agent is asked for it, if it comes from one.
        most_s: seconds to wait for an agent.

    Raises:
        SettingsError: it has no identity here.
        IdentityError: TLS cannot use it, or there is nobody to believe.
        PolicyError: the policy cannot be compiled.
    """
    snapshot = build_snapshot(records, client, generation=0, on_refusal=lambda *_: None)
    if snapshot.id is None:
        raise SettingsError(
            f"policy gives {client.namespace}/{client.name} no service account, and so no identity"
        )
    sources = IdentitySources(run_dir, endpoint)
    place = str(sources.directory(snapshot))
    if snapshot.mesh.identity_provider == "workload-api":
        place = "the agent's socket"
        sources.agent_for(snapshot.id).wait(most_s)
    identity = Identity(lambda: snapshot, sources, SystemClock())
    if identity.svid() is None:
        raise SettingsError(f"there is no identity to be used in {place}")
    return identity.client_context(frozenset([str(snapshot.id)]))


def probe(
    parts: SplitResult, context: ssl.SSLContext | None, timeout_s: float, expect: int | None
) -> Outcome:
    """Ask a URL once by GET.

    Args:
        parts: of the URL.
        context: the TLS; None: plaintext.
        timeout_s: seconds for all of it.
        expect: the status that is well; None: 200 to 399.
    """
    host, port = str(parts.hostname), parts.port or (443 if context else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    began = time.monotonic()
    try:
        connection.connect()
        if context is not None:
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        connection.sock.settimeout(max(0.01, timeout_s - (time.monotonic() - began)))
        connection.request("GET", target, headers={"user-agent": "meshware-probe"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, IdentityError) as error:
        reason = str(error) or type(error).__name__
        return Outcome(False, None, f"no answer ({reason})", time.monotonic() - began)
    finally:
        connection.close()
    ok = status == expect if expect is not None else 200 <= status < 400
    return Outcome(ok, status, f"answered {status}", time.monotonic() - began)
