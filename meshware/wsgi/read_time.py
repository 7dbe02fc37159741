"""A limit to how long a caller may take to send what is read of its body before it is let in.

A thread that reads a body waits for its caller, and a few callers that send nothing more could hold
all threads of a server. Time-outs of sockets are for one receive each, which a byte now and then
keeps from ending; so whoever takes too long has its connection shut for reading by another thread.
The reader then finds the end of the body, as if the caller had hung up, and can still answer;
not in TLS, which cannot go on behind a cut.

Servers that hand their socket out are gunicorn and Werkzeug's. Others have read the body before
they call the app (waitress), or keep it to themselves.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from contextvars import Context
from typing import Any

__all__ = ["Reading", "begin", "socket_of"]


def socket_of(environ: dict[str, Any]) -> Any:
    """Return the connection to the caller; None: the server keeps it to itself."""
    for key in ("gunicorn.socket", "werkzeug.socket"):
        if key in environ:
            return environ[key]
    return None


class Reading:
    """A body that is being read.

    Attributes:
        until: `time.monotonic()` seconds.
        is_over: nobody waits for it any more.
        was_cut: it took too long.
    """

    __slots__ = ("_sock", "_watch", "is_over", "until", "was_cut")

    def __init__(self, sock: Any, until: float, watch: _Watch) -> None:
        self._sock = sock
        self._watch = watch
        self.until = until
        self.is_over = False
        self.was_cut = False

    def end(self) -> bool:
        """Leave the connection alone from now on; True: it was cut."""
        with self._watch.changed:
            self.is_over, self._sock = True, None
            self._watch.forget()
        return self.was_cut

    def cut(self) -> None:
        """Shut the connection for reading. The lock is held, so its reader is still there."""
        self.was_cut = True
        try:
            # By another descriptor: sockets of TLS would forget that they speak it.
            with socket.socket(fileno=os.dup(self._sock.fileno())) as same:
                same.shutdown(socket.SHUT_RD)
        except (OSError, ValueError, AttributeError):
            return  # it has ended by itself


class _Watch:
    """Those that are being read in one process, by their ends, and the thread that waits."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._readings: deque[Reading] = deque()
        self._thread: threading.Thread | None = None

    def begin(self, sock: Any, seconds: float) -> Reading:
        """Give a reader so much time."""
        with self.changed:
            reading = Reading(sock, time.monotonic() + seconds, self)
            self._readings.append(reading)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="meshware-read-time", daemon=True)
                # In no call: with `meshware.install()` it would carry the one that starts it.
                Context().run(thread.start)
                self._thread = thread
            elif len(self._readings) == 1:
                self.changed.notify()
        return reading

    def forget(self) -> None:
        """Let go of those that are over. The lock is held."""
        while self._readings and self._readings[0].is_over:
            self._readings.popleft()

    def _run(self) -> None:
        while True:
            with self.changed:
                while not self._readings:
                    self.changed.wait()
                first = self._readings[0]
                left_s = first.until - time.monotonic()
                if left_s <= 0:
                    self._readings.popleft()
                    if not first.is_over:
                        first.cut()
                    continue
            time.sleep(left_s)  # all have the same time, so that none ends before


_watch = _Watch()


def _forget() -> None:
    """Start anew in a forked child: the thread stayed behind."""
    global _watch  # noqa: PLW0603 - the thread of this process
    _watch = _Watch()


os.register_at_fork(after_in_child=_forget)


def begin(sock: Any, seconds: float) -> Reading:
    """Begin to read from a caller, who has so many seconds, always as many; `end` it."""
    return _watch.begin(sock, seconds)
