"""What a worker tells of its own health: versions, certificate, memory, lag, calls under way.

Gathered by the thread that writes the report, each second, in some ten microseconds. All of it is a
claim to whoever reads it, so each value has its bounds in its type: a report with others is none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any

import msgspec

from meshware.runtime.lag import Lag, LagOf

__all__ = ["Certificate", "Process", "Signs", "Vitals"]

_MOST_WORD = 100
_MOST_S = 253_402_300_799.0  # the last second of the year 9999, after which no date can be written

Word = Annotated[str, msgspec.Meta(max_length=_MOST_WORD)]
Unix = Annotated[float, msgspec.Meta(ge=0, le=_MOST_S)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # whole in JavaScript, too


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker shows about itself."""

    id: Annotated[str, msgspec.Meta(max_length=2048)]  # SPIFFE ID
    from_s: Unix
    until_s: Unix  # when the first of its chain ends
    source: Word  # `identity.provider` of the policy


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """What only the policy in force tells of a process."""

    applied_s: Unix | None = None  # since when; unix time
    certificate: Certificate | None = None
    in_flight: Count | None = None  # calls that were let in and are not over


class Vitals(Process, frozen=True, kw_only=True):
    """What a worker claims of its health. None: not known there."""

    version: Word | None = None  # of meshware
    python: Word | None = None
    server: Word | None = None  # as it names itself: "gunicorn/23.0.0"; an ASGI one by its package
    memory_bytes: Count | None = None  # resident, in steps of 64 KiB
    lag_s: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None  # worst of ten seconds
    lag_of: LagOf | None = None


class Signs:
    """Gathers the vitals of this process. Drivers introduce their server; any thread may.

    Args:
        monotonic: seconds.
        process: returns what the policy in force tells.

    Attributes:
        is_met: whether server and loop are known, so that a call need not introduce them.
    """

    def __init__(self, monotonic: Callable[[], float], process: Callable[[], Process]) -> None:
        self._process = process
        self._lag = Lag(monotonic)
        self._has_loop = False
        self._server: str | None = None
        self.is_met = False

    def renew(self) -> None:
        """Forget, in a child process, server and loop of the parent."""
        self._lag.renew()
        self._has_loop = False
        self._server = None
        self.is_met = False

    # --- what drivers call --------------------------------------------------------------------

    def meet_asgi(self, receive: Any) -> None:
        """Note the server that made a `receive`, and the loop that runs."""
        self._server = self._server or _asgi_server(receive)
        self._lag.meet_loop()
        self._has_loop = self._lag.has_loop
        self.is_met = True

    def meet_wsgi(self, environ: Mapping[str, Any]) -> None:
        """Note the server of a call."""
        name = environ.get("SERVER_SOFTWARE")
        if isinstance(name, str) and name:
            self._server = name[:_MOST_WORD]
        self.is_met = True

    # --- what the reporter calls --------------------------------------------------------------

    def woke(self, late_s: float) -> None:
        """Note how late the reporter's thread woke."""
        self._lag.woke(late_s)

    def __call__(self) -> Vitals:
        """Return what holds now."""
        if self._has_loop and not self._lag.has_loop:
            self._has_loop = self.is_met = False  # the next call may bring another
        process, lateness = self._process(), self._lag.look()
        return Vitals(
            version=_version(),
            python=".".join(map(str, sys.version_info[:3])),
            server=self._server,
            memory_bytes=_resident_bytes(),
            lag_s=None if lateness is None else lateness.lag_s,
            lag_of=None if lateness is None else lateness.of,
            applied_s=process.applied_s,
            certificate=process.certificate,
            in_flight=process.in_flight,
        )


_ASGI_SERVERS = frozenset({"uvicorn", "hypercorn", "gunicorn", "granian", "daphne"})


def _asgi_server(receive: Any) -> str | None:
    """Return the package of the server whose `receive` this is; None: somebody wrapped it."""
    owner = getattr(receive, "__self__", None)
    makers = [receive] if owner is None else type(owner).__mro__  # it may be a class of ours
    for maker in makers:
        package = str(getattr(maker, "__module__", "")).partition(".")[0]
        if package in _ASGI_SERVERS:
            return package
    return None


@cache
def _version() -> str | None:
    """Return the version that is installed, by the name of its metadata's directory.

    `importlib.metadata` would tell, and bring two megabytes of parsers for mail into each worker.
    """
    start, end = "meshware-", ".dist-info"
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith(start) and name.endswith(end):
                return name[len(start) : -len(end)][:_MOST_WORD]
    return None


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STEP_BYTES = 64 * 1024  # what a quiet process gains and loses must not have it write


def _resident_bytes() -> int | None:
    """Return the resident memory. None: only its peak can be had here, which is something else."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        pages = int(os.read(descriptor, 200).split()[1])  # Source: proc_pid_statm(5)
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(descriptor)
    return pages * _PAGE_BYTES // _STEP_BYTES * _STEP_BYTES
