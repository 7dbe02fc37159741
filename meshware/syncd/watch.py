"""Hear of edits at once, where the kernel tells of them.

Directories are watched, never files: a file that is replaced, as editors and ConfigMaps do it, is
another file. What is heard only wakes the daemon; whether anything changed is seen by looking. So a
watch that misses something, or cannot be had at all, costs time and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from meshware.policy.directories import SUFFIXES
from meshware.syncd.wake import Wake

__all__ = ["Watcher", "is_policy_path"]

_STEP_MS = 25
_DEBOUNCE_MS = 100  # a burst is handed over in pieces; the daemon settles it


class Watcher:
    """Watches where sources lie, in a thread or two, from `start` to `stop`.

    Args:
        sources: files and directories.
        wake: told of each change.
        note: told, once for each reason, why something cannot be watched.
    """

    def __init__(self, sources: Iterable[Path], wake: Wake, note: Callable[[str], None]) -> None:
        self._sources = tuple(sources)
        self._wake = wake
        self._note = note
        self._noted: set[str] = set()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watched: object = None

    def refresh(self) -> None:
        """Watch what lies at the sources' paths now: a directory may have been replaced."""
        found = self._identities()
        if found == self._watched and all(thread.is_alive() for thread in self._threads):
            return
        self.stop()
        self._watched = found
        self._stopped = threading.Event()
        directories = [path for path in self._sources if path.is_dir()]
        # Of a file's directory, only that one: it may be somebody's home.
        parents = [path.parent for path in self._sources if not path.is_dir()]
        for paths, is_deep in ((directories, True), (parents, False)):
            there = [path for path in paths if path.is_dir()]
            if there:
                thread = threading.Thread(
                    target=self._watch,
                    args=(there, is_deep, self._stopped),
                    name="meshware-watcher",
                    daemon=True,
                )
                thread.start()
                self._threads.append(thread)

    def stop(self) -> None:
        """End the threads."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=5)
        self._threads.clear()

    def _identities(self) -> list[object]:
        identities: list[object] = []
        for path in self._sources:
            place = path if path.is_dir() else path.parent
            try:
                about = place.stat()
            except OSError:
                identities.append(None)
            else:
                identities.append((str(place), about.st_dev, about.st_ino))
        return identities

    def _watch(self, paths: list[Path], is_deep: bool, stopped: threading.Event) -> None:
        import watchfiles

        try:
            for changes in watchfiles.watch(
                *paths,
                watch_filter=None,
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                stop_event=stopped,
                recursive=is_deep,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                if any(is_policy_path(Path(path)) for _change, path in changes):
                    self._wake.touch()
                else:
                    self._wake.wake()  # a directory, or a link like a ConfigMap's `..data`
        except Exception as error:
            # No more inotify watches, a file system without them: the daemon looks by itself.
            reason = " ".join(str(error).split())
            if reason not in self._noted:
                self._noted.add(reason)
                self._note(f"edits are looked for and not heard of: {reason}")
        # Else the thread would be begun again at once, and fail again.
        stopped.wait()


def is_policy_path(path: Path) -> bool:
    """Say whether an edit there may be one of policy: no hidden file, and named like policy."""
    return path.name.endswith(SUFFIXES) and not path.name.startswith(".")
