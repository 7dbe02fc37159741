"""Be somebody whom permissions hold for: root may read and write anything."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def lesser_user() -> Iterator[Path]:
    """Yield a directory of one's own, as a user that is not root; whoever is none stays who he is.

    pytest's own directories are root's alone, and nobody else gets as far as to a file in them.
    """
    place = Path(tempfile.mkdtemp(prefix="meshware-lesser-"))
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(place, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield place
    finally:
        if is_root:
            os.seteuid(0)
            os.setegid(0)
        for each in (place, *place.rglob("*")):
            each.chmod(0o700)
        shutil.rmtree(place)
