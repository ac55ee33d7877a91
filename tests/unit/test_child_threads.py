"""The threads of a child, which read its socket in turn, and the main thread, which reads when all others are busy."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deferq.runtime.children import threads as module
from deferq.runtime.children.starts import Starts, shared_memory
from deferq.runtime.children.threads import ChildThreads
from deferq.runtime.executor import Executor
from tests.unit.test_pool import Functions, until

THREADS = 3


class Reading:
    """In place of a socket on which nothing ever comes: whoever reads it without a time limit waits for the end."""

    def __init__(self) -> None:
        memory = shared_memory()
        self.readers: list[str] = []
        self.over = threading.Event()
        self.pool = ChildThreads(
            Executor(Functions()), Starts(memory), self._hear, lambda _: None, threads=THREADS, async_slots=1
        )
        os.close(memory)
        self.main = threading.Thread(target=self.pool.work, daemon=True)

    def _hear(self, timeout_ms: int | None) -> None:
        self.readers.append(threading.current_thread().name)
        self.over.wait(None if timeout_ms is None else timeout_ms / 1000)

    def all_rest(self) -> bool:
        return len(self.pool._resting) == THREADS

    def end(self) -> None:
        self.pool.end()
        self.over.set()
        self.main.join(20)
        assert not self.main.is_alive()


@pytest.fixture
def reading() -> Iterator[Reading]:
    reading = Reading()
    yield reading
    with suppress(RuntimeError):  # it never began
        reading.end()


def test_nothing_is_read_before_all_threads_have_started(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task could throw into one that is just being started, and who starts it would wait for it for ever."""
    start, read_so_far = reading.pool._start_threads, ["not known"]

    def start_and_look() -> None:
        start()
        until(reading.all_rest)
        read_so_far[:] = reading.readers

    monkeypatch.setattr(reading.pool, "_start_threads", start_and_look)
    reading.main.start()
    until(lambda: reading.readers)
    assert read_so_far == []


def test_the_main_thread_looks_at_the_loop_also_while_another_waits_for_something_to_read(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called when all threads are busy; one that has become idle meanwhile may be quicker, and keeps it."""
    looks = threading.Semaphore(0)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(reading.pool._coroutines, "look_at_loop", looks.release)
    reading.main.start()
    until(lambda: reading.readers)
    reading.pool._call_reserve()
    for _ in range(20):
        assert looks.acquire(timeout=20), "it waits for the socket"
