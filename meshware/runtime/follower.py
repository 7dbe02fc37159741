"""Follow policy: take up what is new, keep the last good one through every fault.

Theory of operation
-------------------
`start` looks once, in the calling thread, so that a call right behind it finds policy; after that
a thread looks every `poll_s` seconds. A look is a `stat` (3 microseconds) while nothing changes.

1. Nothing there: said once. Without policy in force every call is answered 503; with one it stays.
2. Something new and good: a snapshot is built and published into the cell, whole.
3. Something new and bad (torn, older, not ours to trust, does not compile): the last good one
   stays. Each distinct refusal is logged once and handed to `on_refused`.
4. Something that cannot be read now (no descriptors left, I/O error): as 3, and looked at again.

Whatever goes wrong stays in here: no failure of following ever reaches a call. A child process
starts with what its parent had in force, and follows on its own from its own `start`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from meshware.errors import PolicyError, PolicyFileError
from meshware.policy.file import Records
from meshware.runtime.dns_lookup import Lookup, lookup_for
from meshware.runtime.fork import renew_after_fork
from meshware.runtime.policy_file import trusted_owners
from meshware.runtime.readers import (
    Fresh,
    PolicyFileReader,
    SourcesReader,
    compile_sources,
    is_source,
)
from meshware.runtime.unknown_keys import UnknownKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshware.policy.snapshot import Snapshot, SnapshotCell

__all__ = ["Build", "Follower"]

Build = Callable[[Records, "Snapshot | None", int], "Snapshot"]
"""Make a snapshot of records, the snapshot in force, and a generation; PolicyError refuses it."""

POLL_S = 0.1
"""Seconds between looks: an edit is in every worker half a second after it was made."""

_MOST_TOLD = 100  # distinct refusals remembered; past that they may be told again

_log = logging.getLogger("meshware.policy")


def _ignore_applied(snapshot: Snapshot) -> None:
    """Do nothing with a snapshot in force."""


def _ignore_refused(reason: str, generation: int | None) -> None:
    """Do nothing with a refusal."""


class Follower:
    """Keeps a cell at the newest policy that is good. Safe to use from any thread.

    Args:
        config: what MESH_CONFIG names: a policy file, or a YAML file or directory. It may be
            absent for now.
        cell: where the snapshot in force is put.
        build: makes a snapshot.
        policy_owner: MESH_POLICY_OWNER: who may own the policy file besides root and this process.
        on_applied: told of each snapshot that came into force.
        on_refused: told of each distinct refusal: its reason, and the generation where known.
        poll_s: seconds between looks.
        compile_them: turns YAML into records.
        now_ns: unix time in nanoseconds, to compare with that of files.
        make_lookup: returns the way to look up the names that YAML has for endpoints.
        rng: chance; None: of its own.

    Raises:
        SettingsError: `policy_owner` is no user.
    """

    def __init__(
        self,
        config: Path,
        cell: SnapshotCell,
        build: Build,
        policy_owner: str | None = None,
        on_applied: Callable[[Snapshot], None] = _ignore_applied,
        *,
        on_refused: Callable[[str, int | None], None] = _ignore_refused,
        poll_s: float = POLL_S,
        compile_them: Callable[[Path], Mapping[str, bytes]] = compile_sources,
        now_ns: Callable[[], int] = time.time_ns,
        make_lookup: Callable[[], Lookup] = lookup_for,
        rng: random.Random | None = None,
    ) -> None:
        self._config = config
        self._cell = cell
        self._build = build
        self._on_applied = on_applied
        self._on_refused = on_refused
        self._poll_s = poll_s
        self._file = PolicyFileReader(config, trusted_owners(policy_owner), now_ns)
        self._unknown_keys = UnknownKeys()
        self._sources = SourcesReader(
            config,
            compile_them,
            now_ns,
            make_lookup,
            rng=rng,
            unknown_keys=self._unknown_keys,
        )
        self._reader: PolicyFileReader | SourcesReader | None = None  # who found what is in force
        self._told: set[tuple[str, int | None]] = set()
        self._is_missed = False  # its absence was told
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget thread and locks, in a child process: they are the parent's."""
        self._starting = threading.Lock()
        self._looking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._is_started = False

    def start(self) -> None:
        """Look for policy now, then follow it in a thread. Idempotent, and cheap when started."""
        if self._is_started:
            return
        with self._starting:
            if self._thread is not None:
                return  # another thread was faster
            self.poll_once()
            self._stopped = threading.Event()
            thread = threading.Thread(
                target=_follow,
                args=(weakref.ref(self), self._stopped, self._poll_s),
                name="meshware-follower",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError as error:  # no thread to be had, or the interpreter is ending
                self._refuse(f"policy cannot be followed: {error}", None)
                return
            self._thread = thread
            self._is_started = True

    def stop(self) -> None:
        """Stop following; the policy in force stays. `start` goes on."""
        with self._starting:
            thread, self._thread = self._thread, None
            self._is_started = False
            self._stopped.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
        self._sources.stop()

    def key_unknown(self, uri: str) -> None:
        """Note that a token names a key which is not among those of an address.

        Where this process fetches keys itself they are fetched anew, in the background.
        """
        self._unknown_keys.note(uri)

    def poll_once(self) -> bool:
        """Look for policy once. Returns whether a new snapshot came into force."""
        with self._looking:
            try:
                # A directory in the place of the file that is followed is no change of mind.
                reader = self._reader or (self._sources if is_source(self._config) else self._file)
                fresh = reader.look()
            except (FileNotFoundError, NotADirectoryError):
                self._miss()
                return False
            except OSError as error:
                self._refuse(f"{self._config} cannot be read: {error.strerror or error}", None)
                return False
            except PolicyError as error:
                self._refuse(str(error), None)
                is_torn = isinstance(error, PolicyFileError) and self._cell.current is None
                fresh = reader.look_at_previous() if is_torn else None
            except Exception as error:
                # A thread that dies here would leave the process on old policy for ever.
                self._refuse_unforeseen(error, None)
                return False
            self._is_missed = False
            return fresh is not None and self._take_up(reader, fresh)

    def _take_up(self, reader: PolicyFileReader | SourcesReader, fresh: Fresh) -> bool:
        """Build a snapshot and publish it, or refuse it. Returns whether it is in force."""
        try:
            snapshot = self._build(fresh.records, self._cell.current, fresh.generation)
        except PolicyError as error:
            self._refuse(str(error), fresh.generation)
            return False
        except Exception as error:
            # Anything else than a good snapshot must not come into force, and this thread must
            # live on for the next one.
            self._refuse_unforeseen(error, fresh.generation)
            return False
        self._cell.current = snapshot
        reader.taken_up(fresh)
        self._reader = reader
        self._told.clear()
        _log.info("generation %d of %s is in force", fresh.generation, self._config)
        try:
            self._on_applied(snapshot)
        except Exception:
            # Policy is in force whether or not whoever watches it can cope.
            _log.exception("generation %d is in force, but not everywhere known", fresh.generation)
        return True

    def _miss(self) -> None:
        """Tell once that there is nothing to follow."""
        if self._is_missed:
            return
        self._is_missed = True
        current = self._cell.current
        if current is None:
            _log.warning(
                "there is no policy at %s yet; every call is refused until there is", self._config
            )
        else:
            _log.warning(
                "the policy at %s is gone; generation %d stays in force",
                self._config,
                current.generation,
            )

    def _refuse(self, reason: str, generation: int | None) -> None:
        """Tell once why the policy that is there does not come into force."""
        if self._note(reason, generation):
            _log.error("%s; %s", reason, self._what_stays())
            self._hand_on(reason, generation)

    def _refuse_unforeseen(self, error: Exception, generation: int | None) -> None:
        """Tell once of a failure that is a mistake of ours, with its traceback."""
        reason = f"{self._config} cannot be taken up: {type(error).__name__}: {error}"
        if self._note(reason, generation):
            _log.error("%s; %s", reason, self._what_stays(), exc_info=error)
            self._hand_on(reason, generation)

    def _note(self, reason: str, generation: int | None) -> bool:
        """Remember a refusal. Returns whether it is new."""
        if (reason, generation) in self._told:
            return False
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told.add((reason, generation))
        return True

    def _hand_on(self, reason: str, generation: int | None) -> None:
        try:
            self._on_refused(reason, generation)
        except Exception:
            # Reports are for people; the policy in force does not depend on them.
            _log.exception("a refusal could not be reported")

    def _what_stays(self) -> str:
        current = self._cell.current
        if current is None:
            return "there is no policy in force, and every call is refused"
        return f"generation {current.generation} stays in force"


def _follow(follower_ref: weakref.ref[Follower], stopped: threading.Event, poll_s: float) -> None:
    """Look again and again, until stopped or until nobody holds the follower any more."""
    while not stopped.wait(poll_s):
        follower = follower_ref()
        if follower is None:
            return
        follower.poll_once()
        del follower
