"""Lines go to files whole; whatever a file does, nobody waits for it; what is lost is counted."""

from __future__ import annotations

import contextlib
import logging
import os
import pty
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lesser_user import lesser_user

from meshware.telemetry import log_files
from meshware.telemetry.log_files import MOST_WAITING, LogFile, flush_all, log_file

ROOT = Path(__file__).resolve().parents[2]


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, f"not {what} in time"
        time.sleep(0.005)


def write(file: LogFile, *lines: str) -> None:
    """Put lines, and wait until they are written or lost."""
    for line in lines:
        file.put(line.encode() + b"\n")
    assert file.flush(20)


@pytest.fixture
def told(caplog):
    """What was told of access logs."""
    caplog.set_level(logging.ERROR, "meshware")
    return lambda: [r.getMessage() for r in caplog.records if "access log" in r.getMessage()]


def test_lines_are_appended_to_a_file_that_only_its_own_group_reads(tmp_path):
    """What is there stays."""
    path = tmp_path / "a.log"
    write(LogFile(str(path)), "one", "two")
    write(LogFile(str(path)), "three")
    assert path.read_text() == "one\ntwo\nthree\n"
    assert path.stat().st_mode & 0o137 == 0


def test_a_file_that_was_rotated_away_is_left(tmp_path):
    """By rename, as logrotate does, or removed; by truncation it goes on at the new end."""
    path = tmp_path / "a.log"
    file = LogFile(str(path))
    write(file, "one")
    path.rename(tmp_path / "a.log.1")
    write(file, "two")
    assert (tmp_path / "a.log.1").read_text() == "one\n"
    assert path.read_text() == "two\n"
    path.unlink()
    write(file, "three")
    assert path.read_text() == "three\n"
    os.truncate(path, 0)
    write(file, "four")
    assert path.read_text() == "four\n"
    assert file.lost == 0


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nowhere-at-all/a.log", "make its directory"),
        ("/dev/full", "make room"),
        ("/", "Is a directory"),
    ],
    ids=["no directory", "full disk", "directory"],
)
def test_what_cannot_be_written_is_lost_told_once_and_counted(path, words, told):
    """Each line counts."""
    file = LogFile(path)
    write(file, "one")
    write(file, "two", "three")
    assert file.lost == 3
    eventually(told, "told")
    write(file, "four")
    [text] = told()
    assert f"the access log {path} loses lines" in text
    assert words in text
    assert file.lost == 4


def test_a_file_of_somebody_elses_is_told_with_a_remedy(told):
    """Policy may name a place that this process cannot write to."""
    with lesser_user() as place:
        path = place / "a.log"
        path.touch(0o400)
        file = LogFile(str(path))
        write(file, "one")
        eventually(told, "told")
    assert file.lost == 1
    assert "let this process's user write there" in told()[0]


def test_it_goes_on_when_there_is_room_again(tmp_path, told):
    """A limit of a file's size stands for a full disk: part of a line goes out, then nothing."""
    path = tmp_path / "a.log"
    program = f"""
import resource, signal
from meshware.telemetry.log_files import LogFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = LogFile({str(path)!r})
def write(*lines):
    for line in lines:
        file.put(line.encode() + b"\\n")
    assert file.flush(20)
write("a" * 9)
resource.setrlimit(resource.RLIMIT_FSIZE, (15, resource.RLIM_INFINITY))
write("b" * 9)
assert file.lost == 1, file.lost
write("c" * 9)
assert file.lost == 2, file.lost
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
write("d" * 9)
assert file.lost == 2, file.lost
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)
    # What was torn is a line of its own: none that is whole is joined to it.
    assert path.read_text() == "a" * 9 + "\n" + "b" * 5 + "\n" + "d" * 9 + "\n"


def test_nobody_waits_for_a_pipe_that_nobody_reads(tmp_path, told):
    """Lines wait up to a number, the others are counted; what waited comes when it is read."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    file = LogFile(str(fifo))
    for number in range(MOST_WAITING + 100):
        file.put(b"%d\n" % number)
    assert file.lost == 100
    eventually(told, "told")
    assert "does not take them" in told()[0]
    other = LogFile(str(tmp_path / "other.log"))
    write(other, "goes on")  # one that is stuck holds up no other
    descriptor = os.open(fifo, os.O_RDONLY)
    try:
        received = b""
        while received.count(b"\n") < MOST_WAITING:
            received += os.read(descriptor, 65536)
    finally:
        os.close(descriptor)
    assert received.split() == [b"%d" % number for number in range(MOST_WAITING)]


def test_large_lines_that_wait_are_bounded_too(tmp_path):
    """By their bytes."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    file = LogFile(str(fifo))
    for _ in range(100):
        file.put(b"x" * 200_000 + b"\n")
    assert 50 <= file.lost < 100
    os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))  # let its thread go


@contextlib.contextmanager
def in_place_of_standard_output(descriptor: int):
    """Have something else be standard output."""
    kept = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def test_standard_output_may_be_a_pipe_a_socket_or_a_terminal():
    """As containers, journald and shells have it; a socket cannot be opened by `/dev/stdout`."""
    read, written = os.pipe()
    one, other = socket.socketpair()
    for end, descriptor in ((read, written), (one.fileno(), other.fileno())):
        file = LogFile("/dev/stdout")
        wanted = b"hello\n" + b"x" * 9000 + b"\n"
        with in_place_of_standard_output(descriptor):
            file.put(wanted[:6])
            file.put(wanted[6:])
            received = b""
            while len(received) < len(wanted):  # a pipe may be shorter than the lines
                received += os.read(end, 65536)
            assert file.flush(20)
        assert received == wanted
        file.renew()
    os.close(read)
    os.close(written)
    one.close()
    other.close()
    leader, follower = pty.openpty()
    file = LogFile("/dev/stdout")
    with in_place_of_standard_output(follower):
        write(file, "hello")
    assert os.read(leader, 100) == b"hello\r\n"
    file.renew()
    os.close(leader)
    os.close(follower)


def test_standard_output_that_does_not_block_is_waited_for():
    """Some runtimes make it so; a full one is no failure."""
    read, written = os.pipe()
    os.set_blocking(written, False)
    file = LogFile("/dev/stdout")
    with in_place_of_standard_output(written):
        for number in range(3000):
            file.put(b"%060d\n" % number)
        received = b""
        while received.count(b"\n") < 3000:
            select.select([read], [], [], 20)
            received += os.read(read, 65536)
        assert file.flush(20)
    assert received.split() == [b"%060d" % number for number in range(3000)]
    assert file.lost == 0
    file.renew()
    os.close(read)
    os.close(written)


def test_standard_output_whose_reader_has_gone(told):
    """EPIPE, and no signal ends the process."""
    read, written = os.pipe()
    file = LogFile("/dev/stdout")
    with in_place_of_standard_output(written):
        os.close(read)
        write(file, "one", "two")
        write(file, "three")
    assert file.lost == 3
    eventually(told, "told")
    assert "whoever read it has gone" in told()[0]
    os.close(written)


def test_a_failure_in_the_middle_touches_no_other_file():
    """What is closed may be another file's number at once: no line goes there, no lock is lost."""
    read, written = os.pipe()
    file = LogFile("/dev/stdout")
    with in_place_of_standard_output(written):
        write(file, "one")
        assert os.read(read, 100) == b"one\n"
        used = file._descriptor
        os.close(read)
        file._write([b"x" * 3000 + b"\n"] * 50)  # as its thread does: each is a piece of its own
        assert os.fstat(used).st_ino == os.fstat(written).st_ino, "closed while it was in use"
        assert file.lost == 50
        write(file, "again")
    file.renew()
    os.close(written)


def test_standard_output_that_is_closed(told):
    """And whatever has its number later gets no lines: the log had a copy, or has none."""
    program = """
import os
from meshware.telemetry.log_files import LogFile
os.close(1)
file = LogFile("/dev/stdout")
file.put(b"lost\\n")
assert file.flush(20)
assert file.lost == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=ROOT, timeout=60, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    program = program.replace("os.close(1)\n", "").replace(
        "assert file.lost == 1",
        "assert os.open('other', os.O_CREAT | os.O_WRONLY) > 1; os.close(1)\n"
        "os.dup2(os.open('other', os.O_WRONLY), 1); file.put(b'two\\n'); assert file.flush(20)\n"
        "os._exit(0)",
    )
    read, written = os.pipe()
    subprocess.run(
        [sys.executable, "-c", program.replace("'other'", "'/dev/null'")],
        check=True, cwd=ROOT, timeout=60, stdout=written,
    )  # fmt: skip
    os.close(written)
    assert os.read(read, 100) == b"lost\ntwo\n"
    os.close(read)


def test_a_handler_that_fails_or_blocks_costs_no_line(tmp_path):
    """What is told of a failure is told by a thread that may wait."""
    is_over = threading.Event()

    class Bad(logging.Handler):
        def emit(self, record):
            if "access log" in record.getMessage():
                is_over.wait(20)
                raise RuntimeError("as the test wants it")

    handler = Bad()
    logging.getLogger("meshware").addHandler(handler)
    try:
        file = LogFile(str(tmp_path / "no" / "a.log"))
        write(file, "lost")
        (tmp_path / "no").mkdir()
        write(file, "written")
        assert (tmp_path / "no" / "a.log").read_text() == "written\n"
    finally:
        is_over.set()
        logging.getLogger("meshware").removeHandler(handler)


def test_many_processes_and_threads_write_whole_lines(tmp_path):
    """To one file, and to one pipe, in lines of all lengths."""
    program = """
import sys, threading
from meshware.telemetry.log_files import LogFile
path, name = sys.argv[1:]
file = LogFile(path)
def put(of):
    for number in range(400):
        size = (number * 37) % 9000
        file.put(f"{name}{of} {number} {'x' * size}.\\n".encode())
threads = [threading.Thread(target=put, args=(of,)) for of in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert file.flush(60) and not file.lost, file.lost
"""
    read, written = os.pipe()
    for path in (str(tmp_path / "a.log"), "/dev/stdout"):
        processes = [
            subprocess.Popen([sys.executable, "-c", program, path, name], cwd=ROOT, stdout=written)
            for name in "abcd"
        ]
        received = b""
        if path == "/dev/stdout":
            os.close(written)
            with open(read, "rb") as pipe:
                received = pipe.read()
        for process in processes:
            assert process.wait(60) == 0
        received = received or (tmp_path / "a.log").read_bytes()
        lines = received.decode().splitlines()
        assert len(lines) == 4 * 2 * 400
        seen = set()
        for line in lines:
            who, number, text = line.split(" ")
            assert len(text) == (int(number) * 37) % 9000 + 1
            assert text[-1] == "."
            seen.add((who, number))
        assert len(seen) == len(lines)


def test_a_child_process_writes_its_own_lines_and_those_alone(tmp_path):
    """What waits in the parent at the fork is the parent's to write, once."""
    program = f"""
import os, sys
from meshware.telemetry.log_files import log_file, flush_all
file = log_file({str(tmp_path / "a.log")!r})
for number in range(500):
    file.put(b"parent %d\\n" % number)
children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        assert file.lost == 0
        file.put(b"child %d\\n" % child)
        assert file.flush(20)
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
file.put(b"parent last\\n")
"""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], check=True, cwd=ROOT, timeout=60
    )
    lines = (tmp_path / "a.log").read_text().splitlines()
    wanted = [f"parent {number}" for number in range(500)] + ["parent last"]
    assert [line for line in lines if "parent" in line] == wanted  # also at exit
    assert sorted(line for line in lines if "child" in line) == ["child 0", "child 1", "child 2"]


def test_a_stuck_file_does_not_keep_a_process_from_ending(tmp_path):
    """It waits two seconds at most."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = (
        "from meshware.telemetry.log_files import log_file\n"
        f"log_file({str(fifo)!r}).put(b'x\\n')\n"
        f"log_file({str(tmp_path / 'a.log')!r}).put(b'y\\n')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)
    assert (tmp_path / "a.log").read_text() == "y\n"


def test_a_line_may_be_put_by_whoever_holds_any_lock(tmp_path):
    """Garbage collection ends calls anywhere, also in the middle of another `put`."""
    file = LogFile(str(tmp_path / "a.log"))
    with file._starting:  # as if this very thread were just starting the file's own
        file.put(b"one\n")
    write(file, "two")
    assert (tmp_path / "a.log").read_text() == "one\ntwo\n"


def test_all_who_log_to_a_path_share_its_file(tmp_path):
    """So one thread writes, and lines are counted once."""
    path = str(tmp_path / "a.log")
    assert log_file(path) is log_file(path)
    log_file(path).put(b"x\n")
    flush_all()
    assert Path(path).read_text() == "x\n"
    del log_files._files[path]


def test_under_gevent_a_blocked_file_stops_no_greenlet(tmp_path):
    """Threads are greenlets there; the log's are the system's own."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = f"""
from gevent import monkey; monkey.patch_all()
import gevent, os
from meshware.telemetry.log_files import LogFile
stuck, other = LogFile({str(fifo)!r}), LogFile({str(tmp_path / "a.log")!r})
for number in range(10):
    stuck.put(b"x\\n"); other.put(b"%d\\n" % number)
ticks = 0
def tick():
    global ticks
    for _ in range(50):
        gevent.sleep(0.001); ticks += 1
gevent.joinall([gevent.spawn(tick)])
assert ticks == 50
assert other.flush(20)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)
    assert (tmp_path / "a.log").read_text().split() == [str(number) for number in range(10)]


def held(path: Path) -> int:
    """How many descriptors of this process are of a file."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.path.samefile(each, path)
    return found


def writers() -> int:
    """How many threads write."""
    return sum(thread.name == "meshware-log" for thread in threading.enumerate())


def test_a_file_that_nothing_is_written_to_is_let_go_of(tmp_path, monkeypatch):
    """With its thread; the next line opens it again, in whatever stands at its path by then."""
    monkeypatch.setattr(log_files, "_IDLE_S", 0.05)
    path, away, before = tmp_path / "a.log", tmp_path / "a.log.1", writers()
    file = LogFile(str(path))
    write(file, "one")
    assert held(path) == 1
    path.rename(away)
    eventually(lambda: held(away) == 0 and writers() == before, "let go of")
    write(file, "two")
    assert (away.read_text(), path.read_text()) == ("one\n", "two\n")
    eventually(lambda: held(path) == 0 and writers() == before, "let go of again")


def test_no_line_is_lost_between_letting_go_and_coming_back(tmp_path, monkeypatch):
    """From many threads, each of which meets the end of the writer now and then."""
    monkeypatch.setattr(log_files, "_IDLE_S", 0.0005)
    path = tmp_path / "a.log"
    file = LogFile(str(path))

    def put(number: int) -> None:
        for count in range(400):
            file.put(f"{number} {count}\n".encode())
            time.sleep(0.0005 * (count % 4))

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"{number} {count}" for number in range(4) for count in range(400)}
    eventually(lambda: len(path.read_text().splitlines()) >= len(expected), "written")
    lines = path.read_text().splitlines()
    assert set(lines) == expected
    assert len(lines) == len(expected)
    assert file.lost == 0


def test_a_pipe_is_kept_for_its_reader(tmp_path, monkeypatch):
    """Who reads it would take its being closed for the end."""
    monkeypatch.setattr(log_files, "_IDLE_S", 0.05)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = LogFile(str(fifo))
    write(file, "one")
    time.sleep(0.3)
    write(file, "two")
    assert os.read(reader, 100) == b"one\ntwo\n"
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(reader)
