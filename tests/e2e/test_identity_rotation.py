"""Leaves and a root are renewed while calls go on: none fails, nothing restarts, nothing grows.

Once for each release, with MESHWARE_CHAOS=long, it is a thousand renewals under 200 calls a second.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from chaos import IS_LONG
from client_drivers import DRIVERS
from client_world import wait_until
from mutual_upstreams import service_of
from rotating import Held, RotatingMesh, Rotation, calling
from secured_apps import PYTHON, SUPPORT, RunDir, free_port, policy_text, running

RENEWALS = 1000 if IS_LONG else 100
PER_S = 300.0 if IS_LONG else 60.0  # aimed at: calls wait for renewals, and fewer are made
PAUSE_S = 0.1 if IS_LONG else 0.05  # between two renewals, which cost a handshake everywhere
# So many calls a second are more than one process makes over all eight clients.
_LONG = ("requests", "urllib3", "aiohttp")
KINDS = [each for each in DRIVERS if each.name in _LONG or not IS_LONG]
SERVER_EACH = 4  # of so many one is the server's, which needs a quarter of a second to see it
MORE_MIB = 25.0  # the server remembers 4,096 chains that it has verified

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc"),
]


@contextmanager
def both_ends(tmp_path):
    """An app behind uvicorn that lets in only who has an identity, and a mesh that calls it."""
    run = RunDir(tmp_path / "run")
    run.policy(policy_text("STRICT"))
    port = free_port()
    command = [
        PYTHON, str(SUPPORT / "serve_secured.py"), "uvicorn", "uvicorn", "--port", str(port),
        "--log-level", "warning", "telling:asgi",
    ]  # fmt: skip
    with running(command, port, run.environ(), tmp_path / "log") as pid:
        mesh = RotatingMesh(run.authority, service_of("app", (port, "app")))
        yield Rotation(mesh, run, port), pid


def test_no_call_fails_while_identities_are_renewed(tmp_path):
    """Over every client at once, without a retry to hide anything behind."""
    with both_ends(tmp_path) as (it, server):
        with calling(it.mesh, "http://app/", per_s=PER_S, drivers=KINDS) as outcomes:
            began_at = time.monotonic()
            for renewal in range(1, RENEWALS + 1):
                if renewal == RENEWALS // 2:
                    it.change_root()
                elif renewal % SERVER_EACH == 0:
                    it.renew_server()
                else:
                    it.renew_client()
                if renewal == RENEWALS // 4:  # what is made once has been made
                    here, there = Held.here(), Held.by(server)
                time.sleep(PAUSE_S)
            took_s, made = time.monotonic() - began_at, len(outcomes)
            # Aiohttp keeps what is closed for a while, and it is bound to what it was made by.
            wait_until(lambda: Held.here().contexts <= here.contexts + len(KINDS))
            more_here, more_there = Held.here(), Held.by(server)
        failed = [outcome for outcome in outcomes if not outcome.is_right]
        assert not failed, (len(failed), failed[:10])
        by_driver = Counter(outcome.driver for outcome in outcomes)
        assert set(by_driver) == {driver.name for driver in KINDS}
        assert min(by_driver.values()) >= RENEWALS / 4, by_driver
        if IS_LONG:
            # A machine that others use makes fewer than are due.
            assert made >= 50 * took_s, (made, took_s)
        sockets = 4 * len(KINDS)  # one for each thread and kind, and one that is being replaced
        for before, after in ((here, more_here), (there, more_there)):
            assert after.descriptors <= before.descriptors + sockets, (before, after)
            assert after.resident_mib <= before.resident_mib + MORE_MIB, (before, after)
        print(f"{made} calls, {took_s:.1f} s; {here} {more_here}; {there} {more_there}")
