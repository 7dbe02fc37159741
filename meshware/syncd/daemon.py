"""The daemon: read the sources, check them, publish or refuse, and again at each edit.

Theory of operation
-------------------
One loop in the main thread does all that matters; other threads only wake it.

1. Start: take the run directory, clear away what a killed daemon left, read the sources. If they
   cannot be used, the last good policy is served.
2. An edit is heard of (`watch`), or seen: every file's times are looked at each half second. It
   settles (`settle`), and the sources are read whole.
3. Names that policy has for endpoints are looked up, and keys of token issuers fetched, by threads
   of the look-ups; when they change, policy is published anew (`keeper.refresh`), without reading
   the sources.
4. Each second the run directory is looked after (`keeper.heal`), and identities are
   (`keeper.keep_identities`), or sooner where one is due.
5. SIGTERM or SIGINT: the loop ends, and the files stay as they are. Workers do not notice.

Failures on the way (a full disk, a lost mount) are told, and tried again; only what no retry can
mend ends the daemon: another one that took its place.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from meshware.clock import Clock
from meshware.dashboard.access import Access, is_loopback
from meshware.errors import MeshError, SyncError
from meshware.runtime.dns_lookup import Server, lookup_for
from meshware.runtime.lookups import Lookups
from meshware.syncd.announce import Announcer
from meshware.syncd.console import DaemonConsole
from meshware.syncd.directory import DirectorySource
from meshware.syncd.keeper import Keeper, Outcome
from meshware.syncd.listen import Address, Answers, Listener
from meshware.syncd.lock import TakenError
from meshware.syncd.places import Places
from meshware.syncd.serve import DashboardServer, read_token
from meshware.syncd.settle import Settle
from meshware.syncd.wake import Wake, stopped_by_signals
from meshware.syncd.watch import Watcher
from meshware.syncd.why import Why

__all__ = ["run_daemon", "run_once"]

POLL_S = 0.5
"""Between looks at the sources: an edit that nobody tells of is published within a second."""

_PATIENT_WARM_S = 12.0  # for who reads once: a look-up, and a fetch within Istio's time-out
_MOST_SHARE = 0.05  # of a core, for looking; ten thousand files are looked at less often
_CARE_S = 1.0  # between looks at the run directory
_PAUSE_S = 0.05  # between two goes at many identities
_SURE_S = 2.1  # after which a second write within one tick of a file's clock would show


def run_once(
    places: Places, announce: Announcer, clock: Clock, servers: Sequence[Server] = ()
) -> Outcome:
    """Read the sources, publish or refuse them, and end.

    Args:
        places: where everything lies.
        announce: told of what happens.
        clock: the machine's.
        servers: DNS servers to ask in place of the system's.

    Raises:
        SyncError: it cannot start; the message says what to mend.
        OSError: a file cannot be written.
    """
    source = DirectorySource(places.sources)
    source.check()
    lookups = Lookups(lambda: lookup_for(servers), announce.note)
    keeper = Keeper(places, source, announce, clock, lookups)
    try:
        outcome = keeper.read(_PATIENT_WARM_S, is_only=True)
        unanswered = lookups.jwks_figures().unanswered
        if unanswered:
            announce.note(
                f"{unanswered} address(es) of keys did not answer within {_PATIENT_WARM_S:.0f} s; "
                "policy was published with the keys that were known: run again, or run the daemon"
            )
        while keeper.keep_identities() <= 0:
            pass
        keeper.write_status(is_end=True)
        return outcome
    finally:
        lookups.stop()
        keeper.close()


def run_daemon(
    places: Places,
    announce: Announcer,
    clock: Clock,
    listen: Address | None = None,
    servers: Sequence[Server] = (),
    *,
    workload_api: Path | None = None,
    token_file: Path | None = None,
    prometheus: str | None = None,
) -> None:
    """Publish, watch and publish again, until SIGTERM or SIGINT. Main thread only.

    Args:
        places: where everything lies.
        announce: told of what happens.
        clock: the machine's.
        listen: where to serve metrics and the dashboard; None: nowhere.
        servers: DNS servers to ask in place of the system's.
        workload_api: the socket on which to serve the SPIFFE Workload API; None: nowhere.
        token_file: with the token that the dashboard asks for; None: it is for the loopback alone.
        prometheus: address of a server that has what is older than an hour; None: there is none.

    Raises:
        SyncError: it cannot start, or another daemon took its place.
        OSError: at the start, a file cannot be written.
    """
    import watchfiles  # noqa: F401  # where it is missing, that is said before anything is done

    source = DirectorySource(places.sources)
    try:
        source.check()
    except SyncError as error:
        # A mount that comes late, after a reboot, is no reason to serve nothing.
        if not (places.policy_file.exists() or places.last_file.exists()):
            raise
        announce.note(str(error))
    with contextlib.ExitStack() as stack:
        wake = stack.enter_context(Wake())
        stack.enter_context(stopped_by_signals(wake))
        lookups = Lookups(lambda: lookup_for(servers), announce.note, wake.wake)
        stack.callback(lookups.stop)
        keeper = Keeper(places, source, announce, clock, lookups)
        stack.callback(keeper.close)
        if listen is not None:
            why = Why(places.policy_file, lambda: keeper.written, clock.now)
            listener = _listen(
                listen, keeper, announce, clock, token_file, why=why, prometheus=prometheus
            )
            stack.callback(listener.stop)
            keeper.listening = str(listener.address)
            keeper.has_dashboard = isinstance(listener, DashboardServer)
        if workload_api is not None:
            from meshware.ca.handouts import Handouts
            from meshware.ca.workload_api import WorkloadAPI

            handouts = Handouts(places.run_dir, places.plan_file, clock)
            stack.callback(WorkloadAPI(workload_api, handouts).stop)
        watcher = Watcher(places.sources, wake, announce.note)
        stack.callback(watcher.stop)
        watcher.refresh()  # before reading: what changes meanwhile is heard
        if not keeper.read().ok:
            keeper.restore()
        keeper.write_status()
        _Loop(keeper, source, watcher, announce, clock).run(wake)
        with contextlib.suppress(OSError):  # told already, if it is of the directory
            keeper.write_status(is_end=True)


def _listen(
    address: Address,
    keeper: Keeper,
    announce: Announcer,
    clock: Clock,
    token_file: Path | None,
    *,
    why: Why,
    prometheus: str | None = None,
) -> Listener | DashboardServer:
    """Serve /healthz and /metrics, and the dashboard to those who may see it."""
    token = None if token_file is None else read_token(token_file)
    if token is None and not is_loopback(address.host):
        listener = Listener(address, keeper.current_figures, keeper.counts.merged)
        announce.note(
            f"the dashboard is not served on {address}, which others may reach: name "
            "--dashboard-token-file; /healthz and /metrics are"
        )
        return listener
    answers = Answers(keeper.current_figures, keeper.counts.merged)
    console = DaemonConsole(keeper, why, clock)
    return DashboardServer(address, answers, console, Access(token), clock, prometheus=prometheus)


class _Loop:
    """Does what is due, again and again."""

    def __init__(
        self,
        keeper: Keeper,
        source: DirectorySource,
        watcher: Watcher,
        announce: Announcer,
        clock: Clock,
    ) -> None:
        self._keeper = keeper
        self._source = source
        self._watcher = watcher
        self._announce = announce
        self._monotonic = clock.monotonic
        self._settle = Settle()
        self._news = Settle()  # of look-ups: they change without the sources
        self._swept = keeper.swept  # what is known of the sources
        self._sure_at: float | None = None
        self._identities_at = float("-inf")
        self._troubles: set[str] = set()
        self._troubles_of_identities: set[str] = set()  # told again only after they were over

    def run(self, wake: Wake) -> None:
        look_at = self._monotonic() + POLL_S
        care_at = self._monotonic() + _CARE_S
        self._settle.published(self._monotonic())
        self._want_to_be_sure()
        self._keep_identities()
        while not wake.is_stopped():
            times = (
                look_at,
                care_at,
                self._identities_at,
                self._sure_at,
                self._settle.due_at(),
                self._news.due_at(),
            )
            is_woken = wake.wait(min(at for at in times if at is not None) - self._monotonic())
            now = self._monotonic()
            if wake.is_stopped():
                return
            if wake.take_touch():
                self._settle.changed(now)
            elif is_woken or now >= look_at:
                self._look(now)
                look_at = now + max(POLL_S, (self._monotonic() - now) / _MOST_SHARE)
            if now >= care_at:
                self._care()
                care_at = now + _CARE_S
            elif now >= self._identities_at:
                self._keep_identities()
            if self._keeper.has_news:
                self._news.changed(now)
            due_at = self._news.due_at()
            if due_at is not None and now >= due_at:
                self._refresh()
            due_at = self._settle.due_at()
            if due_at is not None and now >= due_at:
                self._read()
                self._want_to_be_sure()
            elif self._sure_at is not None and now >= self._sure_at:
                # Once and no oftener: a file may bear a time in the future.
                self._sure_at = None
                self._read()

    def _look(self, now: float) -> None:
        """See whether the sources have changed."""
        found = self._source.sweep()
        if found != self._swept:
            self._swept = found
            self._settle.changed(now)

    def _read(self) -> None:
        self._settle.take()
        before = self._keeper.publishes
        if self._tried(self._keeper.read):
            self._troubles.clear()
            self._identities_at = float("-inf")  # new accounts have their identities at once
        elif self._settle.due_at() is None:
            self._settle.changed(self._monotonic() + _CARE_S)  # tried again after a while
        self._swept = self._keeper.swept
        self._note_publish(before)
        self._tried(self._keeper.write_status)

    def _refresh(self) -> None:
        """Publish what look-ups have found anew."""
        self._news.take()
        before = self._keeper.publishes
        if not self._tried(self._keeper.refresh):
            self._news.changed(self._monotonic() + _CARE_S)  # tried again after a while
        self._note_publish(before)
        self._tried(self._keeper.write_status)

    def _note_publish(self, before: int) -> None:
        """Keep the next publish at its distance, if there was one since there were `before`."""
        if self._keeper.publishes != before:
            self._settle.published(self._monotonic())
            self._news.published(self._monotonic())

    def _care(self) -> None:
        """Look after the run directory."""
        self._tried(self._watcher.refresh)
        self._tried(self._keeper.read_reports)
        self._tried(self._keeper.heal)
        self._keep_identities()
        self._tried(self._keeper.write_status)

    def _keep_identities(self) -> None:
        """Issue and renew, and remember when the next is due."""
        due_s = _CARE_S

        def keep() -> None:
            nonlocal due_s
            due_s = self._keeper.keep_identities()

        if self._tried(keep, self._troubles_of_identities):
            self._troubles_of_identities.clear()
        # Never at once, so that policy need not wait; each second they are looked at anyway.
        self._identities_at = self._monotonic() + min(max(due_s, _PAUSE_S), _CARE_S)

    def _want_to_be_sure(self) -> None:
        """Have files that are very new read once more: a further write may not show."""
        swept = self._swept
        is_new = swept is not None and swept.may_miss_a_change(time.time_ns())
        self._sure_at = self._monotonic() + _SURE_S if is_new else None

    def _tried(self, action: Callable[[], object], told: set[str] | None = None) -> bool:
        """Do something that may fail for a while, and tell once of each way in which it does.

        Args:
            action: what to do.
            told: what was told already; None: what is forgotten when the sources are read well.

        Returns whether it was done.
        """
        told = self._troubles if told is None else told
        try:
            action()
        except TakenError:
            raise
        except (OSError, MeshError) as error:
            reason = str(error)
            if isinstance(error, OSError) and error.filename:
                reason = f"{error.filename}: {(error.strerror or reason).lower()}"
            if reason not in told:
                told.add(reason)
                self._announce.note(f"{reason}; trying again")
            return False
        return True
