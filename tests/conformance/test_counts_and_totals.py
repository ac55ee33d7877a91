"""How many tasks stand where, and what attempts came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from deferq.engines.base import Filter, LeasingEngine, QueueCounts, Retention, Total
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Cancelled, ErrorText, Failed, Parked, Retried, Snoozed
from deferq.model.settings import Pause, Resume
from deferq.model.state import State
from tests.support import START, US, FakeClock, TaskMaker, lease, lease_one, settle, settle_each, settlement

Put = Callable[..., int]
ERROR = ErrorText(error_type="ValueError", message="boom")
FAILED = Failed(error=ERROR)
DIES = Failed(error=ERROR, permanent=True, reason="permanent")
FOR_EVER = START + 10**15


def test_an_empty_engine_counts_nothing(engine: LeasingEngine) -> None:
    counts = engine.counts()
    assert (counts.queues, counts.succeeded, counts.dead, counts.cancelled) == ((), 0, 0, 0)
    assert counts.now == START


def test_every_task_is_counted_where_it_stands(engine: LeasingEngine, put: Put) -> None:
    for outcome in (SUCCEEDED, SUCCEEDED, DIES, Cancelled(), FAILED, Parked(error=ERROR)):
        put()
        settle(engine, lease_one(engine), outcome)
    put()
    lease_one(engine)
    put(in_s=60)
    put(in_s=600)
    put()
    counts = engine.counts()
    assert (counts.succeeded, counts.dead, counts.cancelled) == (2, 1, 1)
    assert counts.queues == (
        QueueCounts(
            queue="default",
            paused=False,
            ready=1,
            scheduled=2,
            retrying=1,
            parked=1,
            leased=1,
            oldest_ready=START,
        ),
    )


def test_counts_move_with_the_clock(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put(in_s=60)
    assert (engine.counts().queues[0].ready, engine.counts().queues[0].scheduled) == (0, 1)
    clock.advance(60)
    assert (engine.counts().queues[0].ready, engine.counts().queues[0].scheduled) == (1, 0)


def test_counts_say_the_same_as_the_tasks_themselves(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    for at in range(30):
        put(in_s=at * 3 % 20)
    for outcome in (FAILED, Parked(error=ERROR), SUCCEEDED):
        settle(engine, lease_one(engine), outcome)
        clock.advance(4)
    readings = Counter(task.reading(clock.now) for task in engine.find(Filter(state=State.PENDING)).tasks)
    (queue,) = engine.counts().queues
    counted = {
        "ready": queue.ready,
        "scheduled": queue.scheduled,
        "retrying": queue.retrying,
        "parked": queue.parked,
    }
    assert {reading: number for reading, number in counted.items() if number} == readings


def test_the_oldest_ready_task_tells_how_long_the_line_is(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put(in_s=10)
    put(in_s=20, priority=9)
    assert engine.counts().queues[0].oldest_ready is None
    clock.advance(30)
    assert engine.counts().queues[0].oldest_ready == START + 10 * US
    lease(engine, 2)
    assert engine.counts().queues[0].oldest_ready is None


def test_queues_are_counted_apart_and_by_name(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put([*new.many(2, "mail"), *new.many(3, "index")])
    engine.change_queues([("mail", Pause())])
    engine.change_queues([("empty", Resume())])
    counted = [(queue.queue, queue.paused, queue.ready) for queue in engine.counts().queues]
    assert counted == [("empty", False, 0), ("index", False, 3), ("mail", True, 2)]


def test_tasks_with_an_own_url_are_counted_too(engine: LeasingEngine, put: Put) -> None:
    put(url="/tasks/mail")
    assert engine.counts().queues[0].ready == 1


def test_a_stalled_task_is_still_counted_as_leased(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put()
    lease_one(engine)
    clock.advance(60)
    assert engine.counts().queues[0].leased == 1


def test_counts_stop_at_the_cap(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(20))
    settle_each(engine, lease(engine, 8), SUCCEEDED)
    lease(engine, 6)
    counts = engine.counts(cap=5)
    assert (counts.cap, counts.succeeded, counts.queues[0].leased, counts.queues[0].ready) == (5, 5, 5, 5)


def test_a_settlement_group_leaves_one_row_for_each_queue_and_target(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put([*new.many(3, "mail", target="shop:send"), new("mail", target="shop:bill"), new("index")])
    durations = {"shop:send": 2.0, "shop:bill": 5.0, "app:work": 1.0}
    group = [settlement(engine, task, SUCCEEDED, duration_s=durations[task.target]) for task in lease(engine)]
    engine.turn(group, None)
    assert sorted(engine.totals(START, START + US)) == [
        Total(START, "index", "app:work", 1, 0, US, US),
        Total(START, "mail", "shop:bill", 1, 0, 5 * US, 5 * US),
        Total(START, "mail", "shop:send", 3, 0, 6 * US, 2 * US),
    ]


def test_failures_are_counted_among_the_attempts(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(4))
    group = [
        settlement(engine, task, outcome, duration_s=seconds)
        for task, outcome, seconds in zip(
            lease(engine), (SUCCEEDED, FAILED, DIES, SUCCEEDED), (1, 2, 7, 4), strict=True
        )
    ]
    engine.turn(group, None)
    assert engine.totals(0, FOR_EVER) == [Total(START, "default", "app:work", 4, 2, 14 * US, 7 * US)]


def test_a_snooze_is_no_failure_and_a_retry_that_spends_an_attempt_is_one(
    engine: LeasingEngine, new: TaskMaker
) -> None:
    engine.put(new.many(2))
    outcomes = (Snoozed(after_s=5), Retried(after_s=5))
    engine.turn([settlement(engine, *pair) for pair in zip(lease(engine), outcomes, strict=True)], None)
    assert engine.totals(0, FOR_EVER) == [Total(START, "default", "app:work", 2, 1, 0, 0)]


def test_what_never_started_is_no_attempt(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(3))
    outcomes = (INTERRUPTED, Cancelled(reason="expired"), Parked(error=ERROR))
    group = [settlement(engine, *pair) for pair in zip(lease(engine), outcomes, strict=True)]
    engine.turn(group, None)
    assert sum(total.attempts for total in engine.totals(0, FOR_EVER)) == 0


def test_lost_and_repeated_settlements_are_not_counted(engine: LeasingEngine, put: Put) -> None:
    put()
    given_back = settlement(engine, lease_one(engine), INTERRUPTED)
    engine.turn([given_back], None)
    done = settlement(engine, lease_one(engine), SUCCEEDED, duration_s=3)
    engine.turn([done], None)
    engine.turn([done, given_back], None)
    assert engine.totals(0, FOR_EVER) == [Total(START, "default", "app:work", 1, 0, 3 * US, 3 * US)]


def test_totals_are_those_of_the_time_asked_for_oldest_first(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.put(new.many(4))
    for _ in range(4):
        settle(engine, lease_one(engine), SUCCEEDED)
        clock.advance(10)
    assert [total.at for total in engine.totals(START + 10 * US, START + 30 * US)] == [START + 10 * US, START + 20 * US]


def test_sweeping_folds_the_totals_of_minutes_that_are_over(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.put(new.many(6))
    for seconds in (1, 5, 2, 3):
        settle(engine, lease_one(engine), SUCCEEDED, duration_s=seconds)
        clock.advance(20)
    assert clock.now == START + 80 * US
    assert engine.sweep(Retention()).folded == 3
    assert engine.totals(0, FOR_EVER) == [
        Total(START, "default", "app:work", 3, 0, 8 * US, 5 * US),
        Total(START + 60 * US, "default", "app:work", 1, 0, 3 * US, 3 * US),
    ]


def test_folding_again_changes_nothing(engine: LeasingEngine, new: TaskMaker, clock: FakeClock) -> None:
    engine.put(new.many(2))
    settle(engine, lease_one(engine), SUCCEEDED)
    settle(engine, lease_one(engine), DIES)
    clock.advance(120)
    engine.sweep(Retention())
    folded = engine.totals(0, FOR_EVER)
    assert [(total.attempts, total.failures) for total in folded] == [(2, 1)]
    assert engine.sweep(Retention()).folded == 0
    assert engine.totals(0, FOR_EVER) == folded


def test_folding_keeps_queues_and_targets_apart(engine: LeasingEngine, new: TaskMaker, clock: FakeClock) -> None:
    engine.put([new("mail"), new("mail", target="shop:bill"), new("index")])
    settle_each(engine, lease(engine), SUCCEEDED)
    clock.advance(120)
    engine.sweep(Retention())
    keys = {(total.queue, total.target) for total in engine.totals(0, FOR_EVER)}
    assert keys == {("mail", "app:work"), ("mail", "shop:bill"), ("index", "app:work")}


def test_totals_go_when_their_retention_is_over(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    put()
    settle(engine, lease_one(engine), SUCCEEDED)
    clock.advance(3_600)
    engine.sweep(Retention(totals_s=7_200))
    assert len(engine.totals(0, FOR_EVER)) == 1
    clock.advance(7_200)
    engine.sweep(Retention(totals_s=7_200))
    assert engine.totals(0, FOR_EVER) == []


def test_the_oldest_totals_go_first(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    for _ in range(3):
        put()
        settle(engine, lease_one(engine), SUCCEEDED)
        clock.advance(3_600)
    engine.sweep(Retention(totals_s=9_000))
    assert [total.at for total in engine.totals(0, FOR_EVER)] == [START + 3_600 * US, START + 7_200 * US]
