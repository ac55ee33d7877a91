"""The checks of a storm find what they are for, and nothing where all is well."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from deferq import State
from tests.storm import ledger
from tests.storm.checks import Seen, Stored, violations
from tests.storm.ledger import Record
from tests.storm.processes import Hit

CHILD, OTHER_CHILD, PARENT, OTHER_PARENT = 11, 12, 1, 2


def deferred(token: str = "a", task: int = 7) -> list[Record]:
    return [Record("intend", 1, 5, 1, token), Record("accepted", 2, 5, 1, token, task)]


def ran(
    start: int,
    end: int | None,
    *,
    attempt: int = 1,
    how: str = "end",
    pid: int = CHILD,
    token: str = "a",
    task: int = 7,
) -> list[Record]:
    """An execution; without an end nothing is known of it."""
    parent = PARENT if pid == CHILD else OTHER_PARENT
    begun = Record("start", start, pid, parent, token, task, attempt)
    return [begun] if end is None else [begun, Record(how, end, pid, parent, token, task, attempt, start)]


def stored(attempts: int = 1, result: tuple[int, int] | None = (1, 10), **changed: object) -> Stored:
    plain = Stored(7, "a", State.SUCCEEDED, None, attempts, 5, "default", result, frozenset())
    return plain._replace(**changed)  # type: ignore[arg-type]


def found(records: list[Record], tasks: list[Stored], **more: object) -> list[str]:
    """The names of the checks that found something."""
    options = {"hits": [], **more}
    return sorted({line.partition(":")[0] for line in violations(Seen(records, stored=tasks, **options))})  # type: ignore[arg-type]


def test_a_task_that_ran_once_and_counts_is_well() -> None:
    assert found(deferred() + ran(10, 20), [stored()]) == []


def test_a_task_whose_child_was_killed_and_that_ran_again_is_well() -> None:
    records = deferred() + ran(10, None) + ran(30, 40, attempt=2, pid=OTHER_CHILD)
    for victim in (CHILD, PARENT):
        assert found(records, [stored(2, (2, 30))], hits=[Hit(20, victim, 9)]) == []


def test_a_call_without_an_answer_may_have_made_a_task_or_not() -> None:
    asked = deferred()[:1]
    assert found(asked, []) == []
    assert found(asked + ran(10, 20), [stored()]) == []


def test_a_snooze_begins_the_same_attempt_again() -> None:
    records = deferred() + ran(10, 20, how="snooze") + ran(30, 40)
    assert found(records, [stored(result=(1, 30))]) == []


def test_a_task_that_is_gone_is_found() -> None:
    assert found(deferred(), []) == ["nothing_is_lost"]


@pytest.mark.parametrize("state", [State.PENDING, State.LEASED, State.CANCELLED])
def test_a_task_that_has_not_ended_is_found(state: State) -> None:
    assert found(deferred(), [stored(0, None, state=state)]) == ["nothing_is_lost"]


def test_a_task_that_counts_as_done_and_never_ended_is_found() -> None:
    killed = [Hit(20, CHILD, 9)]
    assert "nothing_is_lost" in found(deferred() + ran(10, None), [stored()], hits=killed)


def test_a_task_that_died_too_soon_is_found() -> None:
    records = deferred() + ran(10, 20, how="fail")
    assert found(records, [stored(1, None, state=State.DEAD)]) == ["nothing_is_lost"]


def test_a_task_that_was_stored_twice_is_found() -> None:
    records = deferred() + ran(10, 20) + ran(10, 20, task=8)
    assert found(records, [stored(), stored(id=8)]) == ["nothing_is_stored_twice"]


def test_a_name_that_stood_for_another_task_meanwhile_is_found() -> None:
    records = [*deferred(), *ran(10, 20), Record("again", 30, 5, 1, "a", 8)]
    assert found(records, [stored()]) == ["nothing_is_stored_twice"]


def test_a_task_that_nobody_deferred_is_found() -> None:
    assert found(ran(10, 20), [stored()]) == ["nothing_is_stored_twice"]
    assert found(deferred() + ran(10, 20) + ran(10, 20, task=8), [stored()]) == ["nothing_is_stored_twice"]


def test_two_executions_at_a_time_are_found() -> None:
    records = deferred() + ran(10, 50) + ran(30, 40, attempt=2, pid=OTHER_CHILD)
    assert found(records, [stored(2, (2, 30))]) == ["no_two_at_a_time"]


def test_an_execution_that_begins_before_the_one_before_it_was_killed_is_found() -> None:
    records = deferred() + ran(10, None) + ran(30, 40, attempt=2, pid=OTHER_CHILD)
    assert found(records, [stored(2, (2, 30))], hits=[Hit(35, CHILD, 9)]) == ["no_two_at_a_time"]


def test_a_child_may_live_a_moment_longer_than_its_killed_parent() -> None:
    records = deferred() + ran(10, 50) + ran(30, 60, attempt=2, pid=OTHER_CHILD)
    assert found(records, [stored(2, (2, 30))], hits=[Hit(20, PARENT, signal.SIGKILL)]) == []
    assert found(records, [stored(2, (2, 30))], hits=[Hit(20, PARENT, signal.SIGTERM)]) == ["no_two_at_a_time"]


def test_who_was_frozen_for_longer_than_its_lease_may_end_late_where_that_can_be() -> None:
    records = deferred() + ran(10, 50) + ran(30, 40, attempt=2, pid=OTHER_CHILD)
    task = stored(2, (2, 30), ran_out=frozenset({1}))
    assert found(records, [task], leases_run_out=True) == []
    assert found(records, [task], leases_run_out=False) == ["no_two_at_a_time"]
    assert found(records, [stored(2, (2, 30))], leases_run_out=True) == ["no_two_at_a_time"]


def test_the_outcome_of_a_lease_that_was_lost_is_found() -> None:
    records = deferred() + ran(10, 50) + ran(30, 40, attempt=2, pid=OTHER_CHILD)
    task = stored(2, (1, 10), ran_out=frozenset({1}))
    assert found(records, [task], leases_run_out=True) == ["the_newest_counts"]


def test_a_result_that_nobody_returned_is_found() -> None:
    assert found(deferred() + ran(10, 20), [stored(result=(1, 11))]) == ["the_newest_counts"]


def test_a_start_that_does_not_count_is_found() -> None:
    records = deferred() + ran(10, 15, how="fail") + ran(20, 30, attempt=2)
    assert found(records, [stored(1, (2, 20))]) == ["the_newest_counts"]


def test_an_attempt_that_starts_twice_is_found() -> None:
    records = deferred() + ran(10, None) + ran(30, 40)
    killed = [Hit(20, CHILD, 9)]
    assert found(records, [stored(result=(1, 30))], hits=killed) == ["attempts_are_counted"]


def test_a_task_of_one_attempt_that_starts_twice_is_found() -> None:
    records = deferred() + ran(10, None) + ran(30, 40, attempt=2)
    task = stored(2, (2, 30), max_attempts=1)
    assert found(records, [task], hits=[Hit(20, CHILD, 9)]) == ["attempts_are_counted"]


def test_a_process_that_died_by_itself_is_found() -> None:
    assert found(deferred() + ran(10, None), [stored(5, None, state=State.DEAD)]) == ["nobody_dies_by_itself"]


def test_a_worker_that_was_told_to_stop_may_start_something_before_it_hears_of_it() -> None:
    records = deferred() + ran(10, None) + ran(30, 40, attempt=2, pid=OTHER_CHILD)
    assert found(records, [stored(2, (2, 30))], hits=[Hit(5, PARENT, signal.SIGTERM)]) == []


def test_too_many_at_a_time_in_a_limited_queue_are_found() -> None:
    records = deferred() + ran(10, 20) + deferred("b", 8) + ran(15, 25, token="b", task=8)
    tasks = [stored(), stored(id=8, token="b", result=(1, 15))]
    assert found(records, tasks, limits=(("default", 2),)) == []
    assert found(records, tasks, limits=(("default", 1),)) == ["limits_hold"]


def test_the_ledger_gives_back_what_was_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ledger, "_descriptors", {})
    began = ledger.note("start", "a", 7, 1)
    ended = ledger.note("end", "a", 7, 1, began)
    (one,) = ledger.executions(ledger.read(tmp_path / ledger.FILE))
    assert (one.token, one.task, one.attempt, one.start, one.end, one.how) == ("a", 7, 1, began, ended, "end")
