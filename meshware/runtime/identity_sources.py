"""Where the identities and tokens of a run directory's workloads come from, as policy says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meshware.policy.snapshot import Snapshot
from meshware.runtime.identity import SVIDSource

if TYPE_CHECKING:  # what imports `cryptography` is imported where it is used
    from meshware.identity.spiffe import SpiffeID
    from meshware.runtime.svid_files import SVIDFiles
    from meshware.runtime.token_files import TokenFile, WorkloadToken
    from meshware.runtime.workload_api import Agent, AgentSource

__all__ = ["IdentitySources"]


class IdentitySources:
    """Tells where a workload's SVID and token come from. Safe to use from any thread.

    Args:
        run_dir: the run directory, in whose `identity` files lie.
        endpoint: of an agent's Workload API, from SPIFFE_ENDPOINT_SOCKET; "": none.
    """

    def __init__(self, run_dir: Path, endpoint: str = "") -> None:
        self._identities = run_dir / "identity"
        self._endpoint = endpoint
        self._kept: SVIDFiles | None = None
        self._agent: Agent | None = None
        self._agent_source: AgentSource | None = None
        self._token: TokenFile | None = None

    def __call__(self, snapshot: Snapshot) -> SVIDSource | None:
        """Return where the SVID of a policy's workload comes from; None: nowhere."""
        if snapshot.mesh.identity_provider == "workload-api":
            return self.agent_for(snapshot.id)
        directory = self.directory(snapshot)
        if directory is None:
            return None
        kept = self._kept
        if kept is None or kept.directory != directory:
            from meshware.runtime.svid_files import SVIDFiles

            kept = self._kept = SVIDFiles(directory)
        return kept

    def agent_for(self, expected: SpiffeID | None) -> AgentSource:
        """Return what an agent has for one workload.

        Args:
            expected: whom policy says that it is; None: whoever the agent says.
        """
        kept = self._agent_source
        if kept is None or kept.expected != expected:
            from meshware.runtime.workload_api import Agent, AgentSource

            if self._agent is None:
                self._agent = Agent(self._endpoint)
            kept = self._agent_source = AgentSource(self._agent, expected)
        return kept

    def token(self, snapshot: Snapshot, now: float) -> WorkloadToken | None:
        """Return the identity token of a workload; None: there is none that has not ended."""
        directory = self.directory(snapshot)
        if directory is None:
            return None
        kept = self._token
        if kept is None or kept.directory != directory:
            from meshware.runtime.token_files import TokenFile

            kept = self._token = TokenFile(directory)
        return kept.token(now)

    def directory(self, snapshot: Snapshot) -> Path | None:
        """Return where the files of a policy's workload lie; None: it has no service account."""
        own = snapshot.id
        return None if own is None else self._identities.joinpath(*own.path.split("/")[2::2])
