"""The end of an engine object."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from deferq.engines.base import Filter, LeasingEngine
from deferq.engines.memory import MemoryEngine
from deferq.errors import ForkedEngineError, StoreError
from deferq.model.outcome import SUCCEEDED, Succeeded
from deferq.model.state import State
from tests.conformance.engines import EngineFactory
from tests.support import FakeClock, TaskMaker, lease, lease_one, settle, want


def test_closing_twice_is_fine(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put([new()])
    engine.close()
    engine.close()


def test_an_engine_that_was_never_used_can_be_closed(engine: LeasingEngine) -> None:
    engine.close()


def test_a_closed_engine_takes_no_task(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.close()
    with pytest.raises(StoreError):
        engine.put([new()])


def test_a_closed_engine_leases_nothing(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put([new()])
    engine.close()
    with pytest.raises(StoreError):
        engine.turn((), want(1))


def test_bells_may_be_closed_after_their_engine(engine: LeasingEngine) -> None:
    bell = engine.bell(1)
    engine.close()
    bell.ring()
    bell.close()


def test_the_url_of_an_engine_names_its_kind(engine: LeasingEngine) -> None:
    scheme, _, _ = engine.url.partition(":")
    assert scheme in ("memory", "sqlite")


def test_a_file_keeps_what_a_memory_forgets(
    make_engine: EngineFactory, tmp_path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    waiting, done, held = new(name="n", in_s=60), new(priority=2), new(priority=1, payload=b"x" * 5_000)
    first = make_engine(tmp_path, clock)
    first.put([waiting, done, held])
    settle(first, lease_one(first), Succeeded(b"result"))
    leased = lease_one(first)
    first.close()
    second = make_engine(tmp_path, clock)
    try:
        if isinstance(second, MemoryEngine):
            assert second.find(Filter()) == ([], None)
            return
        states = [task.state for task in second.get([waiting.id, done.id, held.id])]
        assert states == [State.PENDING, State.SUCCEEDED, State.LEASED]
        assert second.details(done.id).result == b"result"
        assert settle(second, leased, SUCCEEDED).lost == ()
        clock.advance(60)
        assert [task.id for task in lease(second)] == [waiting.id]
    finally:
        second.close()


def test_two_memory_engines_share_nothing(clock: FakeClock, new: TaskMaker) -> None:
    first, second = MemoryEngine(clock=clock), MemoryEngine(clock=clock)
    first.put([new()])
    assert second.queues() == []
    assert lease(second) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_memory_engine_refuses_to_be_used_in_a_forked_child(clock: FakeClock, new: TaskMaker) -> None:
    """The child has a copy that nobody works on: whatever it puts there would be lost without a word."""
    engine, task = MemoryEngine(clock=clock), new()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        answer = 1
        try:
            engine.put([task])
        except ForkedEngineError:
            answer = 0
        finally:
            os._exit(answer)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert engine.queues() == []
