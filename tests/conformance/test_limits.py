"""What the limits of a queue promise, whoever leases: its rate, its concurrency, and that others do not feel them."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deferq.engines.base import Bell, LeasingEngine
from deferq.engines.declaring import declare
from deferq.errors import InvalidOption
from deferq.model.limits import Limit, Limits
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Retried
from deferq.model.queue import Queue
from deferq.model.retry import RetryPolicy
from deferq.model.settings import Declare, Pause, QueueSettings, ResetLimits, Resume, SetLimits
from deferq.model.task import Leased
from tests.conformance.engines import EngineFactory
from tests.support import START, US, FakeClock, TaskMaker, bury_stalled, lease, settle, settle_each, settlement, want

Put = Callable[..., int]
ONCE = RetryPolicy(max_attempts=1)


def limit(engine: LeasingEngine, queue: str = "mail", **limits: Limit) -> QueueSettings:
    """As an operator does."""
    (settings,) = engine.change_queues([(queue, SetLimits(limits))])
    return settings


def settings_of(engine: LeasingEngine, name: str) -> QueueSettings:
    return next(queue for queue in engine.queues() if queue.name == name)


@pytest.fixture
def bell(engine: LeasingEngine) -> Iterator[Bell]:
    with closing(engine.bell(1)) as bell:
        yield bell


def rang(bell: Bell) -> bool:
    return bell.wait(0)


# ---- how many at a time


def test_no_more_are_leased_at_a_time_than_the_queue_allows(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, max_concurrent=3)
    engine.put(new.many(10, "mail"))
    assert len(lease(engine)) == 3
    assert lease(engine) == []


def test_all_dispatchers_together_keep_to_it(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, max_concurrent=3)
    engine.put(new.many(10, "mail"))
    assert [len(lease(engine, 2)) for _ in range(3)] == [2, 1, 0]


def test_a_place_that_is_freed_can_be_taken_in_the_same_turn(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, max_concurrent=2)
    engine.put(new.many(5, "mail"))
    first, _ = lease(engine)
    turn = engine.turn([settlement(engine, first, SUCCEEDED)], want(10))
    assert len(turn.leased) == 1
    assert lease(engine) == []


@pytest.mark.parametrize("outcome", [SUCCEEDED, INTERRUPTED, Retried(after_s=0)])
def test_any_end_of_a_lease_frees_its_place(engine: LeasingEngine, new: TaskMaker, outcome: object) -> None:
    limit(engine, max_concurrent=1)
    engine.put(new.many(3, "mail"))
    for _ in range(5):
        for task in lease(engine):
            settle(engine, task, outcome)  # type: ignore[arg-type]
    limit(engine, max_concurrent=2)
    assert len(lease(engine)) == min(2, engine.counts().queues[0].leased)


def test_a_lease_that_is_over_keeps_its_place_until_its_task_is_rescued(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    """Its worker may only have been frozen: the task may still be running."""
    limit(engine, max_concurrent=1)
    engine.put(new.many(2, "mail"))
    lease(engine, lease_s=30)
    clock.advance(60)
    assert lease(engine) == []
    bury_stalled(engine)
    assert len(lease(engine)) == 1


def test_a_late_settlement_frees_no_place_a_second_time(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    limit(engine, max_concurrent=1)
    engine.put(new.many(3, "mail"))
    (late,) = lease(engine, lease_s=30)
    clock.advance(60)
    bury_stalled(engine)
    assert len(lease(engine)) == 1
    assert settle(engine, late, SUCCEEDED).lost == (late,)
    assert lease(engine) == []


def test_threads_that_lease_at_once_never_hold_more_than_it_allows(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, max_concurrent=3)
    engine.put(new.many(200, "mail"))
    held, most, done, lock = set[int](), [0], [0], threading.Lock()

    def work() -> None:
        while done[0] < 200:
            tasks = lease(engine, 2)
            with lock:
                held.update(task.id for task in tasks)
                most.append(len(held))
            with lock:
                held.difference_update(task.id for task in tasks)
                done[0] += len(tasks)
            settle_each(engine, tasks, SUCCEEDED)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [200]
    assert max(most) <= 3


# ---- how fast


def test_a_full_bucket_starts_at_once_and_then_the_rate_holds(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    limit(engine, rate="2/s", bucket_size=4)
    engine.put(new.many(20, "mail"))
    taken = [len(lease(engine)) for _ in (clock.advance(0.25) for _ in range(9))]
    assert taken == [4, 0, 1, 0, 1, 0, 1, 0, 1]


def test_all_dispatchers_together_keep_to_the_rate(engine: LeasingEngine, new: TaskMaker, clock: FakeClock) -> None:
    limit(engine, rate="3/s", bucket_size=3)
    engine.put(new.many(200, "mail"))
    dice = random.Random(5)
    times: list[int] = []
    for _ in range(300):
        now = clock.advance(dice.choice([0, 0.01, 0.1, 0.5]))
        times += [now] * len(lease(engine, dice.randrange(1, 4)))
    assert len(times) > 50
    for index, first in enumerate(times):
        for number, last in enumerate(times[index:], start=1):
            assert number <= 3 + (last - first) * 3 / US


def test_a_dispatcher_learns_when_the_rate_lets_the_next_task_start(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    limit(engine, rate="2/s", bucket_size=1)
    engine.put(new.many(3, "mail"))
    turn = engine.turn((), want(5))
    assert (len(turn.leased), turn.next_due) == (1, START + US // 2)
    clock.advance(0.1)
    assert engine.turn((), want(5)).next_due == START + US // 2
    clock.advance(0.4)
    turn = engine.turn((), want(5))
    assert (len(turn.leased), turn.next_due) == (1, START + US)


def test_a_task_that_is_due_before_the_next_token_is_the_next_to_look_for(engine: LeasingEngine, put: Put) -> None:
    limit(engine, rate="1/m", bucket_size=1)
    put("mail"), put("mail"), put("index", in_s=5)
    assert engine.turn((), want(5)).next_due == START + 5 * US


def test_a_queue_without_work_has_no_time_to_look_again(engine: LeasingEngine, put: Put) -> None:
    limit(engine, rate="1/m", bucket_size=1)
    put("mail")
    assert engine.turn((), want(5)).next_due is None
    assert engine.turn((), want(5)).next_due is None


def test_while_every_place_is_taken_the_rate_is_no_reason_to_look(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    limit(engine, rate="1/s", bucket_size=1, max_concurrent=1)
    engine.put(new.many(2, "mail"))
    assert engine.turn((), want(5)).next_due is None
    assert engine.turn((), want(5)).next_due is None


def test_what_was_not_used_is_saved_up_to_the_size_of_the_bucket(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    limit(engine, rate="1/s", bucket_size=3)
    engine.put(new.many(20, "mail"))
    assert len(lease(engine)) == 3
    clock.advance(2)
    assert len(lease(engine)) == 2
    clock.advance(3600)
    assert len(lease(engine)) == 3


def test_a_retry_needs_a_token_and_a_task_given_back_has_used_one(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    limit(engine, rate="1/m", bucket_size=2)
    engine.put(new.many(1, "mail"))
    for outcome in (Retried(after_s=0), INTERRUPTED):
        (task,) = lease(engine)
        settle(engine, task, outcome)
    assert lease(engine) == []
    clock.advance(60)
    assert len(lease(engine)) == 1


def test_a_clock_that_is_set_back_holds_a_queue_up_for_no_longer_than_its_rate_does(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.put(new.many(20, "mail", in_s=-7200))
    limit(engine, rate="1/s", bucket_size=2)
    assert len(lease(engine)) == 2
    clock.advance(-3600)
    turn = engine.turn((), want(5))
    assert (turn.leased, turn.next_due) == ([], clock() + US)
    clock.advance(1)
    assert len(lease(engine)) == 1
    clock.advance(7200)
    assert len(lease(engine)) == 2


# ---- beside other queues


def test_other_queues_get_what_a_queue_at_its_limit_leaves(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, "a", max_concurrent=1)
    limit(engine, "b", rate="1/m", bucket_size=2)
    for queue in ("a", "b", "c"):
        engine.put(new.many(20, queue))
    assert Counter(task.queue for task in lease(engine, 12)) == {"a": 1, "b": 2, "c": 9}
    assert Counter(task.queue for task in lease(engine, 5)) == {"c": 5}


def test_limited_queues_share_with_the_others_as_ever(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, "a", max_concurrent=100)
    engine.put(new.many(20, "a"))
    engine.put(new.many(20, "b"))
    assert Counter(task.queue for task in lease(engine, 6)) == {"a": 3, "b": 3}


def test_queues_at_their_limit_take_turns(engine: LeasingEngine, new: TaskMaker) -> None:
    for queue in ("a", "b", "c"):
        limit(engine, queue, rate="1000/s")
        engine.put(new.many(10, queue))
    served = Counter(lease(engine, 1, rotation=rotation)[0].queue for rotation in range(6))
    assert served == {"a": 2, "b": 2, "c": 2}


def test_a_limited_queue_is_leased_for_free_slots_alone_and_stands_in_front(
    engine: LeasingEngine, new: TaskMaker
) -> None:
    limit(engine, rate="100/s")
    engine.put(new.many(10, "index"))
    engine.put(new.many(10, "mail"))
    leased = lease(engine, 2, ahead=20)
    assert [task.queue for task in leased] == ["mail"] * 2 + ["index"] * 10
    assert {task.queue for task in lease(engine, 0, ahead=20)} == set()


def test_with_no_free_slot_a_limited_queue_is_no_reason_to_look_again(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, rate="1/s", bucket_size=1)
    engine.put(new.many(2, "mail"))
    lease(engine, 1)
    assert engine.turn((), want(0, ahead=5)).next_due is None


def test_tasks_of_a_single_start_in_a_limited_queue_need_one_slot_each(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, max_concurrent=4)
    engine.put([new("mail", retry=ONCE) for _ in range(6)])
    assert len(lease(engine, 3, ahead=5)) == 3
    assert len(lease(engine, 3)) == 1


def test_within_a_limited_queue_the_order_is_as_ever(engine: LeasingEngine, put: Put) -> None:
    limit(engine, max_concurrent=2)
    low, normal, high = put("mail", priority=-1), put("mail"), put("mail", priority=1)
    first = lease(engine)
    assert [task.id for task in first] == [high, normal]
    settle_each(engine, first, SUCCEEDED)
    assert [task.id for task in lease(engine)] == [low]


def test_many_limited_queues_share_a_large_batch(engine: LeasingEngine, new: TaskMaker) -> None:
    for number in range(30):
        limit(engine, f"queue-{number}", max_concurrent=number % 5 + 1)
        engine.put(new.many(10, f"queue-{number}"))
        engine.put(new.many(1, f"free-{number}"))
    leased = Counter(task.queue for task in lease(engine, 200, rotation=7))
    assert all(leased[f"queue-{number}"] == number % 5 + 1 for number in range(30))
    assert all(leased[f"free-{number}"] == 1 for number in range(30))


# ---- who learns of a freed place


def held(engine: LeasingEngine, new: TaskMaker, waiting: int, **limits: Limit) -> Leased:
    """One task of the queue is leased, which is all that it allows, and so many wait."""
    limit(engine, **{"max_concurrent": 1, **limits})
    engine.put(new.many(1 + waiting, "mail"))
    (leased,) = lease(engine)
    return leased


def test_a_freed_place_rings_if_a_task_waits_for_it(engine: LeasingEngine, bell: Bell, new: TaskMaker) -> None:
    leased = held(engine, new, waiting=1)
    rang(bell)
    settle(engine, leased, SUCCEEDED)
    assert rang(bell)


def test_a_freed_place_rings_also_in_a_turn_that_wants_other_queues(
    engine: LeasingEngine, bell: Bell, new: TaskMaker
) -> None:
    leased = held(engine, new, waiting=1)
    rang(bell)
    engine.turn([settlement(engine, leased, SUCCEEDED)], want(queues=["index"]))
    assert rang(bell)


def test_a_place_that_is_taken_at_once_rings_nobody(engine: LeasingEngine, bell: Bell, new: TaskMaker) -> None:
    leased = held(engine, new, waiting=2)
    rang(bell)
    assert len(engine.turn([settlement(engine, leased, SUCCEEDED)], want()).leased) == 1
    assert not rang(bell)


def test_a_place_that_nobody_waits_for_rings_nobody(engine: LeasingEngine, bell: Bell, new: TaskMaker) -> None:
    leased = held(engine, new, waiting=0)
    rang(bell)
    settle(engine, leased, SUCCEEDED)
    assert not rang(bell)


def test_a_place_in_a_paused_queue_rings_nobody(engine: LeasingEngine, bell: Bell, new: TaskMaker) -> None:
    leased = held(engine, new, waiting=1)
    engine.change_queues([("mail", Pause())])
    rang(bell)
    settle(engine, leased, SUCCEEDED)
    assert not rang(bell)


def test_a_place_that_the_rate_keeps_empty_rings_nobody(engine: LeasingEngine, bell: Bell, new: TaskMaker) -> None:
    leased = held(engine, new, waiting=1, rate="1/m", bucket_size=1)
    rang(bell)
    settle(engine, leased, SUCCEEDED)
    assert not rang(bell)


# ---- changes while tasks run


def test_a_limit_that_is_lowered_lets_running_tasks_go_on(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(10, "mail"))
    running = lease(engine, 5)
    limit(engine, max_concurrent=2)
    assert lease(engine) == []
    settle_each(engine, running[:3], SUCCEEDED)
    assert lease(engine) == []
    settle_each(engine, running[3:], SUCCEEDED)
    assert len(lease(engine)) == 2


def test_a_limit_that_is_raised_rings_and_holds_at_once(engine: LeasingEngine, bell: Bell, new: TaskMaker) -> None:
    held(engine, new, waiting=5)
    rang(bell)
    limit(engine, max_concurrent=3)
    assert rang(bell)
    assert len(lease(engine)) == 2


def test_a_rate_that_is_raised_holds_at_once(
    engine: LeasingEngine, bell: Bell, new: TaskMaker, clock: FakeClock
) -> None:
    limit(engine, rate="1/d", bucket_size=1)
    engine.put(new.many(50, "mail"))
    assert len(lease(engine)) == 1
    rang(bell)
    limit(engine, rate="10/s")
    assert rang(bell)
    turn = engine.turn((), want(10))
    assert (turn.leased, turn.next_due) == ([], START + US // 10)
    clock.advance(1)
    assert len(lease(engine)) == 1  # the size of the bucket has stayed


def test_a_limit_that_is_taken_away_rings_and_is_gone(engine: LeasingEngine, bell: Bell, new: TaskMaker) -> None:
    held(engine, new, waiting=5, rate="1/d")
    rang(bell)
    limit(engine, max_concurrent=None, rate=None)
    assert rang(bell)
    assert len(lease(engine)) == 5


def test_a_paused_queue_with_limits_gives_nothing(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, max_concurrent=2)
    engine.put(new.many(3, "mail"))
    engine.change_queues([("mail", Pause())])
    turn = engine.turn((), want())
    assert (turn.leased, turn.next_due) == ([], None)
    engine.change_queues([("mail", Resume())])
    assert len(lease(engine)) == 2


def test_a_purged_queue_keeps_its_limits_and_its_running_tasks(engine: LeasingEngine, new: TaskMaker) -> None:
    limit(engine, max_concurrent=2)
    engine.put(new.many(10, "mail"))
    running = lease(engine)
    assert engine.purge("mail", limit=5) == 5
    assert engine.purge("mail") == 3
    assert engine.purge("mail") == 0
    engine.put(new.many(3, "mail"))
    assert lease(engine) == []
    assert settle_each(engine, running, SUCCEEDED).lost == ()
    assert len(lease(engine)) == 2


# ---- declared, and set by an operator


def test_what_the_application_declares_holds(engine: LeasingEngine, new: TaskMaker) -> None:
    assert declare(engine, {"mail": Queue(max_concurrent=2), "index": Queue()}) == ["mail"]
    assert settings_of(engine, "mail").limits == Limits(max_concurrent=2)
    engine.put(new.many(5, "mail"))
    assert len(lease(engine)) == 2


def test_what_is_declared_already_is_not_written_again(engine: LeasingEngine, bell: Bell) -> None:
    queues = {"mail": Queue(rate=5, bucket_size=9), "index": Queue()}
    assert declare(engine, queues) == ["mail"]
    rang(bell)
    assert declare(engine, queues) == []
    assert not rang(bell)
    assert declare(engine, {"mail": Queue()}) == ["mail"]
    assert settings_of(engine, "mail") == QueueSettings(name="mail")


def test_an_operators_limit_wins_over_the_declared_one_until_it_is_reset(engine: LeasingEngine) -> None:
    declare(engine, {"mail": Queue(rate="5/s", max_concurrent=4)})
    assert limit(engine, rate="1/m").limits == Limits(rate="1/m", max_concurrent=4)
    declare(engine, {"mail": Queue(rate="9/s", max_concurrent=7)})
    settings = settings_of(engine, "mail")
    assert settings.limits == Limits(rate="1/m", max_concurrent=7)
    assert (settings.origin("rate"), settings.origin("max_concurrent")) == ("set", "declared")
    engine.change_queues([("mail", ResetLimits())])
    assert settings_of(engine, "mail").limits == Limits(rate="9/s", max_concurrent=7)


def test_an_operator_can_take_a_declared_limit_away(engine: LeasingEngine, new: TaskMaker) -> None:
    declare(engine, {"mail": Queue(max_concurrent=1)})
    limit(engine, max_concurrent=None)
    engine.put(new.many(5, "mail"))
    assert len(lease(engine)) == 5


def test_a_queue_that_is_declared_to_be_paused_gives_nothing_until_an_operator_resumes_it(
    engine: LeasingEngine, new: TaskMaker, bell: Bell
) -> None:
    declare(engine, {"mail": Queue(paused=True)})
    engine.put(new.many(2, "mail"))
    assert lease(engine) == []
    rang(bell)
    engine.change_queues([("mail", Resume())])
    assert rang(bell)
    assert len(lease(engine, 1)) == 1
    engine.change_queues([("mail", ResetLimits())])
    assert lease(engine) == []


def test_a_queue_that_is_declared_to_go_on_wakes_who_waits_for_it(
    engine: LeasingEngine, new: TaskMaker, bell: Bell
) -> None:
    declare(engine, {"mail": Queue(paused=True)})
    engine.put(new.many(2, "mail"))
    rang(bell)
    declare(engine, {"mail": Queue()})
    assert rang(bell)
    assert len(lease(engine)) == 2


def test_what_an_operator_has_paused_stays_paused_whatever_is_declared(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.change_queues([("mail", Pause())])
    for queue in (Queue(rate="5/s"), Queue(paused=True), Queue()):
        declare(engine, {"mail": queue})
        assert settings_of(engine, "mail").paused
    engine.put(new.many(2, "mail"))
    assert lease(engine) == []


def test_all_that_is_declared_of_a_queue_is_known_to_the_store(engine: LeasingEngine) -> None:
    policy = RetryPolicy(max_attempts=None, max_age_s=60, min_backoff_s=2, jitter=False)
    declared = Queue(rate="1/s", retry=policy, route="eu", paused=True, pull=True, source="queue.yaml")
    assert declare(engine, {"mail": declared}) == ["mail"]
    engine.change_queues([("mail", Resume())])
    settings = settings_of(engine, "mail")
    assert (settings.declared, settings.paused) == (declared, False)
    assert declare(engine, {"mail": declared}) == []


def test_changes_of_several_queues_apply_together_or_not_at_all(engine: LeasingEngine) -> None:
    with pytest.raises(InvalidOption, match="rate: "):
        engine.change_queues([("mail", Pause()), ("index", SetLimits({"rate": "often"}))])
    assert engine.queues() == []
    answers = engine.change_queues([("mail", Pause()), ("index", Declare(Queue(rate="5/s")))])
    assert [(queue.name, queue.paused, queue.limits.rate) for queue in answers] == [
        ("mail", True, None),
        ("index", False, "5/s"),
    ]


def test_settings_are_there_when_the_store_is_opened_again(
    make_engine: EngineFactory, tmp_path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    with closing(make_engine(tmp_path, clock)) as first:
        if first.url == "memory://":
            pytest.skip("what is in memory ends with the engine")
        declare(first, {"mail": Queue(rate="2/s", bucket_size=2)})
        limit(first, max_concurrent=None, rate="1/s")
        declare(first, {"index": Queue(paused=True, route="eu", retry=RetryPolicy(max_attempts=2))})
        first.change_queues([("index", Resume()), ("old", Pause())])
        first.put(new.many(9, "mail"))
        assert len(lease(first)) == 2
        before = first.queues()
    with closing(make_engine(tmp_path, clock)) as second:
        assert second.queues() == before
        assert lease(second) == []
        clock.advance(1)
        assert len(lease(second)) == 1
