"""Change the root while workers live: the daemon's side of `meshware cert rotate-root`.

Theory of operation
-------------------
The command and the daemon talk through two files in the state directory, so that either may end at
any moment: a *request* that the daemon takes away, and the *progress* that it writes.

1. A request announces a new root, unless a change has begun already; then it joins that.
2. At each look the daemon compares what live workers report with the bundle that is published. When
   every one of them reports it, or a request says to go on without the rest, the new root issues.
3. The old root is dropped when the longest-lived leaf that it may have issued has ended.

Reports are claims: a worker that lies, or cannot follow, holds a change up for as long as an
operator waits, and no longer. The step of a change is in the authority's own state.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from meshware.ca.authority import EmbeddedAuthority
from meshware.ca.requests import (
    PROGRESS_NAME,
    REQUEST_NAME,
    Progress,
    Request,
    Straggler,
    read_progress,
    read_request,
)
from meshware.identity.bundle import fingerprint
from meshware.runtime.files import replace_file
from meshware.runtime.reporter import Report

__all__ = ["RootChange", "stragglers_of"]


class RootChange:
    """Carries out what is requested. For one thread at a time.

    Args:
        state_dir: the daemon's.
    """

    def __init__(self, state_dir: Path) -> None:
        self._request_file = state_dir / REQUEST_NAME
        self._progress_file = state_dir / PROGRESS_NAME
        self._written = read_progress(state_dir)
        self._request = Request(id="")
        self._reason: str | None = None
        self._is_forced = False

    def look(
        self,
        authority: EmbeddedAuthority | None,
        refusal: str,
        now: datetime,
    ) -> None:
        """Take up a request, if there is one.

        Args:
            authority: of this daemon; None: it has none whose root it could change.
            refusal: why not, then.
            now: aware UTC.

        Raises:
            OSError: a file cannot be written; the request stays.
        """
        request = read_request(self._request_file.parent)
        if request is None:
            return
        reason = None
        if authority is None:
            reason = refusal
            self._answer(Progress(id=request.id, phase="refused", reason=reason))
        else:
            rotation = authority.state.rotation
            if rotation is None:
                authority.begin(request.id, now)
                self._is_forced = request.force
            elif rotation.phase == "announced":
                self._is_forced = self._is_forced or request.force
            elif request.id not in {rotation.id, self._request.id}:
                reason = (
                    f"a change of root began at {rotation.since} and is not over: the old root is "
                    f"dropped at {_time(rotation.drop_at)}"
                )
        self._request, self._reason = request, reason
        self._request_file.unlink(missing_ok=True)

    def step(
        self, authority: EmbeddedAuthority, expected: str, live: Sequence[Report], now: datetime
    ) -> None:
        """Go on with a change, as far as workers have come. Only when the bundle is published.

        Args:
            authority: whose root changes.
            expected: digest of the bundles that are published.
            live: what live workers report.
            now: aware UTC.

        Raises:
            OSError: a file cannot be written; the next call tries again.
        """
        rotation = authority.state.rotation
        if rotation is None:
            written = self._written
            if written is not None and written.phase == "issuing":
                self._answer(
                    msgspec.structs.replace(written, phase="done", drop_at=None, reason=None)
                )
            return
        left = stragglers_of(live, expected)
        if rotation.phase == "announced" and (not left or self._is_forced):
            authority.issue_from_next(now)
            self._is_forced = False
            rotation = authority.state.rotation
            assert rotation is not None
        self._answer(
            Progress(
                id=self._request.id or rotation.id,
                phase=rotation.phase,
                reason=self._reason,
                trust_domain=authority.trust_domain,
                root=fingerprint(authority.root(rotation.next).certificate),
                since=rotation.since,
                workers=len(live),
                stragglers=left,
                drop_at=rotation.drop_at,
            )
        )

    def _answer(self, progress: Progress) -> None:
        if progress != self._written or not self._progress_file.exists():
            replace_file(self._progress_file, msgspec.json.encode(progress), mode=0o600)
            self._written = progress


def stragglers_of(live: Sequence[Report], expected: str) -> tuple[Straggler, ...]:
    """Return the workers that do not report the bundles of this digest."""
    return tuple(
        Straggler(
            namespace=report.namespace,
            workload=report.workload,
            id=report.id,
            pid=report.pid,
            generation=report.generation,
        )
        for report in live
        if report.bundle != expected
    )


def _time(at: float | None) -> str:
    return "-" if at is None else f"{datetime.fromtimestamp(at, UTC):%FT%TZ}"
