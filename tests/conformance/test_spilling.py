"""What is put beside a task's payload: stored with the task, read apart from it, and gone with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deferq.engines.answers import Clash, Existing, Stored
from deferq.engines.base import Cancel, Delete, LeasingEngine, Retention
from deferq.errors import PayloadTooLargeError
from deferq.model.outcome import SUCCEEDED, ErrorText, Failed, Outcome
from tests.support import FakeClock, TaskMaker, lease_one, settle

SPILL = b"much " * 10_000
DIES = Failed(error=ErrorText(error_type="ValueError", message="boom"), permanent=True, reason="permanent")
Put = Callable[..., int]


def test_a_spill_comes_back_byte_for_byte_and_is_no_part_of_the_payload(engine: LeasingEngine, new: TaskMaker) -> None:
    task = new(spill=SPILL)
    assert engine.put([task]) == [Stored(task.id)]
    assert engine.spill(task.id) == SPILL
    assert engine.details(task.id).payload == task.payload
    assert engine.get([task.id])[0].payload_bytes == len(task.payload)
    assert lease_one(engine).payload == task.payload


def test_a_task_without_a_spill_has_none_and_neither_has_one_that_is_not_there(engine: LeasingEngine, put: Put) -> None:
    assert engine.spill(put()) is None
    assert engine.spill(12345) is None


def test_an_empty_spill_is_not_the_same_as_none(engine: LeasingEngine, put: Put) -> None:
    assert engine.spill(put(spill=b"")) == b""


def test_of_many_tasks_each_has_its_own_spill(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = [new(spill=b"spill %d" % number if number % 2 else None, name=f"n{number}") for number in range(6)]
    plain = [new(), new(spill=b"last")]
    engine.put(tasks)
    engine.put(plain)
    assert [engine.spill(task.id) for task in (*tasks, *plain)] == [task.spill for task in (*tasks, *plain)]


def test_the_same_task_put_once_more_keeps_its_spill(engine: LeasingEngine, new: TaskMaker) -> None:
    task = new(spill=SPILL)
    assert [engine.put([task]), engine.put([task])] == [[Stored(task.id)]] * 2
    assert engine.spill(task.id) == SPILL


def test_a_task_that_clashes_leaves_no_spill_with_the_one_that_has_the_id(
    engine: LeasingEngine, new: TaskMaker
) -> None:
    first = new()
    engine.put([first])
    assert engine.put([new(task_id=first.id, payload=b"another", spill=SPILL)]) == [Clash(first.id)]
    assert engine.spill(first.id) is None


def test_a_task_whose_name_is_taken_leaves_no_spill(engine: LeasingEngine, new: TaskMaker) -> None:
    first, second = new(name="once"), new(name="once", spill=SPILL)
    assert engine.put([first]) == [Stored(first.id)]
    assert engine.put([second]) == [Existing(first.id)]
    assert (engine.spill(first.id), engine.spill(second.id)) == (None, None)


def test_a_spill_over_the_limit_is_refused_with_both_sizes_and_keeps_the_whole_call_out(
    engine: LeasingEngine, new: TaskMaker
) -> None:
    fits, too_large = new(), new(spill=b"x" * (engine.payload_limit + 1))
    with pytest.raises(PayloadTooLargeError) as caught:
        engine.put([fits, too_large])
    assert (caught.value.size, caught.value.limit) == (engine.payload_limit + 1, engine.payload_limit)
    assert engine.get([fits.id]) == []
    assert engine.put([new(spill=b"x" * engine.payload_limit)]) != []


def test_a_spill_goes_when_its_task_is_deleted(engine: LeasingEngine, put: Put) -> None:
    gone, stays = put(spill=SPILL), put(spill=SPILL)
    engine.change([gone], Delete())
    assert (engine.spill(gone), engine.spill(stays)) == (None, SPILL)


def test_a_spill_goes_when_its_queue_is_purged(engine: LeasingEngine, put: Put) -> None:
    gone, stays = put("mail", spill=SPILL), put("other", spill=SPILL)
    assert engine.purge("mail") == 1
    assert (engine.spill(gone), engine.spill(stays)) == (None, SPILL)


@pytest.mark.parametrize("outcome", [SUCCEEDED, DIES])
def test_a_spill_stays_with_a_finished_task_and_goes_with_its_retention(
    engine: LeasingEngine, put: Put, clock: FakeClock, outcome: Outcome
) -> None:
    task_id = put(spill=SPILL)
    settle(engine, lease_one(engine), outcome)
    assert engine.spill(task_id) == SPILL
    clock.advance(301)
    assert engine.sweep(Retention(succeeded_s=300, dead_s=300)).purged == 1
    assert engine.spill(task_id) is None


def test_a_dead_task_that_is_requeued_has_its_spill_still(engine: LeasingEngine, put: Put) -> None:
    task_id = put(spill=SPILL)
    settle(engine, lease_one(engine), DIES)
    assert engine.requeue([task_id]) == [task_id]
    assert (lease_one(engine).id, engine.spill(task_id)) == (task_id, SPILL)


def test_a_task_that_was_replaced_takes_its_spill_along_and_the_new_one_has_its_own(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    first, second = new(name="once", spill=b"old"), new(name="once", if_exists="replace", spill=b"new")
    engine.put([first])
    assert engine.put([second]) == [Stored(second.id, replaced=first.id)]
    assert (engine.spill(first.id), engine.spill(second.id)) == (b"old", b"new")
    clock.advance(301)
    engine.sweep(Retention(cancelled_s=300))
    assert (engine.spill(first.id), engine.spill(second.id)) == (None, b"new")


def test_a_follow_up_brings_its_spill_along(engine: LeasingEngine, new: TaskMaker, put: Put) -> None:
    put()
    follow_up = new(spill=SPILL)
    settle(engine, lease_one(engine), SUCCEEDED, then=[follow_up])
    assert engine.spill(follow_up.id) == SPILL


def test_cancelling_a_task_keeps_its_spill_since_it_may_be_requeued(engine: LeasingEngine, put: Put) -> None:
    task_id = put(spill=SPILL)
    engine.change([task_id], Cancel())
    engine.requeue([task_id])
    assert (lease_one(engine).id, engine.spill(task_id)) == (task_id, SPILL)
