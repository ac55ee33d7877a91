"""Several threads, one engine."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from deferq.engines.answers import Existing, Stored
from deferq.engines.base import LeasingEngine, RecordChange
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Succeeded
from deferq.model.state import State
from tests.support import START, FakeClock, TaskMaker, lease, settle, settlement, want

THREADS = 8
TASKS_EACH = 60


def at_once(work: Callable[[int], object]) -> list[object]:
    """Run `work(0)`, ..., `work(THREADS - 1)`, all released at the same moment."""
    gate = threading.Barrier(THREADS)

    def run(number: int) -> object:
        gate.wait(30)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def test_threads_that_put_lease_and_settle_handle_every_task_exactly_once(
    engine: LeasingEngine, new: TaskMaker
) -> None:
    batches = [new.many(TASKS_EACH, f"queue-{number % 3}") for number in range(THREADS)]
    everything = THREADS * TASKS_EACH
    handled: list[int] = []
    lost: list[int] = []
    broken = threading.Event()

    def work(number: int) -> None:
        todo, done = list(batches[number]), []
        try:
            while len(handled) < everything and not broken.is_set():
                if todo:
                    engine.put([todo.pop()])
                turn = engine.turn(done, want(2, ahead=3, rotation=number))
                lost.extend(task.id for task in turn.lost)
                handled.extend(task.id for task in turn.leased)
                done = [settlement(engine, task, SUCCEEDED) for task in turn.leased]
            engine.turn(done, None)
        except BaseException:
            broken.set()
            raise

    at_once(work)
    assert lost == []
    assert Counter(handled) == Counter(task.id for batch in batches for task in batch)
    counts = engine.counts()
    assert counts.succeeded == everything
    assert all((queue.ready, queue.leased) == (0, 0) for queue in counts.queues)


def test_threads_that_lease_at_once_never_hold_the_same_task(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(200))
    held = at_once(lambda number: [task.id for task in lease(engine, 40)])
    ids = [task_id for batch in held for task_id in batch]  # type: ignore[attr-defined]
    assert len(ids) == len(set(ids)) == 200


def test_of_threads_that_put_the_same_name_one_wins(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(THREADS, name="only-one")
    answers = at_once(lambda number: engine.put([tasks[number]])[0])
    (winner,) = [answer for answer in answers if isinstance(answer, Stored)]
    assert answers.count(Existing(winner.id)) == THREADS - 1


def test_of_threads_that_replace_the_same_name_one_stays(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(THREADS, name="debounced", if_exists="replace", in_s=5)
    answers = at_once(lambda number: engine.put([tasks[number]])[0])
    assert all(isinstance(answer, Stored) for answer in answers)
    states = Counter(task.state for task in engine.get([task.id for task in tasks]))
    assert states == {State.PENDING: 1, State.CANCELLED: THREADS - 1}


def test_of_threads_that_change_a_record_from_the_same_version_one_wins(engine: LeasingEngine) -> None:
    engine.change_records([RecordChange("run", "r", 0, None, "{}")])
    applied = at_once(lambda number: engine.change_records([RecordChange("run", "r", 1, None, str(number))])[0])
    assert applied.count(True) == 1
    (record,) = engine.records("run")
    assert (record.version, record.document) == (2, str(applied.index(True)))


def test_of_an_old_and_a_new_holder_only_the_new_one_settles(
    engine: LeasingEngine, new: TaskMaker, clock: FakeClock
) -> None:
    task = new()
    engine.put([task])
    leases = []
    for _ in range(THREADS):
        leases.append(lease(engine, 1)[0])
        if len(leases) < THREADS:
            settle(engine, leases[-1], INTERRUPTED)
    lost = at_once(lambda number: settle(engine, leases[number], Succeeded(b"%d" % number)).lost)
    assert [bool(answer) for answer in lost] == [True] * (THREADS - 1) + [False]
    assert engine.details(task.id).result == b"%d" % (THREADS - 1)
    assert engine.now() == START == clock.now
