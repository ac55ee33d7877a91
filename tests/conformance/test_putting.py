"""How tasks come in, and what is known of them afterwards."""

from __future__ import annotations

import pytest

from deferq.engines.answers import Clash, Stored
from deferq.engines.base import Filter, LeasingEngine
from deferq.errors import PayloadTooLargeError, TaskNotFound
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from deferq.model.task import Options
from tests.support import START, US, FakeClock, TaskMaker, lease


def test_a_task_that_was_put_is_pending_with_everything_it_came_with(engine: LeasingEngine, new: TaskMaker) -> None:
    retry = RetryPolicy(max_attempts=3)
    task = new(
        "mail", target="shop:send", in_s=60, expires_in_s=600, priority=7, name="welcome-1", route="eu", retry=retry
    )
    assert engine.put([task]) == [Stored(task.id)]
    (stored,) = engine.get([task.id])
    assert stored.state is State.PENDING
    assert (stored.queue, stored.target, stored.priority) == ("mail", "shop:send", 7)
    assert (stored.eta, stored.leasable_at, stored.first_due) == (task.eta, task.eta, task.eta)
    assert (stored.expires_at, stored.name, stored.route, stored.url) == (task.expires_at, "welcome-1", "eu", None)
    assert stored.options == Options(retry=retry)
    assert (stored.attempts, stored.starts, stored.parks) == (0, 0, 0)
    assert (stored.cancel_requested, stored.finished_at, stored.reason) == (False, None, None)


def test_the_url_of_a_task_is_kept(engine: LeasingEngine, new: TaskMaker) -> None:
    task = new(url="/tasks/mail")
    engine.put([task])
    assert engine.get([task.id])[0].url == "/tasks/mail"


def test_tasks_put_together_are_answered_in_their_order(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = [new(), new("mail", name="a"), new(priority=3)]
    assert engine.put(tasks[::-1]) == [Stored(task.id) for task in tasks[::-1]]


def test_putting_nothing_is_fine(engine: LeasingEngine) -> None:
    assert engine.put([]) == []


def test_thousands_of_tasks_can_be_put_in_one_call(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(5_000)
    assert len(engine.put(tasks)) == 5_000
    assert engine.counts().queues[0].ready == 5_000


def test_another_task_with_a_known_id_is_a_clash_and_changes_nothing(engine: LeasingEngine, new: TaskMaker) -> None:
    first = new(target="app:first")
    engine.put([first])
    other = new(target="app:other", task_id=first.id, payload=b"something else")
    assert engine.put([other]) == [Clash(first.id)]
    assert engine.get([first.id])[0].target == "app:first"
    assert engine.details(first.id).payload == first.payload


def test_the_same_task_put_once_more_counts_as_stored(engine: LeasingEngine, new: TaskMaker) -> None:
    """A caller that never saw the answer puts the same signed envelope again: that is its own task."""
    task = new(name="once")
    engine.put([task])
    assert engine.put([task]) == [Stored(task.id)]
    assert len(engine.find(Filter()).tasks) == 1


def test_the_same_large_task_put_once_more_counts_as_stored(engine: LeasingEngine, new: TaskMaker) -> None:
    task = new(payload=b"x" * 50_000)
    engine.put([task])
    assert engine.put([task]) == [Stored(task.id)]


def test_a_clash_does_not_hurt_the_other_tasks_of_the_call(engine: LeasingEngine, new: TaskMaker) -> None:
    first = new()
    engine.put([first])
    before, clash, after = new(), new(task_id=first.id, payload=b"another"), new()
    assert engine.put([before, clash, after]) == [Stored(before.id), Clash(first.id), Stored(after.id)]


@pytest.mark.parametrize("size", [0, 1, 1_000, 1_024, 1_025, 4_096, 100_000])
def test_a_payload_of_any_size_comes_back_byte_for_byte(engine: LeasingEngine, new: TaskMaker, size: int) -> None:
    payload = bytes(at * 7 % 256 for at in range(size))
    task = new(payload=payload)
    engine.put([task])
    assert engine.details(task.id).payload == payload
    assert engine.get([task.id])[0].payload_bytes == size
    assert lease(engine)[0].payload == payload


def test_a_payload_over_the_limit_is_refused_with_both_sizes(engine: LeasingEngine, new: TaskMaker) -> None:
    task = new(payload=b"x" * (engine.payload_limit + 1))
    with pytest.raises(PayloadTooLargeError) as caught:
        engine.put([task])
    assert (caught.value.size, caught.value.limit) == (engine.payload_limit + 1, engine.payload_limit)


def test_a_payload_over_the_limit_keeps_the_whole_call_out(engine: LeasingEngine, new: TaskMaker) -> None:
    fits, too_large = new(), new(payload=b"x" * (engine.payload_limit + 1))
    with pytest.raises(PayloadTooLargeError):
        engine.put([fits, too_large])
    assert engine.get([fits.id]) == []


def test_get_answers_in_the_order_asked_for_and_leaves_out_what_is_not_there(
    engine: LeasingEngine, new: TaskMaker
) -> None:
    a, b, c = new.many(3)
    engine.put([a, b, c])
    assert [task.id for task in engine.get([c.id, 1, a.id])] == [c.id, a.id]


def test_details_of_a_task_that_is_not_there_are_an_error(engine: LeasingEngine) -> None:
    with pytest.raises(TaskNotFound):
        engine.details(12345)


def test_a_new_task_has_neither_result_nor_failures(engine: LeasingEngine, new: TaskMaker) -> None:
    task = new()
    engine.put([task])
    details = engine.details(task.id)
    assert (details.result, details.failures) == (None, ())


def test_the_engine_takes_its_time_from_the_clock_it_was_given(engine: LeasingEngine, clock: FakeClock) -> None:
    assert engine.now() == START
    clock.advance(90)
    assert engine.now() == START + 90 * US


def test_a_queue_springs_into_being_with_its_first_task(engine: LeasingEngine, new: TaskMaker) -> None:
    assert engine.queues() == []
    engine.put([new("mail"), new("index"), new("mail")])
    assert [(queue.name, queue.paused) for queue in engine.queues()] == [("index", False), ("mail", False)]
