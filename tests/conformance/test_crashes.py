"""How often the worker of a task has died is stored with the task, until a person requeues it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deferq.engines.base import LeasingEngine
from deferq.model.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    ErrorText,
    Failed,
    Interrupted,
    Outcome,
    Parked,
    Retried,
    Snoozed,
)
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from tests.support import US, FakeClock, bury_stalled, lease, lease_one, settle

Put = Callable[..., int]
ERROR = ErrorText(error_type="WorkerLost", message="its process died")
LOST = Failed(error=ERROR, reason="worker lost")
AT_ONCE = RetryPolicy(min_backoff_s=0, max_backoff_s=0)


@pytest.fixture
def crashed(engine: LeasingEngine, put: Put) -> int:
    """A task whose worker has died twice."""
    task_id = put(retry=AT_ONCE)
    for _ in range(2):
        settle(engine, lease_one(engine), LOST)
    return task_id


def test_a_new_task_has_not_crashed_anything(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    assert engine.get([task_id])[0].crashes == 0
    assert lease_one(engine).crashes == 0


def test_the_next_worker_learns_how_often_others_died(engine: LeasingEngine, crashed: int) -> None:
    assert engine.get([crashed])[0].crashes == 2
    leased = lease_one(engine)
    assert (leased.id, leased.crashes, leased.suspect) == (crashed, 2, True)


def test_a_lease_that_ran_out_counts_as_a_death(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(retry=AT_ONCE)
    lease_one(engine)
    clock.advance(31)
    (stalled,) = bury_stalled(engine)
    assert (stalled.crashes, engine.get([task_id])[0].crashes) == (0, 1)


def test_two_rescuers_count_one_death(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(retry=AT_ONCE)
    lease_one(engine)
    clock.advance(31)
    (seen,) = engine.stalled()
    bury_stalled(engine)
    settle(engine, seen, LOST)
    assert engine.get([task_id])[0].crashes == 1


def test_a_settlement_whose_answer_was_lost_counts_one_death(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    leased = lease_one(engine)
    settle(engine, leased, LOST)
    settle(engine, leased, LOST)
    assert engine.get([task_id])[0].crashes == 1


@pytest.mark.parametrize(
    "outcome",
    [SUCCEEDED, Failed(error=ERROR), Retried(after_s=0), Snoozed(after_s=0), INTERRUPTED, Parked(error=ERROR)],
)
def test_no_other_outcome_makes_it_forgotten(engine: LeasingEngine, crashed: int, outcome: Outcome) -> None:
    settle(engine, lease_one(engine), outcome)
    assert engine.get([crashed])[0].crashes == 2


def test_a_dead_task_shows_it_and_a_person_who_requeues_the_task_clears_it(engine: LeasingEngine, put: Put) -> None:
    task_id = put(retry=RetryPolicy(max_attempts=1))
    settle(engine, lease_one(engine), LOST)
    (task,) = engine.get([task_id])
    assert (task.state, task.crashes) == (State.DEAD, 1)
    engine.requeue([task_id])
    assert engine.get([task_id])[0].crashes == 0
    assert lease_one(engine).crashes == 0


def test_a_task_given_back_for_a_while_comes_when_that_is_over(
    engine: LeasingEngine, crashed: int, clock: FakeClock
) -> None:
    settle(engine, lease_one(engine), Interrupted(after_s=5, reason="waits for quarantine"))
    (task,) = engine.get([crashed])
    assert (task.state, task.reason, task.eta) == (State.PENDING, "waits for quarantine", clock.now + 5 * US)
    assert (task.attempts, task.starts, task.crashes) == (2, 2, 2)
    assert lease(engine) == []
    clock.advance(5)
    assert lease_one(engine).id == crashed


def test_the_report_of_an_attempt_is_kept_with_it(engine: LeasingEngine, put: Put) -> None:
    task_id = put(retry=AT_ONCE)
    told = ErrorText(error_type="WorkerLost", message="killed by SIGSEGV", report="memory: 1 GiB\nended by: SIGSEGV")
    settle(engine, lease_one(engine), Failed(error=told, reason="worker lost"))
    settle(engine, lease_one(engine), Failed(error=ERROR))
    assert [failure.report for failure in engine.details(task_id).failures] == [told.report, ""]
