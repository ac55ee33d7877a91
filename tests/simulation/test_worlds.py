"""The worlds themselves: a seed decides everything, and what shall go wrong in them does."""

from __future__ import annotations

import pytest

from deferq.engines.memory import MemoryEngine
from deferq.errors import StoreUnavailable
from deferq.testing.simulate.clock import START, SimulatedClock
from deferq.testing.simulate.memory import memory
from deferq.testing.simulate.running import run_seed
from deferq.testing.simulate.sqlite import SqliteFiles
from deferq.testing.simulate.stores import (
    COMMIT,
    Blow,
    Fate,
    MakeEngine,
    OneEngine,
    Process,
    ProcessDied,
    Store,
    StoreMaker,
)
from tests.support import TaskMaker


def test_the_same_seed_gives_the_same_world() -> None:
    assert story_of(4, memory) == story_of(4, memory)
    assert story_of(4, memory) != story_of(5, memory)


def test_the_same_seed_gives_the_same_world_on_sqlite(sqlite: SqliteFiles) -> None:
    assert story_of(4, sqlite) == story_of(4, sqlite)


def story_of(seed: int, make_engine: MakeEngine | StoreMaker) -> list[str]:
    return [f"{one.at} {one.who} {one.what[:30]} {one.task_id}" for one in run_seed(seed, make_engine).history.entries]


def test_much_goes_wrong_in_them() -> None:
    told = {entry.what.split(" until")[0] for seed in range(60) for entry in run_seed(seed, memory).history.entries}
    for trouble in (
        *(f"was struck: {blow.value}" for blow in Blow),
        "died",
        "froze",
        "is full",
        "is away",
        "was told it lost",
        "settled as worker lost",
        "refused: Parked",
        "settled as corrupt",
        "put daily (replace): Stored",
        "put daily (raise): Existing",
        "put daily (return): Tombstoned",
        "Cancel",
        "requeued",
        "had purged",
    ):
        assert trouble in told
    assert any(what.startswith("leapt by -") for what in told)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, sqlite: SqliteFiles) -> Store:
    clock = SimulatedClock(START)
    return OneEngine(MemoryEngine(clock=clock)) if request.param == "memory" else sqlite.new_store(clock)


def put(process: Process, fate: Fate | None, task_id: int) -> None:
    task = TaskMaker(lambda: START)("a", task_id=task_id)
    process.ask(lambda: process.engine.put([task]), fate)


def test_an_error_before_the_statement_stores_nothing(store: Store) -> None:
    process, other = store.new_process(), store.new_process()
    put(process, None, 1)
    with pytest.raises(StoreUnavailable):
        put(process, Fate(Blow.ERROR_BEFORE, 1), 2)
    assert [task.id for task in other.engine.get([1, 2])] == [1]


def test_an_answer_gets_lost_after_the_commit(store: Store) -> None:
    process, other = store.new_process(), store.new_process()
    put(process, None, 1)
    with pytest.raises(StoreUnavailable):
        put(process, Fate(Blow.ERROR_AFTER, 1), 2)
    assert [task.id for task in other.engine.get([1, 2])] == [1, 2]


def test_a_process_dies_in_the_middle_and_the_others_go_on(store: Store) -> None:
    process, other = store.new_process(), store.new_process()
    put(process, None, 1)
    with pytest.raises(ProcessDied):
        put(process, Fate(Blow.DEATH_BEFORE, 1), 2)
    process.end()
    put(other, None, 3)
    assert [task.id for task in other.engine.get([1, 2, 3])] == [1, 3]


@pytest.mark.parametrize("statement", range(1, 9))
def test_a_process_that_dies_at_any_statement_of_a_transaction_leaves_all_of_it_or_nothing(
    sqlite: SqliteFiles, statement: int
) -> None:
    new = TaskMaker(lambda: START)
    store = sqlite.new_store(SimulatedClock(START))
    process, other = store.new_process(), store.new_process()
    put(process, None, 1)
    tasks = [new("b", name=f"n{number}") for number in range(2)]
    died = False
    try:
        process.ask(lambda: process.engine.put(tasks), Fate(Blow.DEATH_AFTER, statement))
    except ProcessDied:
        died = True
        process.end()
    stored = len(other.engine.get([task.id for task in tasks]))
    assert stored == 2 if not died else stored in (0, 2)
    put(other, None, 3)
    store.close()


@pytest.mark.parametrize(("blow", "stored"), [(Blow.ERROR_BEFORE, 0), (Blow.ERROR_AFTER, 2)])
def test_a_blow_at_the_commit_decides_whether_it_was_one(sqlite: SqliteFiles, blow: Blow, stored: int) -> None:
    new = TaskMaker(lambda: START)
    process = sqlite.new_store(SimulatedClock(START)).new_process()
    put(process, None, 1)
    tasks = [new("b", name=f"n{number}") for number in range(2)]
    with pytest.raises(StoreUnavailable):
        process.ask(lambda: process.engine.put(tasks), Fate(blow, COMMIT))
    assert len(process.engine.get([task.id for task in tasks])) == stored


def test_nothing_can_be_written_while_the_disk_is_full(store: Store) -> None:
    process = store.new_process()
    put(process, None, 1)
    store.trouble = "full"
    with pytest.raises(StoreUnavailable):
        put(process, None, 2)
    assert len(process.ask(lambda: process.engine.get([1, 2]), None, writes=False)) == 1
    store.trouble = None
    put(process, None, 2)
