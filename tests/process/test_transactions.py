"""Rows and tasks of one transaction under rollbacks, savepoints, threads, processes and SIGKILL."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from deferq import State
from tests.cli.processes import Running
from tests.process.farm import Farm, until
from tests.support import sized, tried

pytest.importorskip("sqlalchemy")
pytest.importorskip("django")

import transacting  # isort: skip  # by the name that its workers know it by

APP = Path(__file__).with_name("transacting.py")
KINDS = ("sqlalchemy", "django", "async", "sqlite3")
#: How often each of two applications is killed, and how many tasks settle themselves.
KILLS = sized(test=1, proof=12, long=400)
TASKS = sized(test=12, proof=60, long=5_000)


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    for name in [name for name in os.environ if name.startswith("DEFERQ_")]:
        monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    farm = Farm(tmp_path)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute(transacting.ROWS)
        connection.execute("create table shipped (id text)")
        connection.commit()
    yield farm
    farm.deferq.close()


def column(farm: Farm, query: str) -> list[str]:
    with closing(sqlite3.connect(farm.folder / "jobs.db")) as connection:
        return [row[0] for row in connection.execute(query)]


def is_busy(farm: Farm, more_than: int) -> bool:
    return len(column(farm, "select name from sold")) > more_than


@pytest.mark.programme
@pytest.mark.parametrize("pair", [("sqlalchemy", "django"), pytest.param(("async", "sqlite3"), marks=pytest.mark.slow)])
def test_rows_and_tasks_are_the_same_whoever_rolls_back_and_dies(farm: Farm, pair: tuple[str, str]) -> None:
    chance = random.Random(7)
    for kill in range(KILLS):
        before = len(column(farm, "select name from sold"))
        with ExitStack() as stack:
            sellers = [
                stack.enter_context(
                    Running(farm.folder, kind, str(farm.folder / "jobs.db"), f"{kind}-{kill}", "2", command=[str(APP)])
                )
                for kind in pair
            ]
            for seller in sellers:
                seller.wait_for("sells")
            until(lambda: is_busy(farm, before + 40), "they sell nothing")  # noqa: B023
            time.sleep(chance.uniform(0, 0.02))  # so that death comes anywhere in a transaction
            for seller in sellers:
                assert seller.process.poll() is None, seller.output
                seller.send(signal.SIGKILL)
            for seller in sellers:
                seller.process.wait()
                assert seller.lines == ["sells"]
        assert sorted(column(farm, "select name from deferq_task")) == sorted(column(farm, "select name from sold"))
    named = column(farm, "select name from deferq_name")
    assert sorted(named) == sorted(column(farm, "select name from sold"))
    large = column(farm, "select id from deferq_task where payload is null")
    assert sorted(large) == sorted(column(farm, "select id from deferq_payload"))
    tried("kills of applications within transactions", 2 * KILLS)


@pytest.mark.slow
@pytest.mark.programme
def test_an_effect_that_settles_with_its_task_happens_once_whenever_the_worker_dies(farm: Farm) -> None:
    ways = [(kind, dies) for kind in ("sqlalchemy", "sqlite3") for dies in ("never", "before", "after")]
    with farm.worker("--threads", "1", "--children", "2", app=str(APP)) as worker:
        handles = []
        for number in range(TASKS):
            kind, dies = ways[number % len(ways)]
            handles.append(farm.put(transacting.ship, kind, str(farm.folder / "jobs.db"), dies, attempts=9))
        farm.wait_all(handles, 60 + TASKS)
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 0, worker.output
    assert farm.states(handles) == {State.SUCCEEDED: TASKS}
    assert Counter(column(farm, "select id from shipped")) == {str(handle.id): 1 for handle in handles}
    followed = column(farm, "select name from deferq_name")
    assert sorted(followed) == sorted(f"after-{handle.id}" for handle in handles)
    tried("tasks that settle themselves, most of them killed", TASKS)


#: A worker that would look by itself only after the test's patience.
SLEEPER = "import sys; from deferq import Deferq; Deferq(sys.argv[1]).worker(poll_s=40, threads=1).run()"


def test_a_worker_of_another_process_is_woken_by_the_commit(farm: Farm) -> None:
    with (
        Running(farm.folder, farm.url, command=["-c", SLEEPER]),
        closing(sqlite3.connect(farm.folder / "jobs.db")) as connection,
    ):
        until(lambda: list(farm.deferq.engine.bells.glob("*")), "it hangs up no bell")  # type: ignore[attr-defined]
        handle = farm.deferq.call(abs, -7).defer(within=connection)
        assert farm.deferq.engine.get([handle.id]) == []
        connection.commit()
        assert handle.wait(20) == 7


#: It looks so seldom that the program has ended before the second look.
ENDS_AT_ONCE = """
import sqlite3, sys
from deferq import Deferq
from deferq.transactions import looking

looking.SOONEST_S = looking.LATEST_S = 3600
with sqlite3.connect(sys.argv[2]) as connection:
    Deferq(sys.argv[1]).call(abs, -7).defer(within=connection)
"""


def test_the_commit_of_a_program_that_ends_right_after_it_wakes_a_worker(farm: Farm) -> None:
    engine: Any = farm.deferq.engine
    with Running(farm.folder, farm.url, command=["-c", SLEEPER]):
        until(lambda: list(engine.bells.glob("*")), "it hangs up no bell")
        first = farm.deferq.defer(abs, -1)  # once it has run, nothing is looked for any more
        assert first.wait(20) == 1
        command = [sys.executable, "-c", ENDS_AT_ONCE, farm.url, str(farm.folder / "jobs.db")]
        subprocess.run(command, check=True, timeout=60)
        until(lambda: farm.deferq.engine.counts().succeeded == 2, "nobody has run it", timeout_s=20)
