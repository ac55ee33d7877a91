"""Suspect tasks with real workers: what kills its worker twice runs alone from then on, and hurts nobody."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deferq import State, TaskCancelled
from deferq.handles import TaskHandle
from deferq.model.outcome import LEFT_TO_PARENTS, ErrorText, Failed
from tests.cli.processes import Running, environment
from tests.process.farm import Farm, lives, until
from tests.support import lease, settle_each

import suspect_tasks as tasks  # isort: skip  # the application, by the name that its workers know it by

APP = str(Path(__file__).with_name("suspect_tasks.py"))
STEADY_S = 60.0
_NUMBERS = count()
LOST = Failed(error=ErrorText(error_type="WorkerLost", message="it died"), reason="worker lost")


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    for name in [name for name in os.environ if name.startswith("DEFERQ_")]:
        monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    farm = Farm(tmp_path)
    yield farm
    farm.deferq.close()


def worker(farm: Farm, *words: str) -> Running:
    return farm.worker("--quarantine-memory", "150", *words, app=APP)


def stop(running: Running) -> None:
    running.send(signal.SIGTERM)
    assert running.exit_code() == 0, running.output


def put_suspect(farm: Farm, fn: Callable[..., Any], *args: Any, crashes: int = 2, **options: Any) -> TaskHandle:
    """Put a task whose worker has died twice, as far as anybody knows."""
    engine, queue = farm.deferq.engine, f"suspects-{next(_NUMBERS)}"
    handle = farm.put(fn, *args, queue=queue, **options)
    for _ in range(crashes):
        until(lambda: (held := lease(engine, queues=[queue])) and settle_each(engine, held, LOST), "not leased")
    assert handle.refresh().crashes == crashes
    return handle


def quarantines(running: Running) -> int:
    return sum("runs alone in a fresh process" in line for line in list(running.lines))


def show(farm: Farm, handle: TaskHandle, *words: str) -> str:
    command = [sys.executable, "-m", "deferq", "tasks", "show", str(handle.id), "--url", farm.url, *words]
    return subprocess.run(
        command, cwd=farm.folder, env=environment(), check=True, capture_output=True, text=True
    ).stdout


# ---- it hurts nobody


def test_a_poison_task_dies_with_its_report_and_a_thousand_others_finish(farm: Farm) -> None:
    good = farm.put_many(tasks.good, [()] * 500)
    poison = farm.put(tasks.segfaults, attempts=4)
    good += farm.put_many(tasks.good, [()] * 500)
    with worker(farm, "--children", "2", "--threads", "2") as running:
        farm.wait_all([*good, poison])
        running.wait_for("died: WorkerLost: The process was killed by SIGSEGV. Nothing but this task ran in it.")
        stop(running)
    assert farm.states(good) == {State.SUCCEEDED: 1000}
    task = poison.refresh()
    assert (task.state, task.attempts, task.crashes) == (State.DEAD, 4, 4)
    assert task.reason == "attempts spent, last: worker lost (alone in quarantine, it was killed by SIGSEGV)"
    pids = [pid for _, pid, *_ in farm.runs(poison)]
    assert len(set(pids)) == len(pids), "each attempt had a process that the others had killed no more"
    last = poison.details().failures[-1]
    assert "Segmentation fault" in last.traceback
    assert "in segfaults" in last.traceback
    assert "after 3 lost workers" in last.report
    assert "150 MB allowed" in last.report
    assert "killed by SIGSEGV" in last.report
    text, document = show(farm, poison), json.loads(show(farm, poison, "--json"))
    assert "its worker has died 4 times" in text
    assert "report of its quarantine" in text
    assert (document["crashes"], document["failures"][-1]["report"]) == (4, last.report)


@pytest.mark.parametrize(
    ("fn", "how"), [(tasks.async_segfaults, "killed by SIGSEGV"), (tasks.exits, "exit code 0")], ids=["async", "exit"]
)
@pytest.mark.slow
def test_it_dies_with_a_reason_that_a_person_understands(farm: Farm, fn: Callable[[], Any], how: str) -> None:
    handle = farm.put(fn, attempts=3)
    with worker(farm) as running:
        farm.wait_all([handle])
        stop(running)
    task = handle.refresh()
    assert (task.state, farm.kinds(handle)) == (State.DEAD, ["worker lost"] * 3)
    assert how in (task.reason or "")


@pytest.mark.parametrize(
    "fn",
    [
        tasks.eats,
        pytest.param(tasks.async_eats, marks=pytest.mark.slow),
        pytest.param(tasks.eats_in_small_pieces, marks=pytest.mark.slow),
    ],
)
def test_what_eats_all_memory_gets_a_memory_error_there(farm: Farm, fn: Callable[[], Any]) -> None:
    handle = put_suspect(farm, fn, attempts=3)
    with worker(farm) as running:
        farm.wait_all([handle])
        stop(running)
    last = handle.details().failures[-1]
    assert (last.error_type, last.kind, handle.refresh().crashes) == ("MemoryError", "failed", 2)
    assert "150 MB allowed beyond the application's own" in last.report
    assert fn is tasks.eats_in_small_pieces or "suspect_tasks.py" in last.traceback, "there is memory to describe it"


@pytest.mark.parametrize("fn", [pytest.param(tasks.hoards, marks=pytest.mark.slow), tasks.async_hoards])
def test_what_keeps_all_memory_and_ends_well_is_heard_of(farm: Farm, fn: Callable[[], Any]) -> None:
    handle = put_suspect(farm, fn)
    with worker(farm) as running:
        farm.wait_all([handle])
        stop(running)
    assert (handle.refresh().state, handle.refresh().crashes) == (State.SUCCEEDED, 2)


@pytest.mark.slow  # at the next beat
def test_what_workers_without_children_have_parked_is_woken_by_one_that_has_them(farm: Farm) -> None:
    handle = farm.put(tasks.holds, "pyproject.toml", attempts=5, countdown=3600)
    with worker(farm) as running:
        running.wait_for("worker started")
        with closing(sqlite3.connect(farm.folder / "jobs.db", timeout=30)) as connection, connection:
            parked = "update deferq_task set attempts = 3, crashes = 3, parks = 9, reason = ? where id = ?"
            connection.execute(parked, (LEFT_TO_PARENTS, handle.id))
        assert handle.wait(STEADY_S) == "through"
        stop(running)
    assert quarantines(running) == 1


# ---- it hurts nothing that is well


@pytest.mark.slow
def test_a_healthy_task_that_had_bad_luck_twice_succeeds_in_quarantine(farm: Farm) -> None:
    handle = farm.put(tasks.holds, attempts=5)
    with worker(farm) as running:
        for times in (1, 2):
            os.kill(farm.wait_for_run(handle, times), signal.SIGKILL)
        alone = farm.wait_for_run(handle, 3)
        assert farm.put(tasks.holds, "pyproject.toml").wait(STEADY_S) == "through", "the others go on beside it"
        (farm.folder / "go").touch()
        assert handle.wait(STEADY_S) == "through"
        until(lambda: not lives(alone), "its process goes on", STEADY_S)
        stop(running)
    assert handle.refresh().crashes == 2
    assert quarantines(running) == 1


@pytest.mark.slow
def test_suspects_take_turns_in_fresh_processes_whose_memory_is_capped(farm: Farm) -> None:
    suspects, ordinary = [put_suspect(farm, tasks.tells) for _ in range(3)], farm.put(tasks.tells)
    with worker(farm) as running:
        pid, limit = ordinary.wait(STEADY_S)
        told = [suspect.wait(STEADY_S) for suspect in suspects]
        stop(running)
    assert limit == resource.getrlimit(resource.RLIMIT_DATA)[0]
    assert all(150e6 < limit < 1e9 for _, limit in told)
    assert len({pid, *(pid for pid, _ in told)}) == 4, "each had a fresh process"
    assert [handle.refresh().attempts for handle in suspects] == [3] * 3, "and waiting for it spent nothing"


# ---- what holds for every task holds for it


@pytest.mark.slow  # its worker learns of it when it renews the lease
def test_it_can_be_cancelled_there(farm: Farm) -> None:
    handle = put_suspect(farm, tasks.looks)
    with worker(farm) as running:
        farm.wait_for_run(handle)
        command = [sys.executable, "-m", "deferq", "tasks", "cancel", str(handle.id), "--url", farm.url]
        subprocess.run(command, cwd=farm.folder, env=environment(), check=True)
        with pytest.raises(TaskCancelled):
            handle.wait(STEADY_S)
        stop(running)


@pytest.mark.slow
def test_at_the_end_of_the_drain_time_it_is_killed_and_put_back(farm: Farm) -> None:
    handle = put_suspect(farm, tasks.holds, attempts=5)
    with worker(farm, "--drain-s", "0.2") as running:
        alone = farm.wait_for_run(handle)
        stop(running)
        assert not lives(alone)
    task = handle.refresh()
    assert (task.state, task.reason, task.crashes) == (State.PENDING, "worker stopped", 2)
    assert "since the worker stopped" in handle.details().failures[-1].report


@pytest.mark.slow
def test_it_has_its_timeout_there(farm: Farm) -> None:
    handle = put_suspect(farm, tasks.holds, attempts=3, timeout=0.5)
    with worker(farm) as running:
        farm.wait_all([handle])
        stop(running)
    assert farm.kinds(handle) == ["worker lost", "worker lost", "timed out"]
    assert "its task ran past its timeout" in handle.details().failures[-1].report


@pytest.mark.slow
def test_it_dies_with_its_parent_and_the_next_worker_takes_it(farm: Farm) -> None:
    handle = put_suspect(farm, tasks.holds, attempts=5)
    with worker(farm) as running:
        alone = farm.wait_for_run(handle)
        running.send(signal.SIGKILL)
        until(lambda: not lives(alone), "it outlives its parent", STEADY_S)
    (farm.folder / "go").touch()
    with worker(farm) as running:
        assert handle.wait(STEADY_S) == "through"
        stop(running)
    assert handle.refresh().crashes == 3


# ---- inside another program

PROGRAM = """
import sys
from deferq import Deferq
import suspect_tasks
Deferq(sys.argv[1]).worker(threads=4, until_idle=True, listeners=[]).run()
"""


@pytest.mark.slow
def test_a_program_dies_of_a_poison_task_three_times_and_all_others_finish(farm: Farm) -> None:
    """They were lost with it, and run one by one until it is clear which one it was."""
    good = farm.put_many(tasks.naps, [()] * 30)
    poison = farm.put(tasks.segfaults, attempts=25)
    deaths = 0
    ends = time.monotonic() + STEADY_S
    while poison.refresh().parks == 0 or farm.states(good) != {State.SUCCEEDED: 30}:
        assert time.monotonic() < ends, (deaths, farm.states(good), poison.refresh())
        command = [sys.executable, "-c", PROGRAM, farm.url]
        path = os.pathsep.join([*sys.path, str(Path(APP).parent)])
        ended = subprocess.run(command, cwd=farm.folder, env={**environment(), "PYTHONPATH": path}, check=False)
        assert ended.returncode in (0, -signal.SIGSEGV)
        deaths += ended.returncode != 0
    assert deaths == 3
    with worker(farm) as running:
        running.wait_for("was killed by SIGSEGV. Nothing but this task ran in it.")
        stop(running)
    assert len(farm.runs(poison)) >= 4


@pytest.mark.slow
def test_what_a_worker_inside_a_program_has_parked_the_next_worker_with_children_runs_at_its_start(farm: Farm) -> None:
    handle = put_suspect(farm, tasks.tells, crashes=3, attempts=5)
    inside = farm.deferq.worker(listeners=[])
    inside.start()
    until(lambda: handle.refresh().parks, "it is not parked")
    inside.stop()
    with worker(farm) as running:
        assert handle.wait(STEADY_S)[0] != os.getpid()
        stop(running)
    assert quarantines(running) == 1
