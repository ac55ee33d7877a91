"""A name is unique in its queue while its task lives, and for a while after."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from deferq.engines.answers import Existing, Stored, Tombstoned
from deferq.engines.base import Cancel, Delete, LeasingEngine, Retention
from deferq.model.outcome import SUCCEEDED, ErrorText, Failed
from deferq.model.state import State
from tests.conformance.engines import TOMBSTONE_S
from tests.support import START, US, FakeClock, TaskMaker, lease, lease_one, settle, settle_each

Put = Callable[..., int]
DIES = Failed(error=ErrorText(error_type="ValueError", message="boom"), permanent=True, reason="permanent")


@pytest.mark.parametrize("if_exists", ["raise", "return"])
def test_the_name_of_a_pending_task_is_taken(engine: LeasingEngine, new: TaskMaker, if_exists: str) -> None:
    first, second = new(name="n"), new(name="n", if_exists=if_exists)
    engine.put([first])
    assert engine.put([second]) == [Existing(first.id)]
    assert engine.get([second.id]) == []


def test_the_name_of_a_leased_task_is_taken(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    first = put(name="n")
    lease_one(engine)
    assert engine.put([new(name="n")]) == [Existing(first)]


def test_a_name_belongs_to_its_queue(engine: LeasingEngine, new: TaskMaker) -> None:
    mail, index = new("mail", name="n"), new("index", name="n")
    assert engine.put([mail, index]) == [Stored(mail.id), Stored(index.id)]


def test_names_are_told_apart_by_case_and_trailing_characters(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = [new(name=name) for name in ("name", "Name", "name-", "name_")]
    assert engine.put(tasks) == [Stored(task.id) for task in tasks]


def test_two_tasks_of_one_call_cannot_have_the_same_name(engine: LeasingEngine, new: TaskMaker) -> None:
    first, second = new(name="n"), new(name="n")
    assert engine.put([first, second]) == [Stored(first.id), Existing(first.id)]


def test_a_name_clash_does_not_hurt_the_other_tasks_of_the_call(engine: LeasingEngine, new: TaskMaker) -> None:
    taken = new(name="n")
    engine.put([taken])
    before, clash, after = new(), new(name="n"), new(name="m")
    assert engine.put([before, clash, after]) == [Stored(before.id), Existing(taken.id), Stored(after.id)]


@pytest.mark.parametrize("outcome", [SUCCEEDED, DIES])
@pytest.mark.parametrize("if_exists", ["raise", "return"])
def test_the_name_of_a_finished_task_stands_as_a_tombstone(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock, outcome: Failed, if_exists: str
) -> None:
    first = put(name="n")
    leased = lease_one(engine)
    clock.advance(5)
    settle(engine, leased, outcome)
    assert engine.put([new(name="n", if_exists=if_exists)]) == [Tombstoned(first, START + (5 + TOMBSTONE_S) * US)]


def test_the_name_of_a_cancelled_task_stands_as_a_tombstone(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    first = put(name="n")
    engine.change([first], Cancel())
    assert engine.put([new(name="n")]) == [Tombstoned(first, START + TOMBSTONE_S * US)]


def test_a_tombstone_gives_the_name_free_when_its_time_is_over(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    first = put(name="n")
    settle(engine, lease_one(engine), SUCCEEDED)
    clock.advance(TOMBSTONE_S - 1)
    assert isinstance(engine.put([new(name="n")])[0], Tombstoned)
    clock.advance(2)
    second = new(name="n")
    assert engine.put([second]) == [Stored(second.id)]
    assert engine.put([new(name="n")]) == [Existing(second.id)]
    assert engine.get([first])[0].state is State.SUCCEEDED


def test_a_tombstone_stands_to_the_very_microsecond(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    first = put(name="n")
    settle(engine, lease_one(engine), SUCCEEDED)
    clock.now += TOMBSTONE_S * US - 1
    assert engine.put([new(name="n")]) == [Tombstoned(first, START + TOMBSTONE_S * US)]
    clock.now += 1
    second = new(name="n")
    assert engine.put([second]) == [Stored(second.id)]


def test_a_tombstone_outlives_the_row_of_its_task(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    first = put(name="n")
    settle(engine, lease_one(engine), SUCCEEDED)
    clock.advance(60)
    assert engine.sweep(Retention(succeeded_s=10)).purged == 1
    assert engine.get([first]) == []
    assert engine.put([new(name="n")]) == [Tombstoned(first, START + TOMBSTONE_S * US)]


def test_a_deleted_task_leaves_its_name_as_a_tombstone(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    first = put(name="n")
    engine.change([first], Delete())
    assert engine.put([new(name="n")]) == [Tombstoned(first, START + TOMBSTONE_S * US)]


def test_a_purged_task_leaves_its_name_as_a_tombstone(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    first = put(name="n")
    engine.purge("default")
    assert engine.put([new(name="n")]) == [Tombstoned(first, START + TOMBSTONE_S * US)]


def test_deleting_a_finished_task_does_not_prolong_its_tombstone(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    first = put(name="n")
    settle(engine, lease_one(engine), SUCCEEDED)
    clock.advance(100)
    engine.change([first], Delete())
    assert engine.put([new(name="n")]) == [Tombstoned(first, START + TOMBSTONE_S * US)]


def test_replacing_a_pending_task_cancels_it_and_takes_its_name(
    engine: LeasingEngine, put: Put, new: TaskMaker
) -> None:
    first = put(name="n", in_s=60)
    second = new(name="n", if_exists="replace")
    assert engine.put([second]) == [Stored(second.id, replaced=first)]
    old, fresh = engine.get([first, second.id])
    assert (old.state, old.reason, old.finished_at) == (State.CANCELLED, "replaced", START)
    assert (fresh.state, fresh.name) == (State.PENDING, "n")
    assert engine.put([new(name="n")]) == [Existing(second.id)]


def test_replacing_again_and_again_leaves_the_last_one(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = [new(name="n", if_exists="replace", in_s=5) for _ in range(5)]
    answers = engine.put(tasks)
    assert answers == [
        Stored(tasks[0].id),
        *(Stored(task.id, replaced=before.id) for before, task in pairwise(tasks)),
    ]
    states = [task.state for task in engine.get([task.id for task in tasks])]
    assert states == [State.CANCELLED] * 4 + [State.PENDING]


def test_replacing_a_leased_task_takes_its_name_and_lets_it_end_nameless(
    engine: LeasingEngine, put: Put, new: TaskMaker
) -> None:
    first = put(name="n")
    leased = lease_one(engine)
    second = new(name="n", if_exists="replace")
    assert engine.put([second]) == [Stored(second.id, replaced=None)]
    assert settle(engine, leased, SUCCEEDED).lost == ()
    (old,) = engine.get([first])
    assert (old.state, old.name) == (State.SUCCEEDED, None)
    assert engine.put([new(name="n")]) == [Existing(second.id)]


def test_a_nameless_task_that_retries_does_not_take_its_name_back(
    engine: LeasingEngine, put: Put, new: TaskMaker
) -> None:
    put(name="n")
    leased = lease_one(engine)
    second = new(name="n", if_exists="replace")
    engine.put([second])
    settle(engine, leased, Failed(error=ErrorText(error_type="ValueError", message="boom")))
    engine.change([leased.id], Cancel())
    assert engine.put([new(name="n")]) == [Existing(second.id)]


def test_replacing_a_tombstone_takes_the_name(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    put(name="n")
    settle(engine, lease_one(engine), SUCCEEDED)
    second = new(name="n", if_exists="replace")
    assert engine.put([second]) == [Stored(second.id, replaced=None)]
    assert engine.put([new(name="n")]) == [Existing(second.id)]


def test_a_free_name_can_be_put_with_replace(engine: LeasingEngine, new: TaskMaker) -> None:
    task = new(name="n", if_exists="replace")
    assert engine.put([task]) == [Stored(task.id, replaced=None)]


def test_a_task_that_retries_keeps_its_name(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    first = put(name="n")
    settle(engine, lease_one(engine), Failed(error=ErrorText(error_type="ValueError", message="boom")))
    assert engine.put([new(name="n")]) == [Existing(first)]


def test_a_requeued_task_takes_its_name_back(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    first = put(name="n")
    settle(engine, lease_one(engine), DIES)
    engine.requeue([first])
    assert engine.get([first])[0].name == "n"
    assert engine.put([new(name="n")]) == [Existing(first)]


def test_a_requeued_task_takes_its_name_back_when_its_tombstone_is_gone(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    first = put(name="n")
    settle(engine, lease_one(engine), DIES)
    clock.advance(TOMBSTONE_S + 1)
    engine.sweep(Retention())
    engine.requeue([first])
    assert engine.put([new(name="n")]) == [Existing(first)]


def test_a_requeued_task_whose_name_somebody_else_has_is_nameless(
    engine: LeasingEngine, put: Put, new: TaskMaker
) -> None:
    first = put(name="n")
    settle(engine, lease_one(engine), DIES)
    second = new(name="n", if_exists="replace", in_s=60)
    engine.put([second])
    assert engine.requeue([first]) == [first]
    assert engine.get([first])[0].name is None
    settle(engine, lease_one(engine), SUCCEEDED)
    assert engine.put([new(name="n")]) == [Existing(second.id)]


def test_of_two_tasks_that_are_requeued_together_the_first_takes_the_name(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    first = put(name="n")
    engine.change([first], Cancel())
    clock.advance(TOMBSTONE_S + 1)
    second = put(name="n")
    engine.change([second], Cancel())
    clock.advance(TOMBSTONE_S + 1)
    engine.sweep(Retention())
    assert engine.requeue([second, first]) == [second, first]
    assert [task.name for task in engine.get([second, first])] == ["n", None]
    assert engine.put([new(name="n")]) == [Existing(second)]


def test_a_requeued_task_takes_its_name_from_a_tombstone_that_has_ended(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    first = put(name="n")
    engine.change([first], Cancel())
    clock.advance(TOMBSTONE_S + 1)
    second = put(name="n")
    engine.change([second], Cancel())
    clock.advance(TOMBSTONE_S + 1)
    engine.requeue([first])
    assert engine.get([first])[0].name == "n"
    assert engine.put([new(name="n")]) == [Existing(first)]


def test_the_end_of_a_requeued_task_starts_its_tombstone_anew(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    first = put(name="n")
    settle(engine, lease_one(engine), DIES)
    engine.requeue([first])
    clock.advance(100)
    settle(engine, lease_one(engine), SUCCEEDED)
    assert engine.put([new(name="n")]) == [Tombstoned(first, START + (100 + TOMBSTONE_S) * US)]


def test_sweeping_drops_tombstones_whose_time_is_over(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    for name in ("a", "b", "c"):
        put(name=name)
        settle(engine, lease_one(engine), SUCCEEDED)
        clock.advance(60)
    assert engine.sweep(Retention()).tombstones == 0
    clock.advance(TOMBSTONE_S - 100)
    assert engine.sweep(Retention()).tombstones == 2


def test_tombstones_are_swept_in_rounds(engine: LeasingEngine, new: TaskMaker, clock: FakeClock) -> None:
    engine.put([new(name=f"n{number}") for number in range(5)])
    settle_each(engine, lease(engine), SUCCEEDED)
    clock.advance(TOMBSTONE_S + 1)
    keep = Retention(succeeded_s=10 * TOMBSTONE_S)
    swept = [engine.sweep(keep, limit=2) for _ in range(4)]
    assert [(one.tombstones, one.more) for one in swept] == [(2, True), (2, True), (1, False), (0, False)]


def test_sweeping_leaves_a_name_that_a_live_task_took_from_a_tombstone(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    put(name="n")
    settle(engine, lease_one(engine), SUCCEEDED)
    clock.advance(TOMBSTONE_S + 1)
    second = put(name="n")
    assert engine.sweep(Retention()).tombstones == 0
    assert engine.put([new(name="n")]) == [Existing(second)]


def test_sweeping_leaves_the_names_of_live_tasks_alone(
    engine: LeasingEngine, put: Put, new: TaskMaker, clock: FakeClock
) -> None:
    first = put(name="n")
    clock.advance(10 * TOMBSTONE_S)
    assert engine.sweep(Retention()).tombstones == 0
    assert engine.put([new(name="n")]) == [Existing(first)]


def test_a_replacement_put_again_does_not_take_its_name_back(engine: LeasingEngine, new: TaskMaker) -> None:
    """The answer to the first put got lost, and by the time its caller tries again another task has replaced it."""
    first = new(name="daily", if_exists="replace")
    second = new(name="daily", if_exists="replace")
    engine.put([first])
    engine.put([second])

    engine.put([first])

    one, other = engine.get([first.id, second.id])
    assert (one.state, other.state) == (State.CANCELLED, State.PENDING)
    assert engine.put([new(name="daily")]) == [Existing(second.id)]


def test_a_task_put_again_after_its_end_does_not_take_its_name_back(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    first = new(name="daily")
    engine.put([first])
    engine.change([first.id], Cancel())
    clock.advance(TOMBSTONE_S + 1)
    engine.sweep(Retention(cancelled_s=10 * TOMBSTONE_S))

    engine.put([first])

    second = new(name="daily")
    assert engine.put([second]) == [Stored(second.id)]


def test_a_task_put_again_after_it_was_purged_finds_its_own_tombstone(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    """Its history is kept for a shorter time than its name: it ran, and does not run again."""
    first = new(name="daily")
    engine.put([first])
    settle(engine, lease_one(engine), SUCCEEDED)
    engine.sweep(Retention(succeeded_s=0.0))

    assert engine.put([first]) == [Tombstoned(first.id, START + int(TOMBSTONE_S * US))]
    assert engine.get([first.id]) == []


def test_a_replacement_put_again_after_it_was_deleted_has_its_name(engine: LeasingEngine, new: TaskMaker) -> None:
    first = new(name="daily", if_exists="replace")
    engine.put([first])
    engine.change([first.id], Delete())

    engine.put([first])

    assert engine.put([new(name="daily")]) == [Existing(first.id)]
