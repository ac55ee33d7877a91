"""One child as its parent sees it, in every state that a task can be in when something happens to it."""

from __future__ import annotations

import math
import select

import pytest

from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Cancelled, Outcome, Succeeded
from deferq.model.task import Options
from deferq.runtime.children.process import STUCK_S, Condition
from deferq.runtime.children.starts import PLACES, SEEN_AFTER_S
from deferq.runtime.coroutines import GRACE_S
from deferq.runtime.pools import Finished
from deferq.runtime.settling import WORKER_DIED, WORKER_STOPPED
from tests.unit.fakechild import SOON_S, FakeChild, give, leased


@pytest.fixture
def child() -> FakeChild:
    return FakeChild().introduce()


def timed(number: int, timeout_s: float) -> object:
    return leased(number, options=Options(timeout_s=timeout_s).encode())


def outcomes(finished: list[Finished]) -> dict[int, Outcome]:
    assert len({one.task.id for one in finished}) == len(finished)
    return {one.task.id: one.outcome for one in finished}


def reasons(finished: list[Finished]) -> dict[int, str]:
    return {one.task.id: getattr(one.outcome, "reason", "") or type(one.outcome).__name__ for one in finished}


# ---- running


def test_a_child_takes_tasks_once_it_has_introduced_itself() -> None:
    child = FakeChild(threads=3)
    assert (child.parents.free, child.parents.condition) == (0, Condition.STARTING)
    child.introduce()
    assert (child.parents.free, child.parents.condition) == (3, Condition.RUNNING)


def test_what_it_reports_is_what_became_of_tasks(child: FakeChild) -> None:
    places = give(child, [leased(1), leased(2), leased(3)])
    assert (child.parents.free, child.parents.unstarted, child.parents.running()) == (0, 1, 0)
    child.start(places[1], 100.1)
    assert child.parents.running() == 1
    child.done(places[1], Succeeded(b"result"), 5_000)
    child.done(places[2], SUCCEEDED)
    assert child.parents.receive(100.2) == [
        Finished(leased(1), Succeeded(b"result"), 5_000),
        Finished(leased(2), SUCCEEDED),
    ]
    assert (child.parents.holds, child.parents.finished, child.parents.free) == (1, 2, 1)


def test_a_place_is_used_again_once_the_child_has_done_with_it(child: FakeChild) -> None:
    first = give(child, [leased(1)])
    child.start(first[1], 100.1)
    child.done(first[1], SUCCEEDED)
    child.parents.receive(100.2)
    second = give(child, [leased(2)], 101.0)
    assert second[2] == first[1]
    assert child.parents.running() == 0
    assert child.start(second[2], 102.0)


# ---- taking back


def test_what_has_not_started_comes_back_a_moment_after_it_was_withdrawn(child: FakeChild) -> None:
    places = give(child, [leased(1), leased(2)])
    assert child.start(places[1], 100.1)
    child.parents.withdraw(math.inf, 100.2)
    assert child.parents.receive(100.2) == []
    assert child.parents.wakes_at == pytest.approx(100.2 + SEEN_AFTER_S)
    assert outcomes(child.parents.receive(100.2 + SOON_S)) == {2: INTERRUPTED}
    assert not child.start(places[2], 100.3)
    assert child.parents.holds == 1
    assert child.parents.finished == 0


@pytest.mark.parametrize("at", [100.2, 23.42417393816028])
def test_what_was_withdrawn_comes_back_at_the_very_moment_at_which_somebody_is_to_look(
    child: FakeChild, at: float
) -> None:
    give(child, [leased(1)])
    child.parents.withdraw(math.inf, at)
    assert outcomes(child.parents.receive(child.parents.wakes_at)) == {1: INTERRUPTED}


def test_what_starts_at_the_moment_of_its_withdrawal_goes_on(child: FakeChild) -> None:
    places = give(child, [leased(1)])
    child.parents.withdraw(math.inf, 100.2)
    child.starts.started[places[1]] = 100.2  # the child wrote, and looked, before
    assert child.parents.receive(100.2 + SOON_S) == []
    child.done(places[1], SUCCEEDED)
    assert outcomes(child.parents.receive(100.3)) == {1: SUCCEEDED}


def test_a_child_that_declines_what_was_withdrawn_is_believed_at_once(child: FakeChild) -> None:
    places = give(child, [leased(1)])
    child.parents.withdraw(math.inf, 100.2)
    assert not child.start(places[1], 100.2)
    child.done(places[1], INTERRUPTED)
    assert outcomes(child.parents.receive(100.2)) == {1: INTERRUPTED}
    assert child.parents.receive(101.0) == []


def test_only_what_was_leased_before_is_withdrawn(child: FakeChild) -> None:
    give(child, [leased(1)], 100.0)
    give(child, [leased(2)], 101.0)
    child.parents.withdraw(100.5, 101.5)
    assert outcomes(child.parents.receive(102.0)) == {1: INTERRUPTED}


def test_a_place_is_not_used_again_before_the_child_has_passed_over_it(child: FakeChild) -> None:
    first = give(child, [leased(1)])
    child.parents.withdraw(math.inf, 100.2)
    child.parents.receive(100.3)
    second = give(child, [leased(1, lease_id=2)], 101.0)
    assert second[1] != first[1]
    assert not child.start(first[1], 101.1)  # the former lease of the same task
    assert child.start(second[1], 101.1)
    child.done(first[1], INTERRUPTED)
    assert child.parents.receive(101.2) == []
    third = give(child, [leased(3)], 101.3)
    assert third[3] == first[1]
    child.done(second[1], SUCCEEDED)
    assert [(one.task.lease_id, one.outcome) for one in child.parents.receive(101.4)] == [(2, SUCCEEDED)]


def test_a_child_is_asked_to_let_go_of_what_was_taken_back(child: FakeChild) -> None:
    give(child, [leased(1)])
    child.parents.withdraw(math.inf, 100.2)
    assert child.hear() == []
    child.parents.receive(100.3)
    assert child.hear() == [("let go", None)]


def test_a_child_never_gets_more_than_it_has_places_for() -> None:
    child = FakeChild(threads=PLACES + 10).introduce()
    give(child, [leased(number) for number in range(PLACES)])
    assert (child.parents.free, child.parents.room) == (0, 0)
    child.parents.withdraw(math.inf, 100.2)
    child.parents.receive(100.3)
    assert (child.parents.holds, child.parents.free) == (0, 0)  # it has yet to let go of them


def test_cancellations_are_passed_on_by_place(child: FakeChild) -> None:
    places = give(child, [leased(1), leased(2)])
    child.parents.cancel({2, 77})
    assert child.hear() == [("cancel", [places[2]])]
    child.done(places[2], Cancelled())
    assert outcomes(child.parents.receive(100.1)) == {2: Cancelled()}


# ---- the loop


def test_coroutines_leave_their_thread_free_as_long_as_the_loop_has_slots(child: FakeChild) -> None:
    places = give(child, [leased(number) for number in range(1, 5)])
    child.in_loop(*list(places.values())[:2])
    child.parents.receive(100.1)
    assert (child.parents.free, child.parents.unstarted) == (0, 0)
    child.in_loop(*places.values())
    child.parents.receive(100.1)
    assert (child.parents.free, child.parents.unstarted) == (0, 0)
    child.done(places[1], SUCCEEDED)
    child.parents.receive(100.2)
    assert child.parents.free == 1


def test_a_coroutine_that_waits_for_a_slot_can_be_taken_back(child: FakeChild) -> None:
    places = give(child, [leased(1)])
    child.start(places[1], 100.1)
    child.starts.started[places[1]] = 0.0  # put off
    child.in_loop(places[1])
    child.parents.receive(100.1)
    child.parents.withdraw(math.inf, 101.0)
    assert outcomes(child.parents.receive(101.1)) == {1: INTERRUPTED}
    assert child.parents.free == 2


# ---- timeouts


def test_a_thread_is_overdue_at_its_timeout_and_not_before_it_started(child: FakeChild) -> None:
    places = give(child, [timed(1, 5.0)])  # type: ignore[list-item]
    assert not child.parents.overdue(105.0)
    child.start(places[1], 104.0)
    for now in (106.0, 108.9):
        assert not child.parents.overdue(now)
        assert child.parents.wakes_at <= 110.0
    assert child.parents.overdue(110.0)
    assert child.parents.runs_only_late()


def test_whatever_a_late_task_says_at_last_it_has_timed_out(child: FakeChild) -> None:
    places = give(child, [timed(1, 5.0)])  # type: ignore[list-item]
    child.start(places[1], 100.0)
    assert child.parents.overdue(105.0)
    child.done(places[1], SUCCEEDED, 5_100_000)
    finished = child.parents.receive(105.1)
    assert (reasons(finished), finished[0].duration_us) == ({1: "timed out"}, 5_100_000)
    assert not child.parents.overdue(105.2)


def test_a_coroutine_has_a_moment_longer_to_obey_its_loop(child: FakeChild) -> None:
    places = give(child, [timed(1, 5.0)])  # type: ignore[list-item]
    child.in_loop(places[1])
    child.start(places[1], 100.0)
    child.parents.receive(100.0)
    assert not child.parents.overdue(105.0 + GRACE_S / 2)
    assert child.parents.overdue(105.0 + GRACE_S)


def test_siblings_of_a_late_task_are_not_late(child: FakeChild) -> None:
    places = give(child, [timed(1, 5.0), leased(2)])  # type: ignore[list-item]
    child.start(places[1], 100.0)
    child.start(places[2], 100.0)
    assert child.parents.overdue(105.0)
    assert not child.parents.runs_only_late()
    child.done(places[2], SUCCEEDED)
    assert outcomes(child.parents.receive(106.0)) == {2: SUCCEEDED}
    assert child.parents.runs_only_late()


def test_options_that_cannot_be_read_are_left_to_the_child(child: FakeChild) -> None:
    give(child, [leased(1, options="{")])
    assert not child.parents.overdue(1e6)


# ---- stuck


def test_a_child_that_starts_nothing_although_it_could_is_stuck(child: FakeChild) -> None:
    places = give(child, [leased(1), leased(2), leased(3)])
    child.start(places[1], 100.0)
    assert not child.parents.is_stuck(100.0 + STUCK_S / 2)
    assert child.parents.wakes_at == pytest.approx(100.0 + STUCK_S)
    assert child.parents.is_stuck(100.0 + STUCK_S)


def test_a_child_whose_threads_are_all_busy_is_not_stuck(child: FakeChild) -> None:
    places = give(child, [leased(1), leased(2), leased(3)])
    child.start(places[1], 100.0)
    child.start(places[2], 100.0)
    assert not child.parents.is_stuck(110.0)


def test_a_child_that_still_says_something_is_not_stuck(child: FakeChild) -> None:
    places = give(child, [leased(1), leased(2)])
    child.done(places[1], SUCCEEDED)
    child.parents.receive(100.4)
    assert not child.parents.is_stuck(100.0 + STUCK_S)
    assert child.parents.is_stuck(100.4 + 2 * STUCK_S)


def test_coroutines_that_wait_for_a_slot_do_not_make_it_stuck(child: FakeChild) -> None:
    places = give(child, [leased(number) for number in range(1, 5)])
    child.in_loop(*places.values())
    for number in (1, 2):
        child.start(places[number], 100.0)
    child.parents.receive(100.0)
    assert not child.parents.is_stuck(110.0)


@pytest.mark.parametrize("condition", [Condition.STUCK, Condition.RETIRING])
def test_a_child_that_gets_nothing_more_does_not_keep_its_parent_awake(child: FakeChild, condition: Condition) -> None:
    places = give(child, [leased(1)])
    child.start(places[1], 100.0)
    child.parents.condition = condition
    assert child.parents.wakes_at == math.inf


# ---- death


def test_after_its_death_what_it_reported_counts_what_started_is_lost_and_the_rest_goes_back(child: FakeChild) -> None:
    tasks = [leased(1), leased(2), leased(3), timed(4, 1.0)]
    places = give(child, tasks)  # type: ignore[arg-type]
    child.start(places[1], 100.0)
    child.start(places[2], 100.0)
    child.start(places[4], 100.0)
    child.done(places[1], SUCCEEDED)
    assert child.parents.overdue(101.0)
    child.die()
    finished = child.parents.bury(102.0)
    assert reasons(finished) == {1: "Succeeded", 2: "worker lost", 3: "Interrupted", 4: "timed out"}
    assert {one.task.id: one.duration_us for one in finished} == {1: 0, 2: 2_000_000, 3: 0, 4: 2_000_000}
    assert child.parents.holds == 0


def test_a_start_that_was_declined_is_not_lost_with_its_child(child: FakeChild) -> None:
    places = give(child, [leased(1)], until=101.0)
    assert not child.start(places[1], 101.0)
    child.die()
    assert outcomes(child.parents.bury(102.0)) == {1: INTERRUPTED}


def test_those_that_were_being_withdrawn_when_it_died_are_told_apart_too(child: FakeChild) -> None:
    places = give(child, [leased(1), leased(2), leased(3)])
    child.parents.withdraw(math.inf, 100.2)
    child.starts.started[places[1]] = 100.2
    child.done(places[2], INTERRUPTED)
    child.die()
    assert outcomes(child.parents.bury(100.2)) == {1: WORKER_DIED, 2: INTERRUPTED, 3: INTERRUPTED}


def test_what_a_stopping_worker_kills_ends_as_it_says(child: FakeChild) -> None:
    places = give(child, [leased(1)])
    child.start(places[1], 100.0)
    child.die()
    assert outcomes(child.parents.bury(101.0, WORKER_STOPPED)) == {1: WORKER_STOPPED}


def test_a_child_that_has_closed_its_end_is_watched_no_more(child: FakeChild) -> None:
    child.hang_up()
    child.parents.receive(100.1)
    poll = select.poll()
    child.parents.watch(poll)
    assert poll.poll(0) == []


def test_a_retired_child_hands_back_what_it_has_not_started_and_takes_nothing(child: FakeChild) -> None:
    places = give(child, [leased(1), leased(2), leased(3)])
    child.start(places[1], 100.0)
    child.parents.retire("enough", 100.1)
    assert outcomes(child.parents.receive(100.2)) == {2: INTERRUPTED, 3: INTERRUPTED}
    assert (child.parents.free, child.parents.unstarted) == (0, 0)
    child.done(places[1], SUCCEEDED)
    child.parents.receive(100.3)
    assert child.parents.holds == 0


def test_a_child_that_does_not_end_in_time_is_killed(child: FakeChild) -> None:
    child.parents.stop()
    child.parents.end(0.0)
    assert (child.process.waits_in_vain, child.process.returncode) == (1, -9)
    assert child.hear() == [("stop", None)]
