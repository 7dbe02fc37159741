"""Give workloads of other Unix users a place for their reports, which a root daemon alone can make.

Without it no worker of theirs could say which bundle it has, and a change of root would wait for
all of them in vain.
"""

from __future__ import annotations

import os
from pathlib import Path

from meshware.ca.guarded import opened, opened_ours, owner_of, step_into
from meshware.ca.plan import Plan
from meshware.errors import IdentityError

__all__ = ["make_report_places"]

_MODE = 0o700


def make_report_places(reports: Path, plan: Plan) -> None:
    """Let the workloads of other Unix users report: make their directories for them. Root only.

    Raises:
        OSError, IdentityError: the first that went wrong, after all were tried.
    """
    if os.geteuid() != 0 or not plan.reports:
        return
    failed: OSError | IdentityError | None = None
    with opened(reports) as top:
        for place in plan.reports:
            try:
                owner = owner_of(place.user)
                with (
                    opened_ours(top, place.namespace) as middle,
                    step_into(middle, place.workload, _MODE, owner),
                ):
                    pass
            except (OSError, IdentityError) as error:
                failed = failed or error
    if failed is not None:
        raise failed
