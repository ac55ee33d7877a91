"""How SQLite goes about every statement of the engine, and that its work does not grow with what is stored."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from deferq.engines.base import Want
from deferq.engines.sqlite import SqliteEngine
from deferq.engines.sqlite.connections import connect
from deferq.engines.sqlite.statements import schema_scripts, statements
from deferq.model.outcome import SUCCEEDED
from tests.support import START, US, FakeClock, TaskMaker, lease, settle_each, want

#: What each statement searches by: names of indexes, "rowid", or "key" of a table without rowids.
PLANS = {
    "put.insert_tasks": set(),
    "put.insert_payload": set(),
    "put.insert_spill": set(),
    "put.insert_queue": set(),
    "put.stored_payload": {"rowid"},
    "put.holder_of_name": {"key", "rowid"},
    "put.take_name": set(),
    "put.become_nameless": {"rowid"},
    "put.cancel_replaced": {"rowid"},
    "within.database_id": {"key"},
    "within.lock": {"key"},
    "within.whose": {"key"},
    "within.any_stored": {"rowid"},
    "lease.lanes": {"deferq_ready"},
    "lease.candidates": {"deferq_ready", "key"},
    "lease.delivered_lanes": {"deferq_delivered"},
    "lease.delivered_candidates": {"deferq_delivered", "key"},
    "lease.lease": {"rowid"},
    "lease.lease_first": {"deferq_ready", "deferq_delivered", "key", "rowid"},
    "lease.leased": {"deferq_held", "rowid"},
    "limit.standings": {"key", "deferq_held"},
    "limit.spend": {"key"},
    "limit.is_due": {"deferq_ready"},
    "limit.delivered_is_due": {"deferq_delivered"},
    "lease.stalled": {"deferq_held"},
    "lease.orphaned": {"deferq_held"},
    "lease.renew": {"rowid"},
    "lease.take_up": {"rowid"},
    "lease.why_not": {"rowid"},
    "lease.still_held": {"rowid"},
    "settle.settle_succeeded": {"rowid"},
    "settle.settle": {"rowid"},
    "settle.standing": {"rowid"},
    "settle.bury_names": {"deferq_name_task"},
    "settle.insert_failures": set(),
    "settle.trim_failures": {"deferq_failure_task"},
    "settle.insert_result": set(),
    "settle.insert_totals": set(),
    "read.get": {"rowid"},
    "read.find": {"rowid"},
    "read.find_dead": {"deferq_dead", "rowid"},
    "read.details": {"rowid"},
    "read.spill": {"rowid"},
    "read.failures": {"deferq_failure_task"},
    "read.holders": {"key"},
    "read.queues": set(),
    "read.count_pending": {"deferq_ready", "deferq_delivered"},
    "read.count_held": {"deferq_held"},
    "read.count_finished": {"deferq_finished"},
    "read.totals": {"deferq_total_at"},
    "change.states": {"rowid"},
    "change.cancel_pending": {"rowid"},
    "change.request_cancel": {"rowid"},
    "change.reschedule": {"rowid"},
    "change.delete_tasks": {"rowid"},
    "change.delete_payloads": {"rowid"},
    "change.delete_spills": {"rowid"},
    "change.delete_results": {"rowid"},
    "change.delete_failures": {"deferq_failure_task"},
    "change.some_pending": {"deferq_ready", "deferq_delivered"},
    "change.names_of_ended": {"rowid", "key"},
    "change.take_name_back": set(),
    "change.requeue": {"rowid"},
    "change.drop_names": {"rowid"},
    "change.parked": {"deferq_parked"},
    "change.wake": {"rowid"},
    "change.write_queue": set(),
    "change.records": {"key"},
    "change.insert_record": set(),
    "change.update_record": {"key"},
    "change.delete_record": {"key"},
    "sweep.expired": {"deferq_expiring"},
    "sweep.past_retention": {"deferq_finished"},
    "sweep.nth_newest": {"deferq_finished"},
    "sweep.drop_tombstones": {"key", "deferq_name_until"},
    "sweep.fold_totals": {"deferq_total_at"},
    "sweep.drop_folded": {"deferq_total_at"},
    "sweep.drop_old_totals": {"deferq_total_at"},
}
ROOMS = ("put", "within", "lease", "limit", "settle", "read", "change", "sweep")
#: Rows of the statement's own making, and queues, of which there are few.
SMALL = re.compile(
    r"SCAN (json_each|lane|half|top|head|q|deferq_queue|\(subquery-\d+\)|\d+ CONSTANT ROWS)\b|SCAN \(subquery-\d+\)$"
)
#: Parked tasks are few, and the index holds no others.
PARTIAL = "SCAN deferq_task USING INDEX deferq_parked"
#: A caller's temporary tables, of which there are few, and an answer that is made of none.
TEMPORARY = {"SCAN temp.sqlite_master", "SCAN CONSTANT ROW"}
#: People who read charts, and the janitor, who folds each row once, may sort a little. The lease in a hurry sorts two
#: heads, and each of them keeps one row, from rows that come in order.
SORTING = {"read.totals", "sweep.fold_totals", "lease.lease_first"}
_PARAMETER = re.compile(r":(\w+)|\?(\d*)")


def everything() -> dict[str, str]:
    return {f"{room}.{name}": sql for room in ROOMS for name, sql in statements(room).items()}


@pytest.fixture(scope="module")
def empty() -> Iterator[sqlite3.Connection]:
    """The tables, with nothing in them."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for script in schema_scripts():
            connection.executescript(script)
        yield connection


def explain(connection: sqlite3.Connection, sql: str) -> list[str]:
    found = list(_PARAMETER.finditer(sql))
    named = {match[1]: None for match in found if match[1]}
    numbered = max([int(match[2]) for match in found if match[2]] or [len(found)])
    rows = connection.execute(f"explain query plan {sql}", named or [None] * numbered)
    return [row[3] for row in rows]


def searched_by(plan: list[str]) -> set[str]:
    names = set()
    for step in plan:
        if match := re.search(r"USING (?:COVERING )?INDEX (\w+)", step):
            names.add(match[1])
        elif "USING INTEGER PRIMARY KEY" in step:
            names.add("rowid")
        elif "USING PRIMARY KEY" in step:
            names.add("key")
    return names


def test_every_statement_has_its_plan_written_down_here() -> None:
    assert set(everything()) == set(PLANS)


@pytest.mark.parametrize("name", PLANS)
def test_a_statement_reads_no_table_from_end_to_end(empty: sqlite3.Connection, name: str) -> None:
    plan = explain(empty, everything()[name])
    few = {PARTIAL, *TEMPORARY}
    scans = [step for step in plan if step.startswith("SCAN") and not SMALL.match(step) and step not in few]
    assert scans == []


@pytest.mark.parametrize("name", PLANS)
def test_a_statement_uses_the_index_made_for_it(empty: sqlite3.Connection, name: str) -> None:
    assert searched_by(explain(empty, everything()[name])) == PLANS[name]


@pytest.mark.parametrize("name", sorted(set(PLANS) - SORTING))
def test_a_statement_finds_its_rows_in_order_and_sorts_nothing(empty: sqlite3.Connection, name: str) -> None:
    assert [step for step in explain(empty, everything()[name]) if "TEMP B-TREE" in step] == []


def test_a_hurried_lease_sorts_no_more_than_the_heads_of_two_halves(empty: sqlite3.Connection) -> None:
    plan = explain(empty, everything()["lease.lease_first"])
    assert [step for step in plan if "TEMP B-TREE" in step] == ["USE TEMP B-TREE FOR ORDER BY"]
    assert plan.index("USE TEMP B-TREE FOR ORDER BY") > max(
        place for place, step in enumerate(plan) if "at_most_once=?" in step
    )


def test_the_plans_stay_as_they_are_when_statistics_are_collected(empty: sqlite3.Connection) -> None:
    """An operator may run ANALYZE on a store in any state, here one with a task in every state."""
    with closing(sqlite3.connect(":memory:")) as connection:
        empty.backup(connection)
        connection.executemany(
            "insert into deferq_task (id, queue, target, state, leasable_at, eta, first_due, lease_id, finished_at)"
            " values (?, 'q', 'a:b', ?, 1, 1, 1, 5, ?)",
            [(number, number % 5, 9 if number % 5 >= 2 else None) for number in range(1, 500)],
        )
        connection.execute("analyze")
        connection.commit()
        held = ("lease.leased", "lease.stalled", "lease.orphaned")
        for name in ("lease.lanes", "lease.candidates", *held, "read.count_pending"):
            assert PLANS[name] - {"rowid"} <= searched_by(explain(connection, everything()[name])), name


# ---- steps of SQLite's virtual machine, which no noise of the machine disturbs


class Steps:
    """A `connect` that counts the steps of all its connections while it is told to."""

    def __init__(self) -> None:
        self.taken = 0
        self._connections: list[sqlite3.Connection] = []

    def __call__(self, path: str) -> sqlite3.Connection:
        self._connections.append(connect(path))
        return self._connections[-1]

    def of(self, work: Callable[[], object]) -> int:
        self.taken = 0
        self._watch(self._step)
        try:
            work()
        finally:
            self._watch(None)
        return self.taken

    def _step(self) -> int:
        self.taken += 1
        return 0

    def _watch(self, handler: Callable[[], int] | None) -> None:
        for connection in self._connections:
            with suppress(sqlite3.ProgrammingError):  # it is closed
                connection.set_progress_handler(handler, 1)


CROWD = """
with recursive number (n) as (select 1 union all select n + 1 from number where n < :many)
insert into deferq_task (id, queue, target, state, priority, leasable_at, eta, first_due, starts, lease_id, finished_at,
  url)
select :first + n, 'default', 'app:work', :state, n % 3, :at + n, :at + n, :at + n, 0, :lease, :finished + n, :url
from number
"""
FUTURE, LEASED, SUCCEEDED_STATE, DEAD_STATE = 0, 1, 2, 3


def crowd(path: Path, number: int, state: int, at: int, url: str | None = None) -> None:
    """Many tasks at once, in front of all others by their ids."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            CROWD,
            {
                "many": number,
                "first": state * 10_000_000 + (5_000_000 if url else 0),
                "url": url,
                "state": state,
                "at": at,
                "lease": None if state == FUTURE else 3,
                "finished": at if state >= SUCCEEDED_STATE else None,
            },
        )


def work_of_a_day(folder: Path, *, crowded: bool) -> dict[str, int]:
    """Steps that each thing takes a worker or a caller, in a store that is crowded or not."""
    clock, steps = FakeClock(), Steps()
    new = TaskMaker(clock)
    with closing(SqliteEngine(folder / "deferq.db", clock=clock, synchronous="OFF", connect=steps)) as engine:
        engine.put(new.many(1))
        lease(engine, 1)
        if crowded:
            crowd(engine.path, 200_000, FUTURE, START + 3600 * US)
            crowd(engine.path, 100_000, FUTURE, START + 3600 * US, "/there")
            crowd(engine.path, 20_000, LEASED, START + 600 * US)
            crowd(engine.path, 100_000, SUCCEEDED_STATE, START - 200_000)
            crowd(engine.path, 100_000, DEAD_STATE, START - 200_000)
        some, tasks = new.many(50), new.many(1)
        engine.stalled()
        taken = {
            "put 50": steps.of(lambda: engine.put(some)),
            "put 1": steps.of(lambda: engine.put(tasks)),
        }
        leased = []
        taken["lease 50"] = steps.of(lambda: leased.extend(lease(engine, 50)))
        assert len(leased) == 50
        engine.put([new(url="/there" if number % 2 else None) for number in range(50)])
        delivered = []
        taken["lease 50 to deliver"] = steps.of(lambda: delivered.extend(lease(engine, 50, delivers=True)))
        assert len(delivered) == 50
        until = clock() + 60 * US
        taken["renew 50"] = steps.of(lambda: engine.renew(leased, until))
        taken["settle 50"] = steps.of(lambda: settle_each(engine, leased, SUCCEEDED))
        taken["lease nothing"] = steps.of(lambda: engine.turn((), Want(0, 0, 1, US, queues=("nowhere",))))
        taken["stalled"] = steps.of(engine.stalled)
        taken["find"] = steps.of(lambda: engine.get([task.id for task in leased]))
    return taken


def test_no_work_of_a_worker_or_a_caller_grows_with_what_is_stored(tmp_path: Path) -> None:
    """200,000 tasks for later, 200,000 finished and 20,000 leased ones stand beside those that are due."""
    for name in ("few", "many"):
        (tmp_path / name).mkdir()
    few = work_of_a_day(tmp_path / "few", crowded=False)
    many = work_of_a_day(tmp_path / "many", crowded=True)
    slower = {name: (few[name], steps) for name, steps in many.items() if steps >= 1.5 * few[name]}
    assert min(few.values()) > 0
    assert slower == {}


def test_counting_takes_no_more_steps_than_the_cap_allows(tmp_path: Path, clock: FakeClock, new: TaskMaker) -> None:
    steps = Steps()
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock, synchronous="OFF", connect=steps)) as engine:
        engine.put([new(), new(url="/there")])
        engine.counts()
        before = steps.of(lambda: engine.counts(cap=100))
        crowd(engine.path, 50_000, SUCCEEDED_STATE, START - 200_000)
        finished = steps.of(lambda: engine.counts(cap=100))
        assert finished < before + 100 * 20
        assert engine.counts().queues[0].ready == 2


def test_purging_a_queue_looks_at_nothing_but_its_pending_tasks(
    tmp_path: Path, clock: FakeClock, new: TaskMaker
) -> None:
    steps = Steps()
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock, synchronous="OFF", connect=steps)) as engine:
        engine.put([new("small"), new("small", url="/there")])
        crowd(engine.path, 50_000, SUCCEEDED_STATE, START - 200_000)
        purged = []
        assert steps.of(lambda: purged.append(engine.purge("small"))) < 5_000
        assert purged == [2]


def test_a_lease_of_two_hundred_over_many_lanes_stays_cheap(tmp_path: Path, clock: FakeClock, new: TaskMaker) -> None:
    steps = Steps()
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock, synchronous="OFF", connect=steps)) as engine:
        engine.put([new(f"queue-{number % 20}", priority=number % 2) for number in range(2_000)])
        engine.turn((), want(1))
        turn = []
        taken = steps.of(lambda: turn.append(engine.turn((), want(200))))
        assert len(turn[0].leased) == 200
        assert taken < 200 * 400


def test_a_lease_in_a_hurry_looks_at_the_first_task_alone(tmp_path: Path, clock: FakeClock, new: TaskMaker) -> None:
    steps = Steps()
    with closing(SqliteEngine(tmp_path / "deferq.db", clock=clock, synchronous="OFF", connect=steps)) as engine:
        engine.put(new.many(5_000))
        engine.turn((), want(1))
        turn = []
        taken = steps.of(lambda: turn.append(engine.turn((), want(1)._replace(hurry=True))))
        assert len(turn[0].leased) == 1
        assert taken < 1_000
