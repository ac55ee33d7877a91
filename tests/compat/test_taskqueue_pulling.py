"""Pull queues, deleting, purging and statistics: what App Engine's own library could not be asked about."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from deferq import Deferq, InvalidOption, Queue, RetryPolicy, State
from deferq.cli.snapshot import take
from deferq.cli.warning import warnings_of
from deferq.compat.appengine import deferred, taskqueue
from deferq.engines.base import Filter, system_clock
from deferq.model.settings import Declare, Pause
from deferq.runtime.worker import Worker
from tests.compat.conftest import every_store
from tests.support.pushing import until

pytestmark = every_store
WAIT_S = 60


class Later:
    """The clock of the machine, moved on."""

    def __init__(self) -> None:
        self.by_us = 0

    def __call__(self) -> int:
        return system_clock() + self.by_us

    def advance(self, seconds: float) -> None:
        self.by_us += round(seconds * 1e6)


@pytest.fixture
def later(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> Later:
    """`later.advance(60)`: a minute goes by for the store."""
    clock = Later()
    monkeypatch.setattr(app.engine, "_clock", clock)
    return clock


def pulled(*payloads: str, **options: Any) -> list[taskqueue.Task]:
    tasks: list[taskqueue.Task] = taskqueue.Queue("pull").add(
        [taskqueue.Task(text, method="PULL", **options) for text in payloads]
    )
    return tasks


def row(app: Deferq, state: State) -> Any:
    """The only task in this state."""
    (found,) = app.engine.find(Filter(state=state)).tasks
    return found


# ---- which queues


def test_a_queue_that_nobody_declared_takes_the_mode_of_its_first_task(app: Deferq) -> None:
    pulled("x")
    assert [task.payload for task in taskqueue.Queue("pull").lease_tasks(60, 10)] == [b"x"]
    with pytest.raises(taskqueue.InvalidQueueModeError, match="pull queue"):
        taskqueue.add("y", queue_name="pull")
    taskqueue.add("y", queue_name="mail")
    with pytest.raises(taskqueue.InvalidQueueModeError, match="push queue"):
        taskqueue.add("y", queue_name="mail", method="PULL")
    with pytest.raises(taskqueue.InvalidQueueModeError):
        taskqueue.add("y", method="PULL")


def test_a_queue_with_calls_in_it_does_not_become_a_pull_queue(app: Deferq) -> None:
    app.call(print).defer(queue="mixed")
    with pytest.raises(taskqueue.InvalidQueueModeError):
        taskqueue.add("y", queue_name="mixed", method="PULL")


def test_where_queues_are_declared_the_declaration_counts(configured: Callable[..., Deferq]) -> None:
    configured(queues={"push": Queue(), "pull": Queue(pull=True)})
    with pytest.raises(taskqueue.InvalidQueueModeError):
        taskqueue.add("x", queue_name="push", method="PULL")
    with pytest.raises(taskqueue.UnknownQueueError, match=r"'pulll'.*'pull'"):
        taskqueue.add("x", queue_name="pulll", method="PULL")
    assert taskqueue.Queue("pull").lease_tasks(1, 1) == []


def test_calls_do_not_go_into_a_queue_that_is_declared_to_be_pulled_from(configured: Callable[..., Deferq]) -> None:
    app = configured(queues={"pull": Queue(pull=True)})
    with pytest.raises(InvalidOption, match="pull queue"):
        app.call(print).defer(queue="pull")
    with pytest.raises(taskqueue.InvalidQueueModeError):
        deferred.defer(print, _queue="pull")


def test_nothing_is_leased_from_a_queue_that_nobody_has_used_yet(app: Deferq) -> None:
    assert taskqueue.Queue("new").lease_tasks(60, 10) == []
    assert app.engine.queues() == []


def test_workers_never_run_what_is_to_be_pulled(app: Deferq, start_worker: Callable[..., Worker]) -> None:
    seen: list[str] = []

    def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b""]

    app.wrap_wsgi(view)
    pulled("x", "y")
    start_worker(app)
    taskqueue.add(url="/pushed")
    until(lambda: seen, "nothing was delivered")
    assert seen == ["/pushed"]
    assert len(taskqueue.Queue("pull").lease_tasks(60, 10)) == 2


def test_a_worker_parks_what_is_to_be_pulled_where_the_queue_is_none_any_more(
    app: Deferq, start_worker: Callable[..., Worker]
) -> None:
    pulled("x")
    app.engine.change_queues([("pull", Declare(Queue()))])
    start_worker(app)
    until(lambda: app.engine.find(Filter()).tasks[0].parks, "it was not parked")
    app.engine.change_queues([("pull", Declare(Queue(pull=True)))])
    (parked,) = app.engine.find(Filter()).tasks
    assert "pull" in app.engine.details(parked.id).failures[0].message
    app.engine.wake()
    assert [task.payload for task in taskqueue.Queue("pull").lease_tasks(60, 1)] == [b"x"]


def test_status_and_doctor_expect_no_worker_for_it(app: Deferq, later: Later) -> None:
    pulled("x", "y")
    taskqueue.Queue("pull").lease_tasks(1, 1)
    later.advance(3600)
    assert [warned.code for warned in warnings_of(take(app.engine)) if warned.serious] == []


# ---- leases


def test_a_lease_that_is_over_lets_others_have_the_task(app: Deferq, later: Later) -> None:
    (task,) = pulled("x")
    queue = taskqueue.Queue("pull")
    (first,) = queue.lease_tasks(600, 1)
    later.advance(400)
    assert queue.lease_tasks(60, 1) == []
    later.advance(201)
    (second,) = queue.lease_tasks(60, 1)
    assert (first.name, first.retry_count) == (task.name, 1)
    assert (second.name, second.retry_count) == (task.name, 2)
    with pytest.raises(taskqueue.TaskLeaseExpiredError):
        queue.modify_task_lease(first, 60)


def test_a_worker_that_looks_after_the_store_frees_it_just_so(
    app: Deferq, later: Later, start_worker: Callable[..., Worker]
) -> None:
    pulled("x")
    queue = taskqueue.Queue("pull")
    queue.lease_tasks(60, 1)
    later.advance(61)
    start_worker(app)
    until(lambda: app.engine.find(Filter(state=State.PENDING)).tasks, "it was not freed")
    freed = row(app, State.PENDING)
    assert (freed.reason, freed.crashes, freed.attempts) == ("lease over", 0, 1)
    (again,) = queue.lease_tasks(60, 1)
    assert again.retry_count == 2


def test_a_task_that_was_leased_too_often_is_kept_as_dead(app: Deferq, later: Later) -> None:
    pulled("x", retry_options=taskqueue.TaskRetryOptions(task_retry_limit=1), name="once")
    queue = taskqueue.Queue("pull")
    assert len(queue.lease_tasks(60, 1)) == 1
    later.advance(61)
    assert queue.lease_tasks(60, 1) == []
    dead = row(app, State.DEAD)
    assert dead.reason == "attempts spent, last: lease over"
    assert app.engine.requeue([dead.id]) == [dead.id]
    assert [task.name for task in queue.lease_tasks(60, 1)] == ["once"]


def test_without_a_limit_it_can_be_leased_any_number_of_times(app: Deferq, later: Later) -> None:
    pulled("x")
    for count in range(1, 41):
        (task,) = taskqueue.Queue("pull").lease_tasks(1, 1)
        assert task.retry_count == count
        later.advance(2)


def test_the_limit_of_the_queue_holds_where_the_task_has_none(configured: Callable[..., Deferq]) -> None:
    configured(queues={"pull": Queue(pull=True, retry=RetryPolicy(max_attempts=1))})
    pulled("x")
    queue = taskqueue.Queue("pull")
    queue.modify_task_lease(queue.lease_tasks(60, 1)[0], 0)
    assert queue.lease_tasks(60, 1) == []


def test_a_paused_queue_gives_nothing_and_moves_no_lease(app: Deferq) -> None:
    pulled("x", "y")
    queue = taskqueue.Queue("pull")
    (task,) = queue.lease_tasks(60, 1)
    app.engine.change_queues([("pull", Pause())])
    assert queue.lease_tasks(60, 1) == []
    with pytest.raises(taskqueue.QueuePausedError):
        queue.modify_task_lease(task, 60)
    assert queue.delete_tasks(task).was_deleted


def test_a_task_that_waits_can_be_put_off_by_its_eta(app: Deferq) -> None:
    (task,) = pulled("x", countdown=60)
    queue = taskqueue.Queue("pull")
    queue.modify_task_lease(task, 600)
    assert row(app, State.PENDING).eta == task._eta_usec


def test_a_thousand_are_leased_at_once(app: Deferq) -> None:
    for start in range(0, 1_100, 100):
        pulled(*(str(number) for number in range(start, start + 100)))
    queue = taskqueue.Queue("pull")
    first = [int(task.payload or 0) for task in queue.lease_tasks(60, 1_000)]
    assert first == list(range(1_000))
    assert len(queue.lease_tasks(60, 1_000)) == 100


def test_two_who_pull_at_the_same_time_never_get_the_same(app: Deferq) -> None:
    for _ in range(3):
        pulled(*("x" * 1 for _ in range(100)))
    got: list[str] = []

    def pull() -> None:
        while leased := taskqueue.Queue("pull").lease_tasks(60, 7):
            got.extend(str(task.name) for task in leased)

    threads = [threading.Thread(target=pull) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 300


def test_what_was_changed_in_the_store_is_not_given_out(app: Deferq) -> None:
    (genuine,) = pulled("x")
    task = app.engine.get([int(genuine.name or 0)])[0]
    payload = app.engine.details(task.id).payload or b""
    from deferq.model.task import NewTask

    app.engine.put(
        [NewTask(task.id + 1, "pull", task.target, 0, 0, None, False, None, "raise", None, None, None, payload)]
    )
    assert [task.payload for task in taskqueue.Queue("pull").lease_tasks(60, 10)] == [b"x"]
    assert row(app, State.DEAD).reason == "corrupt"


# ---- deleting


def test_a_leased_pull_task_that_is_deleted_has_succeeded(app: Deferq) -> None:
    pulled("x", name="done")
    queue = taskqueue.Queue("pull")
    (task,) = queue.lease_tasks(60, 1)
    assert queue.delete_tasks_by_name("done").was_deleted
    assert row(app, State.SUCCEEDED).name == "done"
    with pytest.raises(taskqueue.TombstonedTaskError):
        pulled("x", name="done")
    assert not queue.delete_tasks(task).was_deleted
    with pytest.raises(taskqueue.TombstonedTaskError):
        queue.modify_task_lease(task, 60)


def test_a_running_push_task_that_is_deleted_is_not_tried_again(
    app: Deferq, start_worker: Callable[..., Worker]
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun.set()
        go_on.wait(WAIT_S)
        start_response("500 Oh", [])
        return [b""]

    app.wrap_wsgi(view)
    start_worker(app)
    task = taskqueue.add(url="/x", name="runs")
    assert begun.wait(WAIT_S)
    assert taskqueue.Queue().delete_tasks(task).was_deleted
    go_on.set()
    until(lambda: app.engine.find(Filter(state=State.CANCELLED)).tasks, "it was not cancelled")


def test_a_task_without_a_name_is_deleted_by_the_one_it_was_given(app: Deferq) -> None:
    task, other = taskqueue.add(url="/x"), taskqueue.add(url="/x", queue_name="mail")
    assert not taskqueue.Queue().delete_tasks_by_name(str(other.name)).was_deleted
    assert taskqueue.Queue().delete_tasks_by_name(str(task.name)).was_deleted
    assert taskqueue.Queue("mail").delete_tasks(other).was_deleted


@pytest.mark.parametrize("name", ["0", "00", "9" * 19, "9" * 30, "x"])
def test_names_that_nobody_has_are_no_error(app: Deferq, name: str) -> None:
    assert not taskqueue.Queue().delete_tasks_by_name(name).was_deleted


def test_a_name_that_was_made_for_another_task_is_taken(app: Deferq) -> None:
    task = taskqueue.add(url="/x")
    with pytest.raises(taskqueue.TaskAlreadyExistsError):
        taskqueue.add(url="/x", name=task.name)
    taskqueue.add(url="/x", name=task.name, queue_name="mail")


def test_a_purge_takes_what_waits_and_what_is_leased(app: Deferq) -> None:
    pulled("x", "y", "z", name=None)
    queue = taskqueue.Queue("pull")
    (task,) = queue.lease_tasks(60, 1)
    queue.purge()
    assert queue.fetch_statistics().tasks == 0
    assert not queue.delete_tasks(task).was_deleted
    assert row(app, State.CANCELLED).reason == "purged"


# ---- statistics


def test_statistics_tell_what_waits_runs_and_ran(app: Deferq, later: Later) -> None:
    queue = taskqueue.Queue("pull")
    made = pulled("a", "b", "c", countdown=-30)
    pulled("d", countdown=600)
    first = queue.fetch_statistics()
    assert (first.queue, first.tasks, first.in_flight, first.executed_last_minute) == (queue, 4, 0, 0)
    assert first.oldest_eta_usec == made[0]._eta_usec
    queue.delete_tasks(queue.lease_tasks(60, 2))
    second = queue.fetch_statistics()
    assert (second.tasks, second.in_flight, second.executed_last_minute) == (2, 0, 2)
    queue.lease_tasks(600, 10)
    third = queue.fetch_statistics()
    assert (third.tasks, third.in_flight, third.oldest_eta_usec) == (2, 1, None)
    later.advance(125)
    assert queue.fetch_statistics().executed_last_minute == 0


def test_statistics_tell_the_rate_that_holds(configured: Callable[..., Deferq]) -> None:
    app = configured(queues={"slow": Queue(rate="30/m"), "free": Queue()})
    taskqueue.add(queue_name="slow")
    slow, free = taskqueue.QueueStatistics.fetch(["slow", "free"])
    assert (slow.enforced_rate, free.enforced_rate) == (0.5, None)
    app.engine.change_queues([("slow", Pause())])
    assert taskqueue.Queue("slow").fetch_statistics().enforced_rate == 0.0
