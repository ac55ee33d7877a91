"""Who holds a task, for how long, and what becomes of it and its name: failures 4, 6, 7, 17, 18, 22, 25, 29, 30."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferq import Deferq, Queue, State
from deferq.engines.answers import Existing, Stored, Tombstoned
from deferq.engines.base import Cancel, LeasingEngine, RecordChange
from deferq.model.outcome import ErrorText, Failed, Outcome, Parked, Retried, Snoozed, Succeeded
from deferq.runtime.dispatcher import Renew, TakeTurn
from tests.cli.processes import Running
from tests.process.farm import Farm
from tests.support import FakeClock, TaskMaker, bury_stalled, lease, lease_one, settle
from tests.unit.test_dispatcher import Scene

YEAR_S = 365.0 * 86_400
ERROR = ErrorText(error_type="Trouble", message="something")


def test_a_task_is_rescued_whatever_became_of_the_record_of_its_worker(
    engine: LeasingEngine, put: Callable[..., int], clock: FakeClock
) -> None:
    """A record says for people who works. It is gone, and another worker has taken its key, before anybody looks."""
    engine.change_records([RecordChange("worker", "host-1", 0, None, "{}")])
    task_id = put()
    lease_one(engine)
    engine.change_records([RecordChange("worker", "host-1", 1, None, None)])
    engine.change_records([RecordChange("worker", "host-1", 0, None, "{}")])
    clock.advance(31)

    assert [task.id for task in bury_stalled(engine)] == [task_id]
    assert engine.get([task_id])[0].state is State.PENDING


def test_ten_thousand_long_leases_do_not_hide_one_that_is_over(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.put(new.many(10_000))
    for _ in range(50):
        lease(engine, 200, lease_s=86_400)
    late = new()
    engine.put([late])
    lease_one(engine, lease_s=30)
    clock.advance(31)

    assert [task.id for task in engine.stalled(limit=10)] == [late.id]


def test_a_task_may_take_a_hundred_leases() -> None:
    """Time goes by in the test alone."""
    scene = Scene(lease_s=30.0)
    scene.task_s = 100 * 30.0
    scene.leasing(1)
    began, renewals, effect = scene.now, 0, None
    while scene.pool.running():
        effect = scene.step()
        renewals += isinstance(effect, Renew)
        assert scene.now <= next(iter(lease.until for _, lease in scene.pool.holding()), scene.now)
    assert scene.now - began >= 100 * 30.0
    assert renewals >= 290
    assert isinstance(effect, TakeTurn)
    assert len(effect.settlements) == 1


def test_a_worker_that_is_stopping_renews_what_still_runs() -> None:
    scene = Scene(lease_s=30.0, drain_s=300.0)
    scene.task_s = 200.0
    scene.leasing(1)
    scene.stop.request()
    renewals = 0
    while scene.pool.running():
        renewals += isinstance(scene.step(), Renew)
        assert all(scene.now <= lease.until for _, lease in scene.pool.holding())
    assert renewals >= 18


def test_a_task_for_next_year_is_leased_once_and_next_year(
    engine: LeasingEngine, put: Callable[..., int], clock: FakeClock
) -> None:
    task_id = put(in_s=YEAR_S)
    for _ in range(365):
        assert lease(engine) == []
        assert engine.stalled() == []
        clock.advance(86_400)
    assert [task.id for _ in range(3) for task in lease(engine)] == [task_id]


# ---- names


def test_the_name_of_a_task_outlives_its_worker_and_not_the_task(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    engine.put([new(name="once")])
    lease_one(engine)
    clock.advance(31)
    assert isinstance(engine.put([new(name="once")])[0], Existing)  # its worker is dead; the task is not
    bury_stalled(engine)
    assert isinstance(engine.put([new(name="once")])[0], Existing)
    clock.advance(3_600)
    settle(engine, lease_one(engine), Succeeded())
    assert isinstance(engine.put([new(name="once")])[0], Tombstoned)
    clock.advance(86_401)
    assert isinstance(engine.put([new(name="once")])[0], Stored)


def settled(outcome: Outcome) -> Callable[[LeasingEngine, int], object]:
    return lambda engine, task_id: settle(engine, lease_one(engine), outcome)


#: How a task comes into a state, and whether it lives there.
WAYS: dict[str, tuple[Callable[[LeasingEngine, int], object], bool]] = {
    "ready": (lambda engine, task_id: None, True),
    "leased": (lambda engine, task_id: lease_one(engine), True),
    "leased, and to be cancelled": (
        lambda engine, task_id: (lease_one(engine), engine.change([task_id], Cancel())),
        True,
    ),
    "retrying after a failure": (settled(Failed(error=ERROR)), True),
    "retrying because it asked to": (settled(Retried(after_s=60.0)), True),
    "snoozed": (settled(Snoozed(after_s=60.0)), True),
    "parked": (settled(Parked(error=ERROR)), True),
    "succeeded": (settled(Succeeded()), False),
    "dead": (settled(Failed(error=ERROR, permanent=True, reason="permanent")), False),
    "cancelled": (lambda engine, task_id: engine.change([task_id], Cancel()), False),
}


@pytest.mark.parametrize("how", WAYS)
def test_in_every_state_a_name_is_taken_or_entombed(engine: LeasingEngine, new: TaskMaker, how: str) -> None:
    come, lives = WAYS[how]
    task = new(name="once")
    engine.put([task])
    come(engine, task.id)

    (answer,) = engine.put([new(name="once")])

    assert isinstance(answer, Existing if lives else Tombstoned)
    assert answer.id == task.id


# ---- real processes


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    farm = Farm(tmp_path)
    yield farm
    farm.deferq.close()


def kill(worker: Running) -> None:
    """All of its processes."""
    worker.send_to_all(signal.SIGKILL)
    worker.process.wait()


def test_the_place_of_a_dead_worker_is_free_again(farm: Farm) -> None:
    import child_tasks as tasks

    with Deferq(farm.url, queues={"mail": Queue(max_concurrent=1)}) as deferq:
        held = deferq.call(tasks.hold_first_time).defer(queue="mail")
        following = deferq.call(tasks.nothing).defer(queue="mail")
    with farm.worker() as worker:
        farm.wait_for_run(held)
        assert following.refresh().state is State.PENDING
        kill(worker)
    with farm.worker():
        farm.wait_all([held, following])
    assert farm.states([held, following]) == {State.SUCCEEDED: 2}
