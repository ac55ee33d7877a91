"""What stays within bounds, whatever happens: failures 39, 40, 52, 54, 60, 61, 68."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from deferq.engines.sqlite import SqliteEngine
from deferq.errors import StoreUnavailable
from deferq.runtime.dispatcher import TakeTurn, Wait
from tests.cli.processes import Running
from tests.process.farm import Farm, child_pids
from tests.support import FakeClock, TaskMaker, lease, sized, tried
from tests.unit.test_dispatcher import Scene

MB = 1_000_000


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    farm = Farm(tmp_path)
    yield farm
    farm.deferq.close()


def anonymous(pid: int) -> int:
    """Bytes of memory of its own; pages of files come and go."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024


def pids(worker: Running) -> list[int]:
    return [worker.process.pid, *child_pids(worker)]


def stop(worker: Running) -> None:
    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0, worker.output


@pytest.mark.slow
@pytest.mark.programme
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell how much memory is used")
def test_tasks_for_later_take_no_memory_of_a_worker(farm: Farm) -> None:
    import child_tasks as tasks

    later = farm.deferq.call(tasks.nothing).with_options(countdown=86_400)
    with farm.worker() as worker:
        farm.wait_all(farm.put_many(tasks.nothing, [()] * 1_000))
        before = {pid: anonymous(pid) for pid in pids(worker)}
        count = sized(100_000, 1_000_000, 1_000_000)
        for _ in range(count // 10_000):
            farm.deferq.defer_many([later] * 10_000)
        farm.wait_all(farm.put_many(tasks.nothing, [()] * 1_000))
        grown = {pid: anonymous(pid) - size for pid, size in before.items()}
        stop(worker)
    tried("tasks for later beside a worker", count)
    assert max(grown.values()) < 20 * MB


@pytest.mark.slow
@pytest.mark.programme
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell how much memory is used")
def test_a_worker_that_has_run_many_tasks_is_no_larger_than_before(farm: Farm) -> None:
    import child_tasks as tasks

    rounds = sized(10, 40, 20_000)
    with farm.worker() as worker:
        for _ in range(sized(5, 25, 25)):  # the history, buffers and SQLite's caches (16 MB each) find their size
            farm.wait_all(farm.put_many(tasks.nothing, [()] * 5_000))
        before = {pid: anonymous(pid) for pid in pids(worker)}
        for _ in range(rounds):
            farm.wait_all(farm.put_many(tasks.nothing, [()] * 5_000))
        grown = {pid: anonymous(pid) - size for pid, size in before.items()}
        stop(worker)
    tried("tasks run by one worker that did not grow", rounds * 5_000)
    assert max(grown.values()) < 20 * MB


def looks(scene: Scene, until_s: float) -> Iterator[float]:
    """When an idle worker asks the store for work. All of its waits go by: nothing rings."""
    while scene.now < until_s:
        if isinstance(effect := scene._effect, Wait):
            scene.now += effect.timeout_s
            effect = scene.step(False)
        else:
            effect = scene.step()
        if isinstance(effect, TakeTurn):
            yield scene.now


def test_a_worker_whose_bell_nobody_rings_looks_each_second() -> None:
    scene = Scene(poll_s=1.0)
    times = list(looks(scene, 160.0))
    assert max(after - before for before, after in pairwise(times)) <= 1.0


def test_a_stop_has_an_end_although_the_store_is_out_of_reach() -> None:
    scene = Scene(drain_s=5.0)
    scene.leasing(1)
    scene.task_s = 1_000.0
    scene.stop.request()
    began = scene.now
    for _ in range(10_000):
        asks = not isinstance(scene._effect, Wait | None)
        if scene.step(StoreUnavailable("gone") if asks else None) is None:
            break
    else:
        raise AssertionError("it never ends")
    assert scene.now - began < 10.0


class Worker(Scene):
    """One of many, with a chance of its own."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        super().__init__()

    def random(self) -> float:
        return self._chance.random()


def test_a_hundred_idle_workers_do_not_look_in_step() -> None:
    """They all start at the same moment. Later, no tenth of a second is anywhere near as busy as that one."""
    chance = random.Random(1)
    bins = Counter(int(at * 10) for _ in range(100) for at in looks(Worker(chance), 160.0) if at > 110.0)
    per_second = sum(bins.values()) / 50.0
    assert per_second < 200.0
    assert max(bins.values()) <= 0.3 * per_second


@pytest.mark.parametrize("leap_s", [-3_600, -10 * 365 * 86_400])
def test_after_a_clock_was_set_back_what_is_deferred_then_starts_at_once(
    tmp_path: Path, clock: FakeClock, new: TaskMaker, leap_s: int
) -> None:
    """What was deferred before comes when its time has come again; nobody waits for that."""
    engine = SqliteEngine(tmp_path / "jobs.db", clock=clock)
    engine.put([new()])
    clock.advance(leap_s)
    later = new()
    engine.put([later])
    assert [task.id for task in lease(engine)] == [later.id]
    engine.close()


def test_a_child_is_a_fresh_process(farm: Farm) -> None:
    """It has none of its parent's threads, locks or modules: nothing was forked."""
    import child_tasks as tasks

    with farm.worker() as worker:
        farm.put(tasks.nothing).wait(60)
        (child,) = child_pids(worker)
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        stop(worker)
    assert b"--child" in command
