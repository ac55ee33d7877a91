"""Writing down how leases ended. Every function runs inside a write transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from sqlite3 import Connection

from deferq.engines.base import FAILURES_KEPT, Settlement
from deferq.engines.sqlite.putting import ROWS_PER_INSERT, add_queues, put
from deferq.engines.sqlite.rows import json_list
from deferq.engines.sqlite.statements import statements
from deferq.model.state import State
from deferq.model.task import Leased, NewTask

SQL = statements("settle")


def settle(connection: Connection, settlements: Sequence[Settlement], now: int, tombstone_us: int) -> list[Leased]:
    """Write transitions where the lease still holds, with all that belongs to them; returns the lost ones.

    Nearly always every lease holds, and then nothing needs to be looked up before it is written.
    """
    connection.execute("savepoint settle")
    if _write_transitions(connection, settlements, now) == len(settlements):
        connection.execute("release settle")
        _write_belongings(connection, settlements, now, tombstone_us)
        return []
    connection.execute("rollback to settle")
    connection.execute("release settle")
    return _settle_what_holds(connection, settlements, now, tombstone_us)


def _settle_what_holds(
    connection: Connection, settlements: Sequence[Settlement], now: int, tombstone_us: int
) -> list[Leased]:
    """Some leases do not hold any more: settle those that do, and say which are lost.

    A settlement that this very lease has brought about before (its answer got lost) is neither: it stands already. The
    same lease may have ended in another way, if its end had passed and somebody buried it; then it is lost.
    """
    rows = {row[0]: row[1:] for row in connection.execute(SQL["standing"], {"ids": _ids(settlements)})}
    holding: dict[int, Settlement] = {}
    lost = []
    for settlement in settlements:
        task, to = settlement.task, settlement.transition
        lease_id, state, attempts, until = rows.get(task.id, (None, None, None, 0))
        if lease_id == task.lease_id and state == State.LEASED and not (settlement.only_if_over and until > now):
            holding.setdefault(task.id, settlement)
        elif (lease_id, state, attempts) != (task.lease_id, to.state, to.attempts):
            lost.append(task)
    _write_transitions(connection, list(holding.values()), now)
    _write_belongings(connection, list(holding.values()), now, tombstone_us)
    return lost


def _write_transitions(connection: Connection, settlements: Sequence[Settlement], now: int) -> int:
    plain, others = _sorted_out(settlements)
    changed = sum(_settle_succeeded(connection, lease_id, ids, now) for lease_id, ids in plain.items())
    return changed + _settle_others(connection, others, now)


def _ids(settlements: Iterable[Settlement]) -> str:
    return json_list(settlement.task.id for settlement in settlements)


def _sorted_out(settlements: Iterable[Settlement]) -> tuple[dict[int, list[int]], list[Settlement]]:
    """Successes by lease, which one statement settles, and everything else."""
    plain: dict[int, list[int]] = defaultdict(list)
    others = []
    for settlement in settlements:
        if settlement.transition.rule == "succeeded":
            plain[settlement.task.lease_id].append(settlement.task.id)
        else:
            others.append(settlement)
    return plain, others


def _settle_succeeded(connection: Connection, lease_id: int, ids: list[int], now: int) -> int:
    parameters = {"ids": json_list(ids), "lease_id": lease_id, "now": now}
    return connection.execute(SQL["settle_succeeded"], parameters).rowcount


def _settle_others(connection: Connection, settlements: Sequence[Settlement], now: int) -> int:
    if not settlements:
        return 0
    rows = json_list(_row(settlement, now) for settlement in settlements)
    return connection.execute(SQL["settle"], {"rows": rows, "now": now}).rowcount


def _row(settlement: Settlement, now: int) -> tuple[object, ...]:
    """One of the rows of the statement `settle`."""
    task, to = settlement.task, settlement.transition
    finished_at = now if to.state.finished else None
    lease = (task.id, task.lease_id)
    return (
        *lease,
        to.state,
        to.eta,
        to.attempts,
        to.parks,
        to.started,
        finished_at,
        to.reason,
        settlement.only_if_over,
        to.crashes,
    )


def _write_belongings(connection: Connection, settled: Sequence[Settlement], now: int, tombstone_us: int) -> None:
    """Tombstones, failures, results, totals and follow-ups of settlements that stand."""
    named = [s.task.id for s in settled if s.task.name is not None and s.transition.state.finished]
    if named:
        bury_names(connection, named, now + tombstone_us)
    _write_failures(connection, [s for s in settled if s.failure is not None])
    results = [(s.task.id, s.result) for s in settled if s.result is not None]
    for start in range(0, len(results), ROWS_PER_INSERT):
        rows = results[start : start + ROWS_PER_INSERT]
        connection.execute(_insert_results(len(rows)), list(chain.from_iterable(rows)))
    totals = _totals(settled, now)
    if totals:
        connection.execute(SQL["insert_totals"], {"rows": json_list(totals)})
    follow_ups: list[NewTask] = [task for s in settled for task in s.then]
    if follow_ups:
        add_queues(connection, {task.queue for task in follow_ups})
        put(connection, follow_ups, now)


@cache
def _insert_results(count: int) -> str:
    """The insertion of one result, for `count` of them in one step."""
    return SQL["insert_result"].replace("(?, ?)", ", ".join(["(?, ?)"] * count))


def bury_names(connection: Connection, ids: Sequence[int], until: int) -> None:
    """The names of these tasks become tombstones."""
    connection.execute(SQL["bury_names"], {"ids": json_list(ids), "until": until})


def _write_failures(connection: Connection, settled: Sequence[Settlement]) -> None:
    if not settled:
        return
    rows = json_list(
        (s.task.id, f.attempt, f.at, f.kind, f.error_type, f.message, f.traceback, f.report)
        for s in settled
        if (f := s.failure) is not None
    )
    connection.execute(SQL["insert_failures"], {"rows": rows})
    for s in settled:
        if s.task.starts + s.transition.parks > FAILURES_KEPT:  # attempts are forgotten by a requeue, starts are not
            connection.execute(SQL["trim_failures"], {"id": s.task.id, "keep": FAILURES_KEPT})


def _totals(settled: Iterable[Settlement], now: int) -> list[tuple[int, str, str, int, int, int, int]]:
    """One row per queue and target for this group; attempts that never ran do not count."""
    sums: dict[tuple[str, str], list[int]] = {}
    for settlement in settled:
        task, to, duration_us, *_ = settlement
        if not to.started:
            continue
        row = sums.get((task.queue, task.target))
        if row is None:
            row = sums[task.queue, task.target] = [0, 0, 0, 0]
        row[0] += 1
        row[2] += duration_us
        if duration_us > row[3]:
            row[3] = duration_us
        if to.rule != "succeeded" and settlement.failed:
            row[1] += 1
    return [(now, queue, target, *row) for (queue, target), row in sums.items()]  # type: ignore[misc]
