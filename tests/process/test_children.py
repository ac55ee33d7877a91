"""`deferq worker` with real children, real signals and tasks that behave as badly as they can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deferq import State, TaskCancelled, TaskFailed
from deferq.runtime.children.threads import TOGETHER
from tests.cli.processes import Running, environment, wait_for_file
from tests.process.farm import Farm, child_pids, lives, until

import child_tasks as tasks  # isort: skip  # the application, by the name that its workers know it by

STEADY_S = 60.0


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    for name in [name for name in os.environ if name.startswith("DEFERQ_")]:
        monkeypatch.delenv(name)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    farm = Farm(tmp_path)
    yield farm
    farm.deferq.close()


def stop(worker: Running) -> None:
    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0, worker.output


# ---- what tasks can do


def test_tasks_may_do_what_programs_do_and_the_worker_goes_on(farm: Farm) -> None:
    with farm.worker("--threads", "2") as worker:
        assert farm.put(tasks.forks).wait(STEADY_S) == 7
        assert farm.put(tasks.forks_and_comes_back).wait(STEADY_S) == 1
        assert farm.put(tasks.runs_program).wait(STEADY_S) == "from a program"
        assert farm.put(tasks.reads_input).wait(STEADY_S) == ""
        assert "main thread" in farm.put(tasks.installs_handler).wait(STEADY_S)
        assert farm.put(tasks.asks_for_retry).wait(STEADY_S) == 3
        assert farm.put(tasks.snoozes).wait(STEADY_S) == "awake"
        ended = farm.put(tasks.exits, attempts=2)
        with pytest.raises(TaskFailed):
            ended.wait(STEADY_S)
        assert farm.kinds(ended) == ["failed", "failed"]
        farm.put(tasks.prints, "moin").wait(STEADY_S)
        worker.wait_for("said moin")
        farm.put(tasks.closes_standard_streams).wait(STEADY_S)
        assert farm.put(tasks.give, {"a": [1, "\ud800"]}).wait(STEADY_S) == {"a": [1, "\ud800"]}
        assert len(child_pids(worker)) == 1
        stop(worker)


@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_process_that_a_task_starts_can_be_terminated(farm: Farm, how: str) -> None:
    with farm.worker() as worker:
        assert farm.put(tasks.starts_processes, how).wait(STEADY_S) == -signal.SIGTERM
        stop(worker)


def test_a_task_knows_all_about_itself(farm: Farm) -> None:
    options = {
        "name": "own", "queue": "mail", "route": "east", "tags": ["a", "b"], "headers": {"x": "y"}, "timeout": 30.0,
    }  # fmt: skip
    with farm.worker("--route", "east") as worker:
        for number, fn in enumerate((tasks.tells_itself, tasks.async_tells_itself)):
            options["name"] = f"own-{number}"
            handle = farm.put(fn, **options)
            told = handle.wait(STEADY_S)
            assert 20 < told.pop("left") <= 30
            assert told == {
                "id": handle.id, "name": f"own-{number}", "queue": "mail", "target": f"child_tasks:{fn.__name__}",
                "attempt": 1, "route": "east", "tags": ("a", "b"), "headers": {"x": "y"}, "cancelled": False,
            }  # fmt: skip
        stop(worker)


@pytest.mark.slow
def test_a_task_of_an_unknown_target_is_parked(farm: Farm) -> None:
    (farm.folder / "later.py").write_text("def work(): ...\n")
    words = ["defer", "later:work", "--url", farm.url]
    subprocess.run([sys.executable, "-m", "deferq", *words], cwd=farm.folder, env=environment(), check=True)
    (farm.folder / "later.py").unlink()
    with farm.worker() as worker:
        worker.wait_for("is parked")
        stop(worker)


def test_coroutines_share_the_slots(farm: Farm) -> None:
    handles = farm.put_many(tasks.async_peak, [(100,)] * 200)
    with farm.worker("--async-slots", "100", "--threads", "4") as worker:
        farm.wait_all(handles)
        stop(worker)
    assert farm.states(handles) == {State.SUCCEEDED: 200}
    assert max(map(int, (farm.folder / "peak").read_text().split())) == 100
    assert set(farm.times_run().values()) == {1}


@pytest.mark.slow
def test_large_payloads_and_results_go_through(farm: Farm) -> None:
    payloads = farm.put_many(tasks.take, [(os.urandom(1) * 1_000_000,)] * 150)
    results = farm.put_many(tasks.give, [(b"x" * 1_000_000,)] * 20)
    with farm.worker("--threads", "2") as worker:
        farm.wait_all([*payloads, *results])
        assert {handle.wait(0) for handle in payloads} == {1_000_000}
        assert len(results[0].wait(0)) == 1_000_000
        stop(worker)


@pytest.mark.slow  # its worker learns of it when it renews
def test_a_running_task_can_be_cancelled_from_the_command_line(farm: Farm) -> None:
    handles = [farm.put(tasks.async_hold), farm.put(tasks.look_whether_cancelled)]
    with farm.worker() as worker:
        for handle in handles:
            farm.wait_for_run(handle)
        words = ["tasks", "cancel", *(str(handle.id) for handle in handles), "--url", farm.url]
        subprocess.run([sys.executable, "-m", "deferq", *words], cwd=farm.folder, env=environment(), check=True)
        for handle in handles:
            with pytest.raises(TaskCancelled):
                handle.wait(STEADY_S)
        stop(worker)


# ---- death


def test_a_task_that_kills_its_process_dies_and_its_neighbours_live(farm: Farm) -> None:
    killers = [farm.put(fn, attempts=2) for fn in (tasks.die, tasks.segfault)]
    others = farm.put_many(tasks.nap, [(0.01,)] * 50)
    with farm.worker("--children", "2", "--threads", "2") as worker:
        farm.wait_all([*killers, *others])
        stop(worker)
    assert farm.states(others) == {State.SUCCEEDED: 50}
    for killer in killers:
        task = killer.refresh()
        assert (task.state, task.attempts, farm.kinds(killer)) == (State.DEAD, 2, ["worker lost"] * 2)
        assert len(farm.runs(killer)) <= 2  # one may kill the other between its start and its first line


def test_a_payload_that_kills_whoever_reads_it_comes_to_an_end(farm: Farm) -> None:
    poison = farm.put(tasks.give, tasks.Poison(), attempts=3)
    (farm.folder / "armed").touch()
    with farm.worker("--threads", "2") as worker:
        farm.wait_all([poison])
        assert farm.put(tasks.give, 1).wait(STEADY_S) == 1
        stop(worker)
    assert (poison.refresh().state, poison.task.attempts) == (State.DEAD, 3)
    assert len(farm.runs()) == 3


@pytest.mark.slow
def test_a_task_of_a_single_attempt_never_starts_twice(farm: Farm) -> None:
    once = farm.put(tasks.kill_child_once, attempts=1)
    with farm.worker() as worker:
        farm.wait_all([once])
        stop(worker)
    assert (once.refresh().state, len(farm.runs(once))) == (State.DEAD, 1)


def test_when_a_child_is_killed_what_it_had_started_runs_again_and_the_rest_is_not_spent(farm: Farm) -> None:
    held = [farm.put(tasks.hold_first_time) for _ in range(2)]
    with farm.worker("--threads", "2") as worker:
        pid = farm.wait_for_run(held[0])
        farm.wait_for_run(held[1])
        waiting = farm.put(tasks.nap, 0)
        os.kill(pid, signal.SIGKILL)
        worker.wait_for("was killed by SIGKILL")
        assert [handle.wait(STEADY_S) for handle in held] == [2, 2]
        waiting.wait(STEADY_S)
        stop(worker)
    assert [farm.kinds(handle) for handle in (*held, waiting)] == [["worker lost"], ["worker lost"], []]
    assert waiting.refresh().attempts == 1
    assert lives(pid) is False


@pytest.mark.slow
def test_children_killed_in_the_middle_of_ten_thousand_tasks_lose_none(farm: Farm) -> None:
    handles = farm.put_many(tasks.nap, [(0,)] * 10_000)
    with farm.worker("--children", "2", "--threads", "4") as worker:
        for kills in range(4):
            until(lambda kills=kills: len(farm.runs()) > 500 + 1_500 * kills, "no progress", STEADY_S)  # type: ignore[misc]
            worker.wait_for("is ready: pid", times=2 + kills)
            os.kill(next(pid for pid in reversed(child_pids(worker)) if lives(pid)), signal.SIGKILL)
            worker.wait_for("was killed by SIGKILL", times=kills + 1)
        farm.wait_all(handles, 100)
        stop(worker)
    assert farm.states(handles) == {State.SUCCEEDED: 10_000}
    times_run = farm.times_run()
    assert len(times_run) == 10_000
    stored = farm.deferq.engine.get([handle.id for handle in handles])
    assert all(1 <= times_run[str(task.id)] <= task.attempts for task in stored)
    # What had started, and what had ended and was not reported yet, is counted as lost; nothing else is.
    assert sum(task.attempts for task in stored) - 10_000 <= 4 * (4 + TOGETHER)


def test_the_death_of_the_parent_ends_its_children(farm: Farm) -> None:
    held = farm.put(tasks.hold)
    with farm.worker("--children", "2") as worker:
        worker.wait_for("is ready: pid", times=2)
        farm.wait_for_run(held)
        worker.send(signal.SIGKILL)
        worker.wait_for_silence()
        until(lambda: not any(map(lives, child_pids(worker))), "a child lives on")


def test_a_task_that_closes_the_socket_of_its_child_is_lost_and_the_work_goes_on(farm: Farm) -> None:
    with farm.worker("--threads", "2") as worker:
        closes = farm.put(tasks.closes_all_it_can, attempts=1)
        farm.wait_all([closes])
        assert farm.put(tasks.give, 1).wait(STEADY_S) == 1
        stop(worker)
    assert (closes.refresh().state, farm.kinds(closes)) == (State.DEAD, ["worker lost"])


# ---- those that are stuck


@pytest.mark.slow
def test_a_task_that_holds_the_interpreter_lock_holds_up_nobody_else(farm: Farm) -> None:
    hog = farm.put(tasks.hold_interpreter_lock, attempts=1, timeout=600)
    with farm.worker("--children", "1", "--threads", "2") as worker:
        farm.wait_for_run(hog)
        others = farm.put_many(tasks.nap, [(0,)] * 1_000)
        farm.wait_all(others)
        assert hog.state is State.LEASED
        assert {handle.refresh().attempts for handle in others} == {1}
        assert set(farm.times_run().values()) == {1}
        worker.send(signal.SIGTERM)
        worker.wait_for("stopping")
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 143
        for pid in child_pids(worker):
            if lives(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_what_a_stopped_child_has_not_started_goes_elsewhere_and_it_goes_on_when_it_can(farm: Farm) -> None:
    first = farm.put(tasks.hold)
    with farm.worker("--children", "1", "--threads", "2") as worker:
        pid = farm.wait_for_run(first)
        os.kill(pid, signal.SIGSTOP)
        others = farm.put_many(tasks.nap, [(0,)] * 20)
        farm.wait_all(others)
        (farm.folder / "go").touch()
        os.kill(pid, signal.SIGCONT)
        assert first.wait(STEADY_S) == "through"
        stop(worker)
    assert {handle.refresh().attempts for handle in (first, *others)} == {1}
    assert set(farm.times_run().values()) == {1}


def test_a_thread_that_runs_past_its_timeout_ends_with_its_child_once_its_siblings_have_ended(farm: Farm) -> None:
    with farm.worker("--threads", "2") as worker:
        sibling = farm.put(tasks.hold)
        pid = farm.wait_for_run(sibling)
        late = farm.put(tasks.hold, "never", attempts=2, timeout=0.3)
        worker.wait_for("a task ran past its timeout")
        assert farm.put(tasks.give, 5).wait(STEADY_S) == 5  # by another child
        assert lives(pid)
        (farm.folder / "go").touch()
        assert sibling.wait(STEADY_S) == "through"
        farm.wait_all([late])
        stop(worker)
    assert (late.refresh().state, farm.kinds(late)) == (State.DEAD, ["timed out", "timed out"])
    assert sibling.refresh().attempts == 1
    assert not any(map(lives, child_pids(worker)))


@pytest.mark.slow
def test_siblings_of_a_late_task_go_on_no_longer_than_the_drain_time(farm: Farm) -> None:
    with farm.worker("--threads", "2", "--drain-s", "0.3") as worker:
        sibling = farm.put(tasks.hold_first_time)
        farm.wait_for_run(sibling)
        late = farm.put(tasks.hold, "never", attempts=1, timeout=0.2)
        assert sibling.wait(STEADY_S) == 2
        farm.wait_all([late])
        stop(worker)
    assert (farm.kinds(late), farm.kinds(sibling)) == (["timed out"], ["worker stopped"])
    assert sibling.refresh().crashes == 0, "nobody suspects it"


@pytest.mark.slow
def test_a_coroutine_is_cancelled_at_its_timeout_and_its_child_lives(farm: Farm) -> None:
    with farm.worker() as worker:
        late = farm.put(tasks.async_hold, "never", attempts=2, timeout=0.2)
        farm.wait_all([late])
        assert len(child_pids(worker)) == 1
        stop(worker)
    assert farm.kinds(late) == ["timed out", "timed out"]


# ---- those that have done enough


def test_a_child_is_replaced_after_so_many_tasks(farm: Farm) -> None:
    handles = farm.put_many(tasks.nap, [(0,)] * 60)
    with farm.worker("--max-tasks", "20", "--threads", "2") as worker:
        farm.wait_all(handles)
        worker.wait_for("is replaced")
        stop(worker)
    assert farm.states(handles) == {State.SUCCEEDED: 60}
    assert len({line[1] for line in farm.runs()}) >= 2
    assert set(farm.times_run().values()) == {1}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="nobody says how much memory a process takes")
def test_a_child_that_takes_too_much_memory_is_replaced(farm: Farm) -> None:
    with farm.worker("--max-rss", "150") as worker:
        pid = farm.put(tasks.hoards, 200).wait(STEADY_S)
        worker.wait_for("MB of memory")
        until(lambda: not lives(pid), "it lives on")
        assert farm.put(tasks.hoards, 1).wait(STEADY_S) != pid
        stop(worker)


# ---- the end


def test_a_stop_lets_running_tasks_finish_and_gives_the_rest_back(farm: Farm) -> None:
    held = []
    with farm.worker("--threads", "1", "--async-slots", "1") as worker:
        for fn in (tasks.async_hold, tasks.hold):  # the coroutine leaves the thread free
            held.append(farm.put(fn))
            farm.wait_for_run(held[-1])
        waiting = farm.put_many(tasks.nap, [(0,)] * 5) + farm.put_many(tasks.async_hold, [()] * 5)
        worker.send(signal.SIGTERM)
        worker.wait_for("stopping")
        (farm.folder / "go").touch()
        assert worker.exit_code() == 0
    assert farm.states(held) == {State.SUCCEEDED: 2}
    assert farm.leased() == 0
    assert {(handle.refresh().state, handle.task.attempts) for handle in waiting} == {(State.PENDING, 0)}
    assert "lost" not in worker.output


@pytest.mark.slow
def test_what_does_not_end_within_the_drain_time_is_killed_as_worker_stopped(farm: Farm) -> None:
    held = [farm.put(tasks.hold, "never"), farm.put(tasks.async_hold, "never")]
    with farm.worker("--threads", "2", "--drain-s", "0.2") as worker:
        for handle in held:
            farm.wait_for_run(handle)
        stop(worker)
        worker.wait_for_silence()
    assert farm.leased() == 0
    for handle in held:
        assert (handle.refresh().state, handle.task.attempts) == (State.PENDING, 1)
        assert farm.kinds(handle) == ["worker stopped"]


@pytest.mark.slow
def test_a_second_signal_ends_all_processes(farm: Farm) -> None:
    held = farm.put(tasks.hold, "never")
    with farm.worker("--children", "2") as worker:
        farm.wait_for_run(held)
        worker.send(signal.SIGTERM)
        worker.wait_for("stopping")
        worker.send(signal.SIGTERM)
        assert worker.exit_code() == 143
        worker.wait_for_silence()


@pytest.mark.slow
def test_a_task_may_stop_its_worker(farm: Farm) -> None:
    with farm.worker() as worker:
        asked = farm.put(tasks.stops_the_worker)
        assert worker.exit_code() == 0
    assert asked.wait(0) == "asked"


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_while_the_application_loads_ends_all(farm: Farm, number: signal.Signals) -> None:
    (farm.folder / "slow.py").write_text(
        "import time\nfrom pathlib import Path\nPath('loading').touch()\nwhile True: time.sleep(0.01)\n"
    )
    with farm.worker(app="slow.py") as worker:
        wait_for_file(farm.folder / "loading")
        worker.send_to_all(number)
        assert worker.exit_code() != 0
        worker.wait_for_silence()
        assert "Traceback" not in worker.output


# ---- loading


@pytest.mark.slow
def test_an_application_that_cannot_be_loaded_any_more_is_tried_again_until_it_can(farm: Farm) -> None:
    app = farm.folder / "shop.py"
    app.write_text("X = 0\n")
    words = ("--children", "2", "--threads", "1")
    with Running(farm.folder, "worker", "shop.py", "--url", farm.url, *words) as worker:
        worker.wait_for("is ready: pid", times=2)
        app.write_text("raise RuntimeError('half a release')\n")
        os.kill(child_pids(worker)[-1], signal.SIGKILL)
        worker.wait_for("before it had loaded the application", times=3)
        time.sleep(1.5)  # long enough for dozens, if it were tried again at once
        tries = worker.output.count("before it had loaded the application")
        app.write_text("X = 1\n")
        worker.wait_for("is ready: pid", times=3)
        stop(worker)
    assert tries <= 8


def test_the_application_says_which_store(farm: Farm) -> None:
    (farm.folder / "shop.py").write_text(
        "import deferq\nfrom enum import StrEnum\nclass Store(StrEnum):\n    URL = 'sqlite:///jobs.db'\n"
        "deferq.configure(url=Store.URL, threads=3)\ndef work():\n    print('worked')\n"
    )
    with Running(farm.folder, "worker", "shop.py") as worker:
        worker.wait_for("3 threads")
        words = ["defer", "shop:work", "--app", "shop.py"]
        subprocess.run([sys.executable, "-m", "deferq", *words], cwd=farm.folder, env=environment(), check=True)
        worker.wait_for("worked")
        stop(worker)


def test_listeners_of_the_application_hear_what_becomes_of_tasks(farm: Farm) -> None:
    (farm.folder / "shop.py").write_text(
        "from deferq import Deferq\n"
        "def listen(event):\n    print('heard', str(event.name), event.task_id, event.target, event.detail)\n"
        f"app = Deferq({farm.url!r})\napp.listeners.append(listen)\n"
    )
    (farm.folder / "child_tasks.py").write_text("def fails(message):\n    raise ValueError(message)\n")
    with Running(farm.folder, "worker", "shop.py:app") as worker:
        handle = farm.put(tasks.fails, "tüt", attempts=1)
        worker.wait_for(f"heard task.died {handle.id} child_tasks:fails ValueError: tüt")
        worker.wait_for(f"heard task.started {handle.id} child_tasks:fails")
        worker.wait_for("heard worker.started")
        worker.send(signal.SIGTERM)
        worker.wait_for("heard worker.stopping")
        assert worker.exit_code() == 0


# ---- several workers


@pytest.mark.slow
def test_two_workers_with_children_share_one_file(farm: Farm) -> None:
    handles = farm.put_many(tasks.nap, [(0.002,)] * 600)
    with farm.worker("--children", "2") as one, farm.worker("--children", "2") as other:
        farm.wait_all(handles)
        stop(one)
        stop(other)
    assert farm.states(handles) == {State.SUCCEEDED: 600}
    assert set(farm.times_run().values()) == {1}
