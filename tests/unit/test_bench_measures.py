"""The bench measures what it says, and leaves nothing running."""

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

from bench import ours, processes
from bench.machine import tree
from bench.marks import READY, Marks
from bench.measures import deaths, lock, mixed
from bench.ours import Ours
from bench.system import opened
from deferq import Deferq

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
