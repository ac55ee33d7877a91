"""A child and its parent's hold on it, end to end over a real socket and real memory, in the threads of one process."""

from __future__ import annotations

import asyncio
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deferq.model.events import Event, EventName
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Cancelled, Outcome
from deferq.model.task import Leased
from deferq.runtime.children import child as child_module
from deferq.runtime.children.channel import Channel
from deferq.runtime.children.child import Child, end_with_parent
from deferq.runtime.children.process import ChildProcess
from deferq.runtime.children.starts import Starts, shared_memory
from deferq.runtime.children.wire import EVENTS
from deferq.runtime.executor import Executor
from deferq.runtime.listeners import Listeners
from deferq.runtime.pools import Finished, Lease
from tests.unit.fakechild import FakeProcess
from tests.unit.fakechild import leased as leased_task
from tests.unit.test_pool import Functions

#: A child ends its process when its parent is gone, and this process is ours.
_kept: list[Pair] = []


class Pair:
    """Both ends."""

    def __init__(self, threads: int = 2, async_slots: int = 2) -> None:
        ours, theirs = socket.socketpair()
        memory = shared_memory()
        self.codec = Functions()
        self.heard: list[Event] = []
        self.parents = ChildProcess(cast(Any, FakeProcess()), Channel(ours), Starts(memory), time.monotonic())
        child = Child(
            Executor(self.codec), theirs, memory, threads=threads, async_slots=async_slots,
            listeners=Listeners([self.heard.append]), now=lambda: 5,
        )  # fmt: skip
        os.close(memory)
        hello = {"threads": threads, "async_slots": async_slots, "store": "store"}
        self.thread = threading.Thread(target=child.run, args=(hello,), daemon=True)
        self.thread.start()
        self.until(lambda: self.parents.hello)
        self.finished: list[Finished] = []

    def task(self, number: int, fn: Callable[..., Any], lease_id: int = 1) -> Leased:
        self.codec.known[f"t{number}"] = fn
        return leased_task(number, lease_id, target=f"t{number}")

    def send(self, *tasks: Leased, lease_s: float = 60.0) -> None:
        now = time.monotonic()
        self.parents.send(tasks, Lease(now, now + lease_s), now)

    def until(self, condition: Callable[[], object]) -> None:
        ends = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < ends
            self.parents.await_word(0.005)
            self.parents.channel.flush()
            found = self.parents.receive(time.monotonic())
            if found:
                self.finished += found

    def collect(self, number: int) -> dict[tuple[int, int], Outcome]:
        self.until(lambda: len(self.finished) >= number)
        collected = {(one.task.id, one.task.lease_id): one.outcome for one in self.finished}
        assert len(collected) == number == len(self.finished)
        self.finished.clear()
        return collected

    def withdraw(self) -> None:
        self.parents.withdraw(math.inf, time.monotonic())


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    _kept.append(pair)
    yield pair
    pair.parents.stop()
    pair.parents.channel.flush()
    pair.thread.join(10)
    assert not pair.thread.is_alive()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_thousands_of_tasks_come_back(pair: Pair) -> None:
    for hundred in range(30):
        pair.send(*(pair.task(100 * hundred + number, lambda: None) for number in range(100)))
    assert set(pair.collect(3_000).values()) == {SUCCEEDED}
    assert pair.parents.holds == 0


def test_the_first_to_end_are_reported_while_others_wait_behind_long_ones(pair: Pair, gate: threading.Event) -> None:
    pair.send(pair.task(1, lambda: None), pair.task(2, gate.wait), pair.task(3, gate.wait), pair.task(4, gate.wait))
    assert pair.collect(1) == {(1, 1): SUCCEEDED}
    assert pair.parents.running() == 2


def test_a_child_gives_up_the_places_of_what_was_taken_back_although_it_is_busy(
    pair: Pair, gate: threading.Event
) -> None:
    pair.send(*(pair.task(number, gate.wait) for number in (1, 2)))
    pair.until(lambda: pair.parents.running() == 2)
    room = pair.parents.room
    for lease_id in range(1, 50):
        pair.send(pair.task(3, lambda: None, lease_id), pair.task(4, lambda: None, lease_id))
        pair.withdraw()
        assert set(pair.collect(2).values()) == {INTERRUPTED}
    pair.until(lambda: pair.parents.room == room)


def test_so_it_does_with_coroutines_that_wait_for_a_slot(pair: Pair) -> None:
    over = asyncio.Event()

    async def hold() -> None:
        await over.wait()

    pair.send(*(pair.task(number, hold) for number in range(1, 6)))
    pair.until(lambda: pair.parents.running() == 2 and pair.parents._in_loop == set(range(5)))
    room = pair.parents.room
    pair.withdraw()
    assert set(pair.collect(3).values()) == {INTERRUPTED}
    pair.until(lambda: pair.parents.room == room + 3)
    pair.parents.cancel({1, 2, 3, 4, 5})
    assert set(pair.collect(2).values()) == {Cancelled()}


def test_a_task_may_come_again_while_its_former_lease_still_waits(pair: Pair, gate: threading.Event) -> None:
    ran: list[int] = []
    pair.send(*(pair.task(number, gate.wait) for number in (1, 2)))
    pair.until(lambda: pair.parents.running() == 2)
    pair.send(pair.task(3, lambda: ran.append(3), 1))
    pair.withdraw()
    pair.collect(1)
    pair.send(pair.task(3, lambda: ran.append(3), 2))
    gate.set()
    outcomes = pair.collect(3)
    assert outcomes[3, 2] == SUCCEEDED
    assert ran == [3]


def test_nothing_starts_once_its_lease_is_over(pair: Pair) -> None:
    ran: list[int] = []
    pair.send(pair.task(1, lambda: ran.append(1)), lease_s=-1.0)
    assert pair.collect(1) == {(1, 1): INTERRUPTED}
    assert ran == []


def test_what_waits_can_be_cancelled(pair: Pair, gate: threading.Event) -> None:
    pair.send(*(pair.task(number, gate.wait) for number in (1, 2, 3)))
    pair.parents.cancel({3})
    assert pair.collect(1) == {(3, 1): Cancelled()}


def test_listeners_hear_starts_from_the_child_and_the_rest_from_the_parent(pair: Pair) -> None:
    pair.send(pair.task(1, lambda: None))
    pair.collect(1)
    told = Event(EventName.TASK_SUCCEEDED, 7, 1, "t1", "default", 1, 0.5, "tüt")
    pair.parents.channel.send(EVENTS, [(str(told.name), *told[1:])])
    pair.until(lambda: len(pair.heard) == 2)
    assert pair.heard == [Event(EventName.TASK_STARTED, 5, 1, "t1", "default", 1), told]


class Exited(BaseException):
    """In place of the end of the process."""


def exits(code: int) -> None:
    raise Exited(code)


def test_a_parent_that_died_with_something_unread_ends_its_child_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module.os, "_exit", exits)
    ours, theirs = socket.socketpair()
    memory = shared_memory()
    child = Child(
        Executor(Functions()), theirs, memory, threads=1, async_slots=1, listeners=Listeners([]), now=lambda: 5
    )
    ours.setblocking(False)
    theirs.sendall(b"unread")
    ours.close()  # the kernel tells the child that its connection was reset
    with pytest.raises(Exited):
        child._hear(None)
    os.close(memory)
    theirs.close()


def test_a_child_notices_the_end_of_its_parent_whatever_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(child_module.os, "_exit", lambda code: ended.set())
    ours, theirs = socket.socketpair()
    end_with_parent(theirs)
    ours.sendall(b"x")  # is left to whoever reads
    assert not ended.wait(0.05)
    ours.close()
    assert ended.wait(10)
    theirs.close()


def test_a_child_that_fails_while_it_loads_does_not_take_its_own_end_for_that_of_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it ends at once, with another exit code than the one that says what is wrong."""
    ended, failed = threading.Event(), threading.Event()
    monkeypatch.setattr(child_module.os, "_exit", lambda code: ended.set())

    def poll_late() -> Any:
        assert failed.wait(10)
        return select.poll()

    monkeypatch.setattr(child_module, "select", SimpleNamespace(poll=poll_late))
    ours, theirs = socket.socketpair()
    end_with_parent(theirs)
    del theirs  # as when an exception leaves whoever had it
    failed.set()
    assert not ended.wait(0.2)
    ours.close()
    assert ended.wait(10)
