"""Tell the log, once, what somebody has to mend: in settings, in the app, or in meshware itself."""

from __future__ import annotations

import logging
from collections.abc import Callable

from meshware.authz import Authorizer
from meshware.policy.authorizers import ProcessAuthorizer
from meshware.policy.snapshot import Snapshot
from meshware.policy.view import Client

__all__ = ["tell_about_authorizers", "tell_about_workload", "tell_once"]

_log = logging.getLogger("meshware")


def tell_about_workload(client: Client) -> None:
    """Log why no inbound call can be let in: nobody knows which workload this process is."""
    if client.name is None:
        _log.warning(
            "MESH_WORKLOAD is not set, so no inbound call can be let in; set it to namespace/name "
            "of a WorkloadEntry or WorkloadGroup (a process that only calls others needs none)"
        )
        return
    _log.error(
        "MESH_WORKLOAD is %s/%s, which the policy does not name, so no inbound call can be let in; "
        "add a WorkloadEntry or WorkloadGroup of this name, or mend MESH_WORKLOAD",
        client.namespace,
        client.name,
    )


def tell_about_authorizers(
    function_of: Callable[[str], Authorizer | None], snapshot: Snapshot, told: set[str]
) -> None:
    """Log, once for each, the functions that policy asks and this process does not have.

    Args:
        function_of: returns the function that is registered under a name.
        snapshot: the policy.
        told: the names that were told of; it is kept by whoever calls this.
    """
    asked = snapshot.inbound.authorizers if snapshot.inbound is not None else {}
    for name, authorizer in asked.items():
        if isinstance(authorizer, ProcessAuthorizer) and function_of(name) is None:
            if name not in told:
                told.add(name)
                _log.error(
                    "policy asks authorizer %r, and no function of this process is registered "
                    "under that name, so every request that it is asked about is refused; put "
                    "@meshware.authorizer(%r) on one in a module that the app imports",
                    name,
                    name,
                )
        else:
            told.discard(name)


_told: set[str] = set()
_MOST_TOLD = 100  # distinct mistakes; what never ends must not fill the log


def tell_once(error: Exception) -> None:
    """Log an exception that a call was spared, the first time that it comes from its place."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    place = "" if traceback is None else f"{traceback.tb_frame.f_code}:{traceback.tb_lineno}"
    key = f"{type(error).__name__} {place}"
    if key not in _told and len(_told) < _MOST_TOLD:
        _told.add(key)
        _log.error("a mistake in meshware, told once: %s", error, exc_info=error)
