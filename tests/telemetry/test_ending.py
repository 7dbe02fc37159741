"""What ends spans in the background."""

from __future__ import annotations

import os
import threading

from meshware.telemetry.ending import Background


def test_many_threads_start_one_thread():
    """Whoever is second finds it, and nothing that was put meanwhile is lost."""
    background, done = Background(), []
    barrier = threading.Barrier(16)

    def both(number):
        barrier.wait()
        background.start()
        background.put(lambda: done.append(number))

    threads = [threading.Thread(target=both, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    background.flush(20)
    assert sorted(done) == list(range(16))
    queue = background._queue
    mine = [
        thread
        for thread in threading.enumerate()
        if thread.name == "meshware-spans" and queue in thread._args  # type: ignore[attr-defined]
    ]
    assert len(mine) == 1


def test_what_fails_is_counted_and_the_next_is_done():
    """So one exporter does not end them all."""
    background, done = Background(), []
    background.start()
    background.put(lambda: 1 / 0)
    background.put(lambda: done.append(1))
    background.flush(20)
    assert (background.lost, done) == (1, [1])


def test_flush_waits_for_what_is_being_done():
    """And not only for what still waits."""
    background, go, done = Background(), threading.Event(), []
    background.start()

    def slow():
        go.wait(20)
        done.append(1)

    background.put(slow)
    threading.Timer(0.05, go.set).start()
    background.flush(20)
    assert done == [1]


def test_what_is_too_much_is_dropped_and_counted():
    """Nobody waits."""
    background = Background(most=2)
    for _ in range(5):
        background.put(lambda: None)
    assert background.lost == 3


def test_a_child_process_begins_with_nothing_and_works():
    """What waits is the parent's."""
    background, told = Background(), os.pipe()
    background.start()
    hold = threading.Event()
    background.put(lambda: hold.wait(20) and None)
    background.put(lambda: os.write(told[1], b"parent"))
    child = os.fork()
    if child == 0:
        try:
            background.renew()
            background.start()
            background.put(lambda: os.write(told[1], b"child"))
            background.flush(20)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(told[0], 100) == b"child"
    hold.set()
    background.flush(20)
    assert os.read(told[0], 100) == b"parent"
