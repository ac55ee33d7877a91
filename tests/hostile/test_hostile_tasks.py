"""Whatever a task does to its process: the others finish, it is counted, and people can read why it died."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from deferq import State
from deferq.cli.main import main
from tests.hostile.yard import Case, Yard, cases, kinds, yard
from tests.support import sized, tiers, tried

#: Those that `make test` runs.
SLICE = (
    "segfaults",
    "exits_as_if_all_were_well",
    "exits",
    "raises_without_text",
    "raises_what_denies_its_class",
    "asks_for_an_odd_time",
    "returns_a_lock",
    "forks_and_the_copy_comes_back",
    "closes_descriptors",
    "changes_directory",
    "closes_the_loop_by_force",
    "breaks_the_task_factory",
)
WORDS = ("--threads", "2", "--async-slots", "20", "--drain-s", "1")


def show(worked: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    """People are shown how each of the dead ended."""
    capsys.readouterr()
    for case, handle in worked.hostile:
        main(["tasks", "show", str(handle.id), "--url", worked.farm.url])
        shown = capsys.readouterr().out
        if case.end.how and not (case.end.how in shown and case.end.says in shown):
            worked.problems.append(f"{case} is shown as:\n{shown}")


@pytest.mark.programme
def test_hostile_tasks_come_to_the_end_that_is_foretold_and_the_others_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = cases(sized(test=SLICE, proof=None, long=None))
    monkeypatch.setenv("HOSTILE_LINES", str(sized(test=1_000, proof=1_000_000, long=1_000_000)))
    with yard(tmp_path, monkeypatch, *WORDS) as worked:
        for case in chosen:
            worked.run(case)
        show(worked, capsys)
        worked.finish()
    tried("kinds of hostile tasks", len({case.kind.name for case in chosen}))
    tried("hostile tasks, each beside good ones", len(chosen))


@pytest.mark.slow
@pytest.mark.programme
def test_a_worker_inside_a_program_survives_what_does_not_end_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [case for case in cases() if case.kind.embedded]
    with yard(tmp_path, monkeypatch, embedded=True) as worked:
        for case in chosen:
            worked.run(case)
        worked.finish()
    tried("hostile tasks inside a program", len(chosen))


@pytest.mark.slow
@pytest.mark.programme
def test_a_task_that_holds_the_interpreter_lock_for_three_leases_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE_HOLD_S", "9.5")
    with yard(tmp_path, monkeypatch, "--children", "2", *WORDS, lease_s=3.0) as worked:
        holders = [worked.put_hostile(case) for case in cases(["holds_the_lock_for_three_leases"])]
        for handle in holders:
            worked.farm.wait_for_run(handle)
        worked.await_all(worked.put_good(20), "the others have not ended")
        assert {handle.state for handle in holders} == {State.LEASED}, "it was to hold the lock for longer"
        worked.await_all(holders, "the holders have not ended")
        assert {(handle.refresh().state, handle.refresh().attempts) for handle in holders} == {(State.SUCCEEDED, 1)}
        assert [len(worked.farm.runs(handle)) for handle in holders] == [1, 1]
        worked.finish()


@pytest.mark.slow
@pytest.mark.programme
def test_a_coroutine_that_blocks_the_event_loop_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE_HOLD_S", "3600")
    with yard(tmp_path, monkeypatch, *WORDS) as worked:
        (blocks,) = [worked.put_hostile(case, attempts=1) for case in cases(["blocks_the_loop"])]
        worked.farm.wait_for_run(blocks)
        worked.await_all(worked.put_good(20), "the others have not ended")
        assert {handle.refresh().attempts for handle in worked.good} == {1}
        assert blocks.state is State.LEASED
        worked.finish()
    assert worked.farm.kinds(blocks) == ["worker stopped"]


@pytest.mark.slow
@pytest.mark.programme
@pytest.mark.skipif(tiers.TIER != "long", reason="a new order each time belongs to the night")
def test_in_any_order_and_all_at_once_each_comes_to_an_end_and_the_good_ones_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get("HOSTILE_SEED", random.randrange(10**6)))
    print("seed", seed)
    chance = random.Random(seed)
    rounds, good = (100, 10_000)
    chosen = [case for case in cases() for _ in range(rounds)]
    chance.shuffle(chosen)
    ends = time.monotonic() + 7_200
    with yard(tmp_path, monkeypatch, "--children", "3", "--threads", "4", "--drain-s", "1") as worked:
        worked.put_good(good // 4)
        for at in range(0, len(chosen), 20):
            worked.put_good(max(1, good // 4 * 20 // len(chosen)))
            put = [worked.put_hostile(case) for case in chosen[at : at + 20]]
            worked.await_all(put, f"seed {seed}: they have not ended")
            worked.problems += [
                told for case, handle in worked.hostile[at:] if (told := _ended_badly(case, worked, handle))
            ]
            if time.monotonic() > ends:
                break
        worked.finish()
    tried("hostile tasks in any order", len(worked.hostile))
    tried("good tasks beside them", len(worked.good))


def _ended_badly(case: Case, worked: Yard, handle: object) -> str:
    """Its neighbours may have taken it with them; but it has ended within its attempts, and people can read why."""
    task, failures = handle.refresh(), handle.details().failures  # type: ignore[attr-defined]
    allowed = task.state is State.SUCCEEDED or task.state is State.DEAD
    told = all(failure.kind and failure.message + failure.error_type for failure in failures)
    runs = len(worked.farm.runs(handle))  # type: ignore[arg-type]
    if allowed and task.attempts <= 2 and told and runs <= 2 and (task.state is State.SUCCEEDED or task.reason):
        return ""
    return f"{case}: {task.state.name}, {task.attempts} attempts, {runs} runs, {task.reason}"


def test_there_are_thirty_kinds_at_least_in_threads_and_in_the_loop() -> None:
    assert all(sum(where in kind.where for kind in kinds.KINDS.values()) >= 30 for where in (kinds.THREAD, kinds.LOOP))
