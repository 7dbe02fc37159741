"""Do in threads what falls due, so that no call ever waits for a network that is slow to answer.

The threads take jobs from a schedule, which decides what is due and what an outcome is worth, and
has no clock of its own. Several, since a job whose servers do not answer holds its thread for
seconds, and must not keep the others from being done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["MOST_THREADS", "Schedule", "Work", "do_nothing", "say_nothing"]

MOST_THREADS = 8

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Answer_contra = TypeVar("Answer_contra", contravariant=True)


def do_nothing() -> None:
    """Tell nobody of news."""


def say_nothing(_sentence: str) -> None:
    """Tell nobody what went wrong."""


class Schedule(Protocol[Job, Answer_contra]):
    """What is to be done when. Not thread-safe: whoever has it locks."""

    version: int  # grows with every change of what is known

    def count(self) -> int:
        """Return how many things are kept fresh; safe without the lock."""
        ...

    def take(self, now: float) -> Job | None:
        """Return what has been due the longest, now to be done; None: nothing is."""
        ...

    def due_at(self) -> float | None:
        """Return when the next thing is due; None: nothing will be by itself."""
        ...

    def answered(self, job: Job, outcome: Answer_contra, now: float) -> str | None:
        """Take up an outcome. Returns a sentence for people, if there is news."""
        ...

    def give_back(self) -> None:
        """Make what is being done due again: whoever did it is gone."""
        ...


class Work(Generic[Job, Outcome]):
    """What the threads share: they hold this and not its owner, so that it can be let go.

    Args:
        schedule: what is due.
        do: does one job, from any thread.
        failed: returns what an exception of `do` comes to: it is a mistake of ours.
        tell: told in a sentence, from a thread of ours, when something fails or is mended.
        on_change: told, from a thread of ours, that what is known has changed. It must not hold
            the owner, or nobody would ever let go of it.
        monotonic: seconds.
        name: of the threads.

    Attributes:
        condition: locks the schedule; notified with each outcome, and to be notified by whoever
            changes what is due.
    """

    def __init__(
        self,
        schedule: Schedule[Job, Outcome],
        do: Callable[[Job], Outcome],
        failed: Callable[[Exception], Outcome],
        *,
        tell: Callable[[str], None],
        on_change: Callable[[], None],
        monotonic: Callable[[], float],
        name: str,
    ) -> None:
        self._schedule = schedule
        self._do = do
        self._failed = failed
        self._tell = tell
        self._on_change = on_change
        self._monotonic = monotonic
        self._name = name
        self.renew()

    def renew(self) -> None:
        """Forget threads and locks, in a child process: they are the parent's."""
        self.condition = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._is_stopped = False
        self._schedule.give_back()

    def start(self) -> None:
        """Start as many threads as there are things to do, up to a limit. Cheap when they run."""
        wanted = min(MOST_THREADS, self._schedule.count())
        if len(self._threads) >= wanted and not self._is_stopped:
            return
        with self.condition:
            self._is_stopped = False
            while len(self._threads) < wanted:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def stop(self) -> None:
        """Do nothing any more; what is known stays known."""
        with self.condition:
            self._is_stopped = True
            self._threads = []
            self._schedule.give_back()
            self.condition.notify_all()

    def _run(self) -> None:
        condition, me = self.condition, threading.current_thread()
        schedule = self._schedule
        while True:
            with condition:
                job = self._next(me)
            if job is None:
                return
            outcome = self._done(job)
            with condition:
                if me not in self._threads:
                    return
                before = schedule.version
                news = schedule.answered(job, outcome, self._monotonic())
                is_changed = schedule.version != before
                condition.notify_all()
            if news is not None:
                self._tell(news)
            if is_changed:
                self._on_change()

    def _next(self, me: threading.Thread) -> Job | None:
        """Wait for what is due; None: there is to be no more. The lock is held."""
        while me in self._threads:
            job = self._schedule.take(self._monotonic())
            if job is not None:
                return job
            due_at = self._schedule.due_at()
            self.condition.wait(None if due_at is None else max(0.0, due_at - self._monotonic()))
        return None

    def _done(self, job: Job) -> Outcome:
        try:
            return self._do(job)
        except Exception as error:
            # Else the thread would end, and with it all jobs: whatever it was, it is told.
            return self._failed(error)
