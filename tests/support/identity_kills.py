"""Writers of identities that are killed at random points, for a process of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ca_world import authority, later, plan, svid_in
from daemons import clean_environ

from meshware.ca.identities import IdentityFiles
from meshware.errors import MeshError


def kill_writers(root: Path, kills: int, seed: int) -> Iterator[dict[str, Any]]:
    """Fork writers that renew without a pause, and kill each at a random point of that.

    Yields what was found after each kill. Each writer is another daemon, and comes with a time at
    which everything is due.
    """
    draw = random.Random(seed)
    (root / "run").mkdir(exist_ok=True)
    began = time.monotonic()
    for number in range(20):
        _renew(root, number, IdentityFiles(root / "run"))
    renewal_s = (time.monotonic() - began) / 20
    parent = os.getpid()
    for number in range(kills):
        ready, say_ready = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(ready)
                _renew_until_orphaned(root, 20 + 20 * number, say_ready, parent)
            finally:
                os._exit(1)
        os.close(say_ready)
        os.read(ready, 1)
        os.close(ready)
        time.sleep(draw.uniform(0, 3 * renewal_s))
        os.kill(child, signal.SIGKILL)
        _, ended = os.waitpid(child, 0)
        place = root / "run" / "identity" / "default" / "web"
        try:
            svid = svid_in(root / "run")
            problem = None if svid.id.service_account == "web" else str(svid.id)
        except (MeshError, OSError) as error:
            problem = repr(error)
        yield {
            "kill": number,
            "was_killed": os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL,
            "problem": problem,
            "left": sorted(name for name in os.listdir(place) if name.endswith(".tmp")),
            "modes": sorted({oct(path.stat().st_mode & 0o777) for path in place.iterdir()}),
            "digest": None if problem else svid.digest,
        }


def _renew(root: Path, number: int, files: IdentityFiles) -> None:
    now = later(number * 1900.0)
    files.keep(plan("web"), authority(root), now, lambda: True)


def _renew_until_orphaned(root: Path, number: int, say_ready: int, parent: int) -> None:
    files = IdentityFiles(root / "run")
    issuer = authority(root)
    is_ready = False
    while os.getppid() == parent:
        # Half a life later each time, so that every look renews.
        files.keep(plan("web"), issuer, later(number * 1900.0 % 1e7), lambda: True)
        number += 1
        if not is_ready:
            is_ready = os.write(say_ready, b"!") > 0


_KILLER = """
import json, sys
from pathlib import Path
from identity_kills import kill_writers

root, kills, seed = sys.argv[1:]
for found in kill_writers(Path(root), int(kills), int(seed)):
    print(json.dumps(found), flush=True)
"""


def killed_writers(root: Path, kills: int, seed: int) -> list[dict[str, Any]]:
    """What `kill_writers` finds, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _KILLER, str(root), str(kills), str(seed)],
        env=clean_environ({"PYTHONPATH": str(Path(__file__).parent)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]
