"""How a dispatcher learns that there may be work.

A bell that was rung before `wait` answers at once, so nothing here waits: `rang` looks without sleeping.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from deferq.engines.base import Bell, LeasingEngine, Reschedule, holder_of
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, ErrorText, Failed, Parked
from deferq.model.settings import Pause, Resume
from tests.support import START, TaskMaker, lease_one, settle

Put = Callable[..., int]
ERROR = ErrorText(error_type="ValueError", message="boom")


@pytest.fixture
def bell(engine: LeasingEngine) -> Iterator[Bell]:
    with closing(engine.bell(1)) as bell:
        yield bell


def rang(bell: Bell) -> bool:
    return bell.wait(0)


def test_a_bell_is_quiet_until_something_happens(bell: Bell) -> None:
    assert not rang(bell)


def test_a_task_that_is_due_at_once_rings(engine: LeasingEngine, bell: Bell, new: TaskMaker) -> None:
    engine.put([new(in_s=60), new()])
    assert rang(bell)


def test_a_task_for_later_rings_nobody(bell: Bell, put: Put) -> None:
    put(in_s=60)
    assert not rang(bell)


def test_a_task_that_is_due_in_a_moment_rings(bell: Bell, put: Put) -> None:
    """A dispatcher polls once a second: what is due before it looks again must be known to it beforehand."""
    put(in_s=1)
    assert bell.wait(0)


def test_many_rings_wake_once(bell: Bell, put: Put) -> None:
    for _ in range(10):
        put()
    assert rang(bell)
    assert not rang(bell)


def test_every_bell_is_rung(engine: LeasingEngine, put: Put) -> None:
    with closing(engine.bell(1)) as first, closing(engine.bell(1)) as second:
        put()
        assert rang(first)
        assert rang(second)


def test_a_bell_can_be_rung_by_hand(bell: Bell) -> None:
    bell.ring()
    bell.ring()
    assert rang(bell)
    assert not rang(bell)


def test_a_closed_bell_disturbs_nobody(engine: LeasingEngine, bell: Bell, put: Put) -> None:
    engine.bell(1).close()
    put()
    assert rang(bell)


def test_a_requeued_task_rings(engine: LeasingEngine, bell: Bell, put: Put) -> None:
    task_id = put()
    settle(engine, lease_one(engine), Failed(error=ERROR, permanent=True, reason="permanent"))
    rang(bell)
    engine.requeue([task_id])
    assert rang(bell)


def test_a_task_rescheduled_to_now_rings(engine: LeasingEngine, bell: Bell, put: Put) -> None:
    task_id = put(in_s=60)
    engine.change([task_id], Reschedule(START))
    assert rang(bell)


def test_waking_parked_tasks_rings(engine: LeasingEngine, bell: Bell, put: Put) -> None:
    put()
    settle(engine, lease_one(engine), Parked(error=ERROR))
    rang(bell)
    engine.wake()
    assert rang(bell)


def test_resuming_a_queue_with_ready_tasks_rings(engine: LeasingEngine, bell: Bell, put: Put) -> None:
    engine.change_queues([("default", Pause())])
    put()
    rang(bell)
    engine.change_queues([("default", Resume())])
    assert rang(bell)


def test_follow_ups_ring(engine: LeasingEngine, bell: Bell, put: Put, new: TaskMaker) -> None:
    put()
    leased = lease_one(engine)
    rang(bell)
    settle(engine, leased, SUCCEEDED, then=[new()])
    assert rang(bell)


def test_a_task_given_back_rings_for_the_others(engine: LeasingEngine, bell: Bell, put: Put) -> None:
    """A worker that stops gives back what it leased ahead; those that stay take it at once."""
    put()
    leased = lease_one(engine)
    rang(bell)
    settle(engine, leased, INTERRUPTED)
    assert rang(bell)


def test_a_dispatcher_that_sleeps_is_woken_by_a_task(engine: LeasingEngine, bell: Bell, new: TaskMaker) -> None:
    answers: list[bool] = []
    sleeper = threading.Thread(target=lambda: answers.append(bell.wait(30)))
    sleeper.start()
    engine.put([new()])
    sleeper.join(20)
    assert answers == [True]


def test_the_leases_of_a_dispatcher_stand_while_its_bell_hangs_and_after_it_was_taken_down(
    engine: LeasingEngine, put: Put
) -> None:
    """A bell that is closed in order says nothing about tasks that are still held."""
    put()
    leased = lease_one(engine)
    with closing(engine.bell(holder_of(leased.lease_id))), closing(engine.bell(1)):
        assert engine.stalled() == []
    assert engine.stalled() == []
