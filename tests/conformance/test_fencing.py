"""The lease id is the fence: nobody writes for an attempt that is no longer theirs."""

from __future__ import annotations

from collections.abc import Callable

from deferq.engines.base import Cancel, Delete, LeasingEngine
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, ErrorText, Failed, Snoozed, Succeeded
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from tests.support import START, US, FakeClock, TaskMaker, bury_stalled, lease, lease_one, settle, settlement

Put = Callable[..., int]
AT_ONCE = RetryPolicy(min_backoff_s=0)
FAILED = Failed(error=ErrorText(error_type="ValueError", message="boom"))


def test_a_late_worker_cannot_settle_a_task_that_was_leased_again(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task_id = put(retry=AT_ONCE)
    late = lease_one(engine)
    clock.advance(31)
    bury_stalled(engine)
    current = lease_one(engine)
    assert settle(engine, late, Succeeded(b"stale")).lost == (late,)
    (task,) = engine.get([task_id])
    assert (task.state, task.lease_id, task.attempts) == (State.LEASED, current.lease_id, 1)
    assert settle(engine, current, Succeeded(b"fresh")).lost == ()
    assert engine.details(task_id).result == b"fresh"


def test_a_late_worker_learns_that_its_lease_was_buried_before_anybody_leased_again(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    """Whoever buries a stalled lease settles it by its own id, and the late worker comes with the same."""
    task_id = put()
    late = lease_one(engine)
    clock.advance(31)
    bury_stalled(engine)
    assert settle(engine, late, Succeeded(b"late")).lost == (late,)
    assert engine.details(task_id).result is None


def test_a_lease_that_was_renewed_after_all_cannot_be_buried(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    """Between somebody's look at stalled leases and its settlement, the holder may come back."""
    task_id = put()
    holder = lease_one(engine)
    clock.advance(31)
    (over,) = engine.stalled()
    engine.renew([holder], clock.now + 30 * US)
    burial = settlement(engine, over, FAILED)._replace(only_if_over=True)
    assert engine.turn([burial], None).lost == (over,)
    assert settle(engine, holder, Succeeded(b"in time")).lost == ()
    assert engine.get([task_id])[0].state is State.SUCCEEDED


def test_a_lease_that_is_over_can_be_buried(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    lease_one(engine)
    clock.advance(31)
    (over,) = engine.stalled()
    burial = settlement(engine, over, FAILED)._replace(only_if_over=True)
    assert engine.turn([burial], None).lost == ()
    assert engine.get([task_id])[0].state is State.PENDING


def test_a_lease_is_over_at_its_very_end(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put()
    held = lease_one(engine)
    burial = settlement(engine, held, FAILED)._replace(only_if_over=True)
    clock.now = held.leased_until - 1
    assert (engine.stalled(), engine.turn([burial], None).lost) == ([], (held,))
    clock.now = held.leased_until
    assert [over.id for over in engine.stalled()] == [held.id]
    assert engine.turn([burial], None).lost == ()


def test_a_late_failure_leaves_no_trace_in_the_newer_attempt(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(retry=AT_ONCE)
    late = lease_one(engine)
    clock.advance(31)
    bury_stalled(engine)
    lease_one(engine)
    failures = engine.details(task_id).failures
    settle(engine, late, FAILED)
    assert engine.details(task_id).failures == failures


def test_a_late_worker_cannot_settle_a_task_that_has_finished_under_a_newer_lease(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task_id = put(retry=AT_ONCE)
    late = lease_one(engine)
    clock.advance(31)
    bury_stalled(engine)
    settle(engine, lease_one(engine), Succeeded(b"first"))
    assert settle(engine, late, Succeeded(b"second")).lost == (late,)
    assert engine.details(task_id).result == b"first"


def test_a_lost_lease_does_not_hurt_the_rest_of_its_group(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    task = new(retry=AT_ONCE)
    engine.put([task])
    late = lease_one(engine)
    clock.advance(31)
    bury_stalled(engine)
    lease_one(engine)
    others = new.many(2)
    engine.put(others)
    mine = lease(engine, 2)
    group = [settlement(engine, leased, SUCCEEDED) for leased in (mine[0], late, mine[1])]
    assert engine.turn(group, None).lost == (late,)
    assert {stored.state for stored in engine.get([other.id for other in others])} == {State.SUCCEEDED}


def test_the_settlement_of_a_task_that_is_gone_is_lost(engine: LeasingEngine, put: Put) -> None:
    put()
    leased = lease_one(engine)
    settle(engine, leased, SUCCEEDED)
    engine.change([leased.id], Delete())
    assert settle(engine, leased, SUCCEEDED).lost == (leased,)


def test_repeating_a_settlement_is_settled_not_lost(engine: LeasingEngine, put: Put) -> None:
    """The answer of a turn may get lost on its way; whoever repeats the turn must not see a lost lease."""
    task_id = put()
    done = settlement(engine, lease_one(engine), Succeeded(b"result"))
    assert engine.turn([done], None).lost == ()
    assert engine.turn([done], None).lost == ()
    (task,) = engine.get([task_id])
    assert (task.state, task.attempts) == (State.SUCCEEDED, 1)
    assert engine.details(task_id).result == b"result"


def test_a_repeated_failure_counts_once(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    failed = settlement(engine, lease_one(engine), FAILED)
    engine.turn([failed], None)
    assert engine.turn([failed], None).lost == ()
    assert engine.get([task_id])[0].attempts == 1
    assert len(engine.details(task_id).failures) == 1


def test_a_repeated_settlement_within_one_group_counts_once(engine: LeasingEngine, put: Put) -> None:
    put()
    snoozed = settlement(engine, lease_one(engine), Snoozed(after_s=5))
    assert engine.turn([snoozed, snoozed], None).lost == ()
    assert engine.totals(0, START + US)[0].attempts == 1


def test_a_repeated_settlement_is_lost_once_somebody_else_holds_the_task(engine: LeasingEngine, put: Put) -> None:
    put()
    given_back = settlement(engine, lease_one(engine), INTERRUPTED)
    engine.turn([given_back], None)
    current = lease_one(engine)
    assert engine.turn([given_back], None).lost == (given_back.task,)
    assert engine.get([current.id])[0].state is State.LEASED


def test_a_lease_that_is_over_but_was_not_taken_away_can_still_be_settled(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task_id = put()
    leased = lease_one(engine)
    clock.advance(3_600)
    assert settle(engine, leased, SUCCEEDED).lost == ()
    assert engine.get([task_id])[0].state is State.SUCCEEDED


def test_a_renewed_lease_ends_later(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put()
    leased = lease_one(engine, lease_s=30)
    clock.advance(20)
    assert engine.renew([leased], clock.now + 30 * US) == ([], [])
    clock.advance(20)
    assert engine.stalled() == []
    clock.advance(11)
    assert [task.id for task in engine.stalled()] == [leased.id]


def test_a_lease_that_is_over_can_be_renewed_while_nobody_else_has_the_task(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    put()
    leased = lease_one(engine)
    clock.advance(100)
    assert engine.renew([leased], clock.now + 30 * US) == ([], [])
    assert engine.stalled() == []


def test_renewing_tells_which_leases_are_lost(engine: LeasingEngine, new: TaskMaker, clock: FakeClock) -> None:
    engine.put(new.many(3, retry=AT_ONCE))
    stalled, settled = lease(engine, 2)
    settle(engine, settled, SUCCEEDED)
    clock.advance(31)
    bury_stalled(engine)
    lease_one(engine, queues=["default"])
    held = lease_one(engine)
    lost, to_cancel = engine.renew([stalled, settled, held], clock.now + 60 * US)
    assert {lease.id for lease in lost} == {stalled.id, settled.id}
    assert to_cancel == []


def test_a_lost_lease_cannot_be_renewed_into_somebody_elses(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put(retry=AT_ONCE)
    late = lease_one(engine)
    clock.advance(31)
    bury_stalled(engine)
    current = lease_one(engine)
    assert engine.renew([late], clock.now + 999 * US) == ([late], [])
    assert engine.get([current.id])[0].leasable_at == current.leased_until


def test_renewing_nothing_is_fine(engine: LeasingEngine) -> None:
    assert engine.renew([], START) == ([], [])


def test_stalled_tasks_are_those_whose_lease_is_over(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put()
    short = lease_one(engine, lease_s=10)
    put()
    lease_one(engine, lease_s=60)
    clock.advance(9)
    assert engine.stalled() == []
    clock.advance(2)
    (stalled,) = engine.stalled()
    assert (stalled.id, stalled.lease_id, stalled.attempts, stalled.retry) == (
        short.id,
        short.lease_id,
        0,
        short.retry,
    )


def test_looking_for_stalled_tasks_changes_nothing(engine: LeasingEngine, new: TaskMaker, clock: FakeClock) -> None:
    engine.put(new.many(5))
    leased = lease(engine)
    clock.advance(31)
    assert len(engine.stalled(limit=2)) == 2
    assert {task.id for task in engine.stalled()} == {task.id for task in leased}
    assert {task.state for task in engine.get([task.id for task in leased])} == {State.LEASED}


def test_a_task_whose_worker_was_lost_spends_an_attempt(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(retry=RetryPolicy(min_backoff_s=10, jitter=False))
    lease_one(engine)
    clock.advance(31)
    bury_stalled(engine)
    (task,) = engine.get([task_id])
    assert (task.state, task.reason, task.attempts, task.starts) == (State.PENDING, "worker lost", 1, 1)
    assert task.eta == clock.now + 10 * US


def test_a_task_of_a_single_start_whose_worker_was_lost_is_dead(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task_id = put(retry=RetryPolicy(max_attempts=1))
    lease_one(engine)
    clock.advance(31)
    bury_stalled(engine)
    assert engine.get([task_id])[0].state is State.DEAD
    assert lease(engine) == []


def test_two_rescuers_spend_one_attempt(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put()
    lease_one(engine)
    clock.advance(31)
    (seen,) = engine.stalled()
    bury_stalled(engine)
    settle(engine, seen, Failed(error=ErrorText(error_type="WorkerLost", message=""), reason="worker lost"))
    assert engine.get([task_id])[0].attempts == 1


def test_a_cancellation_that_came_before_the_lease_was_given_back_is_not_forgotten(
    engine: LeasingEngine, put: Put
) -> None:
    """The holder decides without knowing of the request; whoever leases the task next learns of it."""
    task_id = put()
    leased = lease_one(engine)
    engine.change([task_id], Cancel())
    settle(engine, leased, INTERRUPTED)
    assert lease_one(engine).cancel_requested
