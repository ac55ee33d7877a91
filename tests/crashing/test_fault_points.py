"""Fault points do nothing, unless a test lets them fail or ends an attempt there."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from deferq import Deferq, State, current_task
from deferq.testing import Crashed, crash_at, fail_at, fault_point

steps: list[str] = []


@pytest.fixture(autouse=True)
def _no_steps() -> None:
    steps.clear()


def two_steps(number: int = 0) -> int:
    steps.append("first")
    fault_point("between the steps")
    steps.append("second")
    fault_point("after the steps")
    return current_task().attempt if number else 0


def test_a_fault_point_does_nothing() -> None:
    two_steps()
    assert steps == ["first", "second"]


def test_an_error_is_raised_at_the_fault_point_as_often_as_was_asked() -> None:
    with fail_at("between the steps", OSError("no network"), times=2) as trap:
        for _ in range(2):
            with pytest.raises(OSError, match="no network"):
                two_steps()
        two_steps()
    assert trap.hits == 2
    assert steps == ["first", "first", "first", "second"]
    two_steps()


def test_of_a_class_each_error_is_a_new_one() -> None:
    seen = []
    with fail_at("between the steps", KeyError, times=2):
        for _ in range(2):
            try:
                two_steps()
            except KeyError as error:
                seen.append(error)
    assert len({id(error) for error in seen}) == 2


def test_the_first_times_can_be_skipped() -> None:
    with fail_at("between the steps", OSError, skip=1):
        two_steps()
        with pytest.raises(OSError):
            two_steps()


def test_the_block_ends_where_it_crashes_and_the_test_goes_on() -> None:
    with crash_at("between the steps"):
        two_steps()
        raise AssertionError("not to be reached")
    assert steps == ["first"]


def test_a_crash_is_not_caught_as_an_exception() -> None:
    with crash_at("between the steps"):
        try:
            two_steps()
        except Exception:
            steps.append("caught")
    assert steps == ["first"]


def test_the_crash_of_an_outer_block_goes_through_an_inner_one() -> None:
    with crash_at("between the steps"):
        with crash_at("after the steps"):
            two_steps()
        raise AssertionError("not to be reached")
    assert steps == ["first"]


@pytest.mark.parametrize("block", [lambda: crash_at("betwen the steps"), lambda: fail_at("betwen the steps", OSError)])
def test_a_fault_point_that_is_not_reached_fails_the_test_and_names_the_near_one(block) -> None:
    with pytest.raises(AssertionError, match=r"'betwen the steps' was not reached.*between the steps"), block():
        two_steps()


def test_where_none_was_reached_that_is_said() -> None:
    with pytest.raises(AssertionError, match="None was"), crash_at("between the steps"):
        pass


def test_where_all_were_skipped_that_is_said() -> None:
    with pytest.raises(AssertionError, match="reached 1 times, and skip=3"), crash_at("between the steps", skip=3):
        two_steps()


def test_an_error_of_the_block_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), crash_at("between the steps"):
        raise ZeroDivisionError


def test_a_coroutine_crashes_there_too() -> None:
    async def steps_later() -> None:
        await asyncio.sleep(0)
        two_steps()

    with crash_at("between the steps"):
        asyncio.run(steps_later())
    assert steps == ["first"]


def test_a_worker_runs_a_task_again_that_crashed() -> None:
    with Deferq("memory://") as deferq:
        worker = deferq.worker(listeners=())
        worker.start()
        try:
            with crash_at("between the steps"):
                handle = deferq.defer(two_steps, 1)
                assert handle.wait(timeout=30) == 2
        finally:
            worker.stop()
        assert handle.refresh().state is State.SUCCEEDED
    assert steps == ["first", "first", "second"]


def test_a_crash_of_a_stranger_is_passed_on() -> None:
    with pytest.raises(Crashed, match="of somebody else"), crash_at("between the steps"):
        raise Crashed("of somebody else")


def test_a_fault_point_in_production_loads_nothing_that_only_tests_need() -> None:
    script = (
        "import sys; before = set(sys.modules); from deferq.testing import fault_point; fault_point('x');"
        "loaded = {name for name in set(sys.modules) - before if name.startswith('deferq.testing')};"
        "assert loaded == {'deferq.testing', 'deferq.testing.faultpoints'}, loaded;"
        "assert 'sqlite3' not in sys.modules and 'multiprocessing' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
