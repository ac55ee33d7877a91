"""The bench: what it compares, how it judges, and that it leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from bench import judging, ours, processes, targets
from bench.compare import Bench, Case, Figure, Row
from bench.machine import tree
from bench.marks import READY, Marks
from bench.measures import deaths, lock, mixed
from bench.ours import Ours
from bench.peers.redis_server import RedisServer
from bench.system import opened
from deferq import Deferq

RATE = Figure(title="rate", unit="/s")


def row(role: str, *values: float, system: str = "deferq", durability: str = "", missing: str = "") -> Row:
    return Row(figure=RATE, system=system, role=role, values=list(values), durability=durability, missing=missing)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(folder=tmp_path, server=RedisServer(tmp_path / "redis", durable=False), repeats=3)


# ---- comparing


def case(label: str, log: list[str], **more: object) -> Case:
    def once(folder: Path) -> dict[Figure, float]:
        log.append(label)
        return {RATE: float(len(log))}

    return Case(candidate=Ours(), figures=(RATE,), once=once, label=label, **more)


def test_each_repeat_starts_with_another_case(bench: Bench) -> None:
    log: list[str] = []
    rows = bench.side_by_side([case("a", log), case("b", log)])
    assert log == ["a", "b", "b", "a", "a", "b"]
    assert [len(row.values) for row in rows] == [3, 3]


def test_a_long_measure_may_be_taken_less_often(bench: Bench) -> None:
    rows = bench.side_by_side([case("a", [])], repeats=1)
    assert rows[0].values == [1.0]


def test_a_case_that_fails_is_missing_with_its_reason_and_the_others_go_on(bench: Bench) -> None:
    def broken(folder: Path) -> dict[Figure, float]:
        raise RuntimeError("no luck")

    log: list[str] = []
    failing = Case(candidate=Ours(), figures=(RATE,), once=broken, label="b")
    rows = bench.side_by_side([case("a", log), failing])
    assert len(rows[0].values) == 3
    assert (rows[1].values, rows[1].missing) == ([], "failed: RuntimeError: no luck")


# ---- judging


def verdict(value: judging.Value, rows: list[Row], **bounds: float) -> judging.Verdict | None:
    return judging.Target(text="t", value=value, form="{:.2f}", **bounds).judge(rows)


def test_a_target_is_reached_at_its_bound_and_missed_beyond() -> None:
    rows = [row("ours", 1.0, 2.0, 3.0)]
    assert str(verdict(judging.ours(RATE), rows, at_least=2.0)) == "reached  t: 2.00"
    assert str(verdict(judging.ours(RATE), rows, at_most=1.9)) == "MISSED   t: 2.00"


def test_the_best_peer_of_that_name_is_the_one_to_beat() -> None:
    rows = [row("ours", 60.0), row("peer", 10.0, system="Huey, 1 thread"), row("peer", 20.0, system="Huey, 8 threads")]
    told = verdict(judging.against(RATE, "peer", "Huey"), rows, at_least=6.0)
    assert told is not None
    assert (told.value, told.reached) == ("3.00", False)


def test_a_variant_is_compared_with_ours_and_is_not_taken_for_it() -> None:
    rows = [row("variant", 18.0, system="deferq, parent, 2 children"), row("ours", 10.0)]
    told = verdict(judging.variant(RATE, "2 children"), rows, at_least=1.7)
    assert told is not None
    assert told.value == "1.80"
    assert verdict(judging.ours(RATE), rows, at_most=10.0) == judging.Verdict(target="t", value="10.00", reached=True)


def test_durability_chooses_between_rows_of_ours() -> None:
    rows = [
        row("ours", 1.0, durability="WAL, synchronous=FULL"),
        row("ours", 2.0, durability="WAL, synchronous=NORMAL"),
    ]
    told = verdict(judging.ours(RATE, "NORMAL"), rows, at_most=2.0)
    assert told is not None
    assert told.value == "2.00"


def test_what_could_not_be_measured_is_missed_and_what_was_not_asked_for_is_left_out() -> None:
    told = verdict(judging.ours(RATE), [row("ours", missing="failed: no luck")], at_most=1.0)
    assert told == judging.Verdict(target="t", value="no value, failed: no luck", reached=False)
    assert verdict(judging.ours(RATE), [], at_most=1.0) is None


def test_a_peer_that_is_not_installed_is_no_failure_of_ours() -> None:
    rows = [row("ours", 1.0), row("peer", system="Huey", missing="pip install huey")]
    assert verdict(judging.against(RATE, "peer", "Huey"), rows, at_least=1.0) is None


def test_every_target_has_a_bound_and_says_something_of_its_own() -> None:
    assert all((one.at_least is None) != (one.at_most is None) for one in targets.TARGETS)
    assert len({one.text for one in targets.TARGETS}) == len(targets.TARGETS)


# ---- processes

#: Has a child in a session of its own, which prints its number and ignores SIGTERM, and waits for it.
FAMILY = """
import subprocess, sys
subprocess.run([sys.executable, "-c",
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True);"
    "time.sleep(60)"], start_new_session=True)
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    log = tmp_path / "family.log"
    parent = processes.spawn(processes.python("-c", FAMILY), log)
    until(lambda: log.read_text().strip())
    yield parent, int(log.read_text())
    processes.end(parent)


def until(reached: object, patience_s: float = 30.0) -> None:
    end_s = time.monotonic() + patience_s
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < end_s, "it did not come to that"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """A zombie that nobody has collected yet is gone as well."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_the_end_of_a_child_is_the_end_of_its_tree(family: tuple[subprocess.Popen[bytes], int]) -> None:
    parent, grandchild = family
    assert tree(parent.pid) == [parent.pid, grandchild]
    processes.end(parent)
    until(lambda: is_gone(grandchild))


def test_a_tree_is_killed_without_a_word(family: tuple[subprocess.Popen[bytes], int]) -> None:
    parent, grandchild = family
    processes.kill_tree(parent)
    assert parent.returncode == -signal.SIGKILL
    until(lambda: is_gone(grandchild))


# ---- measures


def test_children_are_asked_for_only_where_the_worker_knows_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ours, "has_children", lambda: True)
    assert ours.worker_argv("sqlite:///x.db", 2)[-2:] == ["--children", "2"]
    assert (Ours(children=2).missing(), Ours().threads) == ("", "parent, 1 child")
    monkeypatch.setattr(ours, "has_children", lambda: False)
    monkeypatch.setattr(deaths, "has_children", lambda: False)
    assert "--children" not in ours.worker_argv("sqlite:///x.db", 1)
    assert (Ours(children=2).missing(), Ours().threads) == (
        "this `deferq worker` has no --children",
        "default threads",
    )
    with pytest.raises(RuntimeError, match="process that leases"):
        deaths.child_dies(tmp_path)


HOLDER = "import sys; from bench.measures.lock import *\nwith onlooking(Path(sys.argv[1])) as file: print(holder(file))"


def holder_of(database: Path) -> int:
    """As another process sees it."""
    argv = [sys.executable, "-c", HOLDER, str(database)]
    done = subprocess.run(
        argv, env=processes.child_environment(), capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


def test_the_onlooker_sees_who_holds_the_write_lock_of_sqlite(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "some.db", isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table t (n)")
        assert holder_of(tmp_path / "some.db") == 0
        connection.execute("begin immediate")
        assert holder_of(tmp_path / "some.db") == os.getpid()
        connection.execute("rollback")
        connection.execute("begin")
        connection.execute("select * from t").fetchall()
        assert holder_of(tmp_path / "some.db") == 0


def test_spells_of_different_holders_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([0, 7, 7, 8, 0, 9])
    clock = iter(range(7))
    monkeypatch.setattr(lock, "holder", lambda _: next(seen))
    monkeypatch.setattr(lock.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(lock.time, "sleep", lambda _: None)
    assert lock._watch(0, 6.0) == [2000.0, 1000.0]


def test_a_drain_is_timed_by_the_rows_from_first_lease_to_last_settlement(tmp_path: Path) -> None:
    with opened(Ours(), tmp_path) as store, Marks(tmp_path) as marks:
        store.mark(marks.path, READY)  # an older task does not count
        _work(store.url)
        marks.wait(READY, 30)
        store.fill(50, marks.path, spin_s=0.001)
        began_s = time.monotonic()
        _work(store.url)
        whole_s = time.monotonic() - began_s
        arrived = marks.read(30)
        assert arrived is not None
        assert 0.01 < store.span_s(arrived[1]) <= whole_s
        assert (store.settled(), store.succeeded(), store.ready(), store.leased()) == (53, 53, 0, 0)


def _work(url: str) -> None:
    with Deferq(url) as deferq:
        deferq.worker(until_idle=True).run()


def test_tasks_that_stay_report_their_process_and_others_are_passed_over(tmp_path: Path) -> None:
    with opened(Ours(), tmp_path) as store, Marks(tmp_path) as marks:
        (tmp_path / "leave").touch()
        store.mark(marks.path, READY)
        store.stay(marks.path, tmp_path / "leave")
        _work(store.url)
        assert deaths._next(marks)[0] == os.getpid()


def test_a_restart_in_the_process_that_was_killed_is_no_restart(tmp_path: Path) -> None:
    with opened(Ours(), tmp_path) as store, Marks(tmp_path) as marks:
        (tmp_path / "leave").touch()
        store.stay(marks.path, tmp_path / "leave")
        _work(store.url)
        with pytest.raises(RuntimeError, match="twice"):
            deaths._again_after(marks, os.getpid(), 0)


def test_marks_of_the_mixed_minute_are_even() -> None:
    assert len(mixed.SIZES) == len(mixed.AFTER_S)
    assert {later - earlier for earlier, later in pairwise((0, *mixed.AFTER_S))} == {20}


@pytest.mark.slow
def test_a_smoke_run_measures_and_leaves_nothing_behind(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "bench", "--quick", "--only", "mixed,deaths,lock", "--folder", str(tmp_path)]
    done = subprocess.run(
        argv,
        cwd=processes.ROOT,
        env=processes.child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    missing = {
        one["figure"]["title"]: one["missing"] for one in json.loads((tmp_path / "last.json").read_text())["rows"]
    }
    assert [missing[figure.title] for figure in (mixed.GROWTH, deaths.STOP, lock.P50)] == ["", "", ""]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["last.json", "last.txt"]
