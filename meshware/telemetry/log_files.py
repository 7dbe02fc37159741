"""Write lines to files, standard output and pipes, on threads of their own.

Theory of operation
-------------------
`LogFile.put` appends to a bounded queue, on the thread of a call, and takes no lock of ours: a call
may end in garbage collection. A thread for each file, started when the first line comes, takes
whatever waits and writes it. It may block for as long as it likes: a disk, a pipe that nobody
reads and a FIFO that nobody opens are its own affair, and not another file's either. Lines that
find the queue full are lost and counted.

1. Lines are written whole. A file is opened for appending, so that one `write` is one piece among
   those of other workers. A pipe takes no more than PIPE_BUF bytes so: there, workers take turns
   by a lock on it.
2. Where only a part of some lines went out before a failure, a line end goes before the next one.
3. Before each writing the path is looked at: has it been rotated away, another file is opened.
   One that is truncated goes on at its new end by itself. A file that nothing is written to is let
   go of after a while, with its thread: it may have been rotated away, or policy names it no more.
   What was inherited is kept, and so is a pipe, whose reader would take that for its end.
4. What fails is told once for each kind of failure, by a thread that may block in turn; the lines
   are lost and counted, and the next ones try again.
5. A child process begins with an empty queue and opens files of its own: lines that wait in the
   parent are the parent's.
6. At exit what waits is written, for two seconds at most.

Under gevent, threads are greenlets, and one that blocks in `write` would stop the worker: there the
threads are the system's own.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import logging
import os
import re
import select
import stat
import sys
import threading
import time
from _queue import SimpleQueue
from collections.abc import Callable
from contextvars import Context
from queue import Empty

__all__ = ["LogFile", "flush_all", "log_file", "start_thread"]

MOST_WAITING = 8192
"""Lines that wait for a file."""

_MOST_BYTES = 8 * 1024 * 1024  # of those
_BATCH_BYTES = 512 * 1024  # written at once: each writing costs a turn of the interpreter's lock
_LONGEST_AT_EXIT_S = 2.0
_MODE = 0o640  # lines tell who asked for what
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_CLOEXEC
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,4})")
_PIPE_WAIT_MS = 1000
_IDLE_S = 10.0  # then a file and its thread are let go of

_log = logging.getLogger("meshware")


def start_thread(function: Callable[..., object], *args: object) -> None:
    """Run a function on a thread of the system's, which ends with the process, in no call."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        monkey.get_original("_thread", "start_new_thread")(function, args)
        return
    thread = threading.Thread(target=function, args=args, name="meshware-log", daemon=True)
    Context().run(thread.start)  # with `meshware.install()` a thread carries who has started it


class LogFile:
    """A file that lines are appended to. Safe from any thread, and across `fork`.

    Args:
        path: of a file; or of a FIFO or a device. `/dev/stdout` is whatever standard output is.

    Attributes:
        lost: how many lines this process has lost.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        numbered = _DESCRIPTOR.fullmatch(path)
        self._inherited = _STANDARD.get(path) if numbered is None else int(numbered[1])
        self._descriptor = -1
        self._is_kept = self._inherited is not None  # however long nothing is written to it
        self._begin()

    def _begin(self) -> None:
        # Of another process, a lock may be held for ever; the queue has one too.
        self._starting = threading.Lock()
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._put_lines = self._put_bytes = self._done_lines = self._done_bytes = 0
        self._told: set[object] = set()
        self._is_running = self._is_torn = self._is_stale = False
        self.lost = 0

    def renew(self) -> None:
        """Shed what a fork copied, in the child."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._begin()

    def put(self, line: bytes) -> None:
        """Have a line written soon; its end is in it."""
        size = len(line)
        if (
            self._put_lines - self._done_lines >= MOST_WAITING
            or self._put_bytes - self._done_bytes + size > _MOST_BYTES
        ):
            self._lose(1)
            return
        self._put_lines += 1
        self._put_bytes += size
        self._queue.put(line)
        self.start()  # afterwards: a thread that ends looks once more whether something waits

    def start(self) -> None:
        """Start the thread that writes, unless there is one."""
        # Taken without waiting: whoever has it starts the thread, and the line waits for that.
        if self._is_running or not self._starting.acquire(blocking=False):
            return
        try:
            if not self._is_running:
                start_thread(self._run, self._queue)
                self._is_running = True
        finally:
            self._starting.release()

    def flush(self, timeout_s: float = _LONGEST_AT_EXIT_S) -> bool:
        """Wait until nothing waits any more, or for the time at most. Returns which."""
        until = time.monotonic() + timeout_s
        while self._is_running and self._done_lines < self._put_lines:
            if time.monotonic() >= until:
                return False
            time.sleep(0.002)
        return True

    # --- on the thread of its own -------------------------------------------------------------

    def _run(self, queue: SimpleQueue[bytes]) -> None:
        while True:
            try:
                lines = [queue.get(True, None if self._is_kept else _IDLE_S)]
            except Empty:
                if self._rests(queue):
                    return
                continue
            size = len(lines[0])
            while size < _BATCH_BYTES:
                try:
                    lines.append(queue.get_nowait())
                except Empty:
                    break
                size += len(lines[-1])
            try:
                self._write(lines)
            except Exception as error:
                # Whatever it is, the next lines deserve a thread that lives.
                self.lost += len(lines)
                self._tell(type(error), f"{error}")
            self._done_lines += len(lines)
            self._done_bytes += size

    def _rests(self, queue: SimpleQueue[bytes]) -> bool:
        """Let go of the file and of this thread, unless a line has come by now. Returns which."""
        with self._starting:
            self._is_running = False
            if not queue.empty():
                self._is_running = True
                return False
            if self._descriptor >= 0:
                self._close()
        if not queue.empty():
            self.start()  # a call that ended here, in garbage collection, could not
        return True

    def _write(self, lines: list[bytes]) -> None:
        try:
            descriptor, is_plain = self._opened()
        except OSError as error:
            self._failed(error, len(lines))
            return
        if is_plain:
            self._write_piece(descriptor, lines)
            return
        most = select.PIPE_BUF
        begin = 0
        while begin < len(lines):
            end, size = begin + 1, len(lines[begin])
            while end < len(lines) and size + len(lines[end]) <= most:
                size += len(lines[end])
                end += 1
            with _Turn(descriptor):
                is_written = self._write_piece(descriptor, lines[begin:end])
            if not is_written:
                self.lost += len(lines) - end
                return
            begin = end

    def _write_piece(self, descriptor: int, lines: list[bytes]) -> bool:
        """Write some lines at once. Returns whether they went out."""
        data = b"".join(lines)
        if self._is_torn:
            data = b"\n" + data
        left = memoryview(data)
        try:
            while left:
                try:
                    left = left[os.write(descriptor, left) :]
                except BlockingIOError:
                    _wait_for_room(descriptor)
            self._is_torn = False
        except OSError as error:
            gone = data[: len(data) - len(left)]
            if gone:
                self._is_torn = not gone.endswith(b"\n")
            whole = gone.count(b"\n") - data.startswith(b"\n")
            self._failed(error, len(lines) - max(0, min(whole, len(lines))))
            return False
        return True

    def _opened(self) -> tuple[int, bool]:
        """Return a descriptor to write to, and whether it takes any number of bytes at once.

        Raises:
            OSError: there is none.
        """
        if self._is_stale:
            # Not before: in the middle of a turn the number might be another file's at its end.
            self._is_stale = False
            self._close()
        if self._inherited is not None:
            if self._descriptor < 0:
                # A copy: should the app close its own, the number may be another file's.
                self._descriptor = os.dup(self._inherited)
            return self._descriptor, not _takes_pieces(self._descriptor)
        if self._descriptor >= 0:
            held = os.fstat(self._descriptor)
            try:
                found = os.stat(self.path)
            except FileNotFoundError:
                found = None
            if found is None or (held.st_dev, held.st_ino) != (found.st_dev, found.st_ino):
                self._close()
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, _FLAGS, _MODE)
            self._is_kept = not stat.S_ISREG(os.fstat(self._descriptor).st_mode)
            self._is_torn = False
        return self._descriptor, not _takes_pieces(self._descriptor)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.close(descriptor)
        except OSError:
            pass  # it is gone either way

    def _failed(self, error: OSError, lines: int) -> None:
        self.lost += lines
        if self._descriptor >= 0 and error.errno in (errno.EPIPE, errno.EBADF, errno.EIO):
            self._is_stale = True  # whatever is there by now may be opened anew, by and by
        self._tell(error.errno, f"{error.strerror or error}{_remedy(error)}")

    # --- told ---------------------------------------------------------------------------------

    def _lose(self, lines: int) -> None:
        self.lost += lines
        self._tell(
            "full",
            f"{MOST_WAITING} lines wait, and whoever reads or stores it does not take them; see to "
            "it, or log less by a filter",
        )

    def _tell(self, kind: object, text: str) -> None:
        if kind in self._told:
            return
        self._told.add(kind)
        try:
            start_thread(_tell, self.path, text)
        except RuntimeError:
            pass  # the process is ending


def _takes_pieces(descriptor: int) -> bool:
    """Say whether others' bytes may come in between those of a long write."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _tell(path: str, text: str) -> None:
    try:
        _log.error(
            "the access log %s loses lines, and requests go on (told once; counted in "
            "meshware_telemetry_failures_total): %s",
            path,
            text,
        )
    except Exception as error:
        # A handler of the app's own fails; that is told where Python tells of such.
        sys.stderr.write(f"meshware: a log handler failed: {error!r}\n")


def _remedy(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "; make its directory"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "; let this process's user write there, or name another path"
        case errno.ENOSPC | errno.EDQUOT:
            return "; make room"
        case errno.EPIPE:
            return "; whoever read it has gone"
    return ""


class _Turn:
    """Keeps other workers from writing to the same pipe meanwhile, where it can be locked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_held = False

    def __enter__(self) -> None:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            self._is_held = True
        except OSError:
            pass  # a terminal or socket of a kind without locks

    def __exit__(self, *_: object) -> None:
        if self._is_held:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
            except OSError:
                pass  # closed meanwhile, and so let go


def _wait_for_room(descriptor: int) -> None:
    """Wait until a descriptor that does not block takes more."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll(_PIPE_WAIT_MS)


# --- of this process ----------------------------------------------------------------------------

_files: dict[str, LogFile] = {}
_is_registered = False


def log_file(path: str) -> LogFile:
    """Return the file of a path: one for all who log to it."""
    global _is_registered  # noqa: PLW0603 - there is one process
    if not _is_registered:
        _is_registered = True
        atexit.register(flush_all)
    return _files.setdefault(path, LogFile(path))


def flush_all(timeout_s: float = _LONGEST_AT_EXIT_S) -> None:
    """Write what waits, for so long at most."""
    until = time.monotonic() + timeout_s
    for each in list(_files.values()):
        each.flush(max(0.0, until - time.monotonic()))


def _renew_all() -> None:
    for each in list(_files.values()):
        each.renew()


os.register_at_fork(after_in_child=_renew_all)
