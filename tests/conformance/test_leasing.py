"""Who gets which task, and when."""

from __future__ import annotations

from collections.abc import Callable

from deferq.engines.base import LeasingEngine
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Retried
from deferq.model.retry import RetryPolicy
from deferq.model.settings import Pause, Resume
from deferq.model.state import State
from tests.support import START, US, FakeClock, TaskMaker, lease, lease_one, settle, settle_each, settlement, want

Put = Callable[..., int]
ONCE = RetryPolicy(max_attempts=1)


def test_a_leased_task_carries_all_that_running_and_settling_it_needs(engine: LeasingEngine, new: TaskMaker) -> None:
    task = new(
        "mail", target="shop:send", priority=5, expires_in_s=60, name="n", route="eu", retry=RetryPolicy(max_attempts=3)
    )
    engine.put([task])
    wanted = want(1, lease_s=30)
    (leased,) = engine.turn((), wanted).leased
    assert (leased.id, leased.queue, leased.target, leased.priority) == (task.id, "mail", "shop:send", 5)
    assert (leased.eta, leased.first_due, leased.expires_at) == (task.eta, task.eta, task.expires_at)
    assert (leased.name, leased.route, leased.url) == ("n", "eu", None)
    assert (leased.options, leased.payload) == (task.options, task.payload)
    assert leased.retry == RetryPolicy(max_attempts=3)
    assert (leased.attempts, leased.starts, leased.parks, leased.cancel_requested) == (0, 1, 0, False)
    assert (leased.lease_id, leased.leased_until) == (wanted.lease_id, START + 30 * US)


def test_the_store_shows_a_lease_with_its_id_and_its_end(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    leased = lease_one(engine, lease_s=45)
    (task,) = engine.get([task_id])
    assert task.state is State.LEASED
    assert (task.lease_id, task.leasable_at, task.eta) == (leased.lease_id, START + 45 * US, START)
    assert task.starts == 1


def test_the_largest_lease_id_there_can_be_comes_back_unchanged(engine: LeasingEngine, put: Put) -> None:
    put()
    wanted = want(1)._replace(lease_id=2**63 - 1)
    (leased,) = engine.turn((), wanted).leased
    assert leased.lease_id == 2**63 - 1
    assert settle(engine, leased, SUCCEEDED).lost == ()


def test_an_empty_engine_leases_nothing(engine: LeasingEngine) -> None:
    turn = engine.turn((), want(10))
    assert (turn.leased, turn.lost, turn.next_due, turn.now) == ([], (), None, START)


def test_no_more_is_leased_than_was_wanted(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(10))
    assert len(lease(engine, 3, ahead=4)) == 7
    assert len(lease(engine, 0, ahead=2)) == 2
    assert lease(engine, 0) == []
    assert len(lease(engine, 10)) == 1


def test_a_turn_that_wants_nothing_leases_nothing(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    assert engine.turn((), None).leased == []
    assert engine.get([task_id])[0].state is State.PENDING


def test_a_leased_task_is_not_leased_again(engine: LeasingEngine, put: Put) -> None:
    put()
    lease_one(engine)
    assert lease(engine) == []


def test_a_stalled_task_is_not_leased_directly(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    """Its old lease has to be settled first, so that backoff and burial are decided in one place."""
    put()
    lease_one(engine, lease_s=30)
    clock.advance(31)
    assert lease(engine) == []


def test_a_task_is_leased_at_its_eta_and_not_before(engine: LeasingEngine, put: Put, clock: FakeClock) -> None:
    task_id = put(in_s=60)
    clock.advance(59.999_999)
    assert lease(engine) == []
    clock.advance(0.000_001)
    assert lease_one(engine).id == task_id


def test_a_turn_names_the_next_due_time_when_it_found_less_than_wanted(engine: LeasingEngine, put: Put) -> None:
    put()
    put(in_s=90)
    put(in_s=60, priority=-5)
    put("mail", in_s=75)
    turn = engine.turn((), want(10))
    assert len(turn.leased) == 1
    assert turn.next_due == START + 60 * US


def test_a_turn_that_settles_a_failure_names_the_time_of_its_retry(engine: LeasingEngine, put: Put) -> None:
    put()
    failed = settlement(engine, lease_one(engine), Retried(after_s=30))
    assert engine.turn([failed], want(1)).next_due == START + 30 * US


def test_a_turn_that_found_all_it_wanted_names_no_time(engine: LeasingEngine, put: Put) -> None:
    put()
    put(in_s=60)
    assert engine.turn((), want(1)).next_due is None


def test_the_next_due_time_is_that_of_the_wanted_queues(engine: LeasingEngine, put: Put) -> None:
    put("mail", in_s=30)
    put("index", in_s=60)
    assert engine.turn((), want(1, queues=["index"])).next_due == START + 60 * US


def test_a_paused_queue_has_no_next_due_time(engine: LeasingEngine, put: Put) -> None:
    put("mail", in_s=30)
    engine.change_queues([("mail", Pause())])
    assert engine.turn((), want(1)).next_due is None


def test_the_end_of_a_lease_is_no_due_time(engine: LeasingEngine, put: Put) -> None:
    put()
    lease_one(engine)
    assert engine.turn((), want(1)).next_due is None


def test_only_the_wanted_queues_are_served(engine: LeasingEngine, put: Put) -> None:
    mail, _, index = put("mail"), put("other"), put("index")
    assert {task.id for task in lease(engine, queues=["mail", "index", "unheard-of"])} == {mail, index}


def test_a_worker_that_wants_no_queue_gets_nothing(engine: LeasingEngine, put: Put) -> None:
    put()
    assert lease(engine, queues=[]) == []


def test_a_paused_queue_takes_tasks_and_gives_none(engine: LeasingEngine, put: Put) -> None:
    engine.change_queues([("mail", Pause())])
    mail, other = put("mail"), put("index")
    assert [task.id for task in lease(engine)] == [other]
    engine.change_queues([("mail", Resume())])
    assert [task.id for task in lease(engine)] == [mail]


def test_a_task_that_was_leased_before_its_queue_was_paused_can_be_settled(engine: LeasingEngine, put: Put) -> None:
    task_id = put("mail")
    leased = lease_one(engine)
    engine.change_queues([("mail", Pause())])
    assert settle(engine, leased, SUCCEEDED).lost == ()
    assert engine.get([task_id])[0].state is State.SUCCEEDED


def test_a_worker_with_a_route_takes_that_route_and_unrouted_tasks(engine: LeasingEngine, put: Put) -> None:
    eu, us, free = put(route="eu"), put(route="us"), put()
    assert {task.id for task in lease(engine, route="eu")} == {eu, free}
    assert [task.id for task in lease(engine, route="us")] == [us]


def test_a_dispatcher_may_want_some_routes_and_no_unrouted_tasks(engine: LeasingEngine, put: Put) -> None:
    eu, us, asia, free = put(route="eu"), put(route="us"), put(route="asia"), put()
    assert {task.id for task in lease(engine, routes=("eu", "us"))} == {eu, us}
    assert [task.id for task in lease(engine, routes=(None,))] == [free]
    assert [task.id for task in lease(engine, routes=(None, "asia"))] == [asia]


def test_a_worker_without_a_route_takes_every_route(engine: LeasingEngine, put: Put) -> None:
    tasks = {put(route="eu"), put(route="us"), put()}
    assert {task.id for task in lease(engine)} == tasks


def test_tasks_of_another_route_do_not_hide_those_behind_them(engine: LeasingEngine, put: Put, new: TaskMaker) -> None:
    engine.put(new.many(50, route="us", priority=9))
    engine.put(new.many(50, route="us"))
    mine = put(route="eu")
    assert [task.id for task in lease(engine, 3, route="eu")] == [mine]


def test_a_task_with_its_own_url_waits_for_somebody_who_delivers(engine: LeasingEngine, put: Put) -> None:
    delivered, called = put(url="/tasks/mail", priority=9), put()
    assert [task.id for task in lease(engine)] == [called]
    assert engine.get([delivered])[0].state is State.PENDING


def test_tasks_of_a_single_start_are_leased_into_free_slots_only(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(5, retry=ONCE))
    assert lease(engine, 0, ahead=10) == []
    assert len(lease(engine, 2, ahead=10)) == 2


def test_tasks_of_a_single_start_do_not_hide_those_behind_them(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(20, retry=ONCE, priority=5))
    engine.put(new.many(20, retry=ONCE))
    ordinary = new.many(3)
    engine.put(ordinary)
    assert {task.id for task in lease(engine, 0, ahead=5)} == {task.id for task in ordinary}


def test_tasks_of_a_single_start_stand_where_the_free_slots_are(engine: LeasingEngine, new: TaskMaker) -> None:
    """The first `free` of the answer start at once; whatever stands behind them is leased ahead."""
    engine.put(new.many(4))
    once = new.many(4, retry=ONCE)
    engine.put(once)
    leased = lease(engine, 3, ahead=5)
    places = [at for at, task in enumerate(leased) if task.id in {task.id for task in once}]
    assert len(leased) == 7
    assert places
    assert all(at < 3 for at in places)


def test_what_a_turn_gives_back_is_leased_by_it_or_by_the_next(engine: LeasingEngine, put: Put) -> None:
    """An engine may look for work before it settles."""
    task_id = put()
    first = lease_one(engine)
    turn = engine.turn([settlement(engine, first, INTERRUPTED)], want(1))
    (again,) = turn.leased or lease(engine)
    assert again.id == task_id
    assert again.lease_id != first.lease_id


def test_a_task_waiting_for_its_retry_is_leased_when_the_backoff_is_over(
    engine: LeasingEngine, put: Put, clock: FakeClock
) -> None:
    task_id = put()
    settle(engine, lease_one(engine), Retried(after_s=30))
    clock.advance(29)
    assert lease(engine) == []
    clock.advance(1)
    again = lease_one(engine)
    assert (again.id, again.attempts, again.attempt, again.starts) == (task_id, 1, 2, 2)


def test_every_task_of_a_large_batch_is_leased_exactly_once(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(1_000)
    engine.put(tasks)
    seen: list[int] = []
    while leased := lease(engine, 50, ahead=150):
        seen += [task.id for task in leased]
        settle_each(engine, leased, SUCCEEDED)
    assert sorted(seen) == [task.id for task in tasks]
