"""Suspect tasks among the children of one parent: where they run, when, and what is told of it. No process."""

from __future__ import annotations

import errno
import math
import os
from functools import partial
from typing import cast

import pytest

from deferq.model.events import EventName
from deferq.model.outcome import INTERRUPTED, SUCCEEDED, Cancelled, ErrorText, Failed, Interrupted, Outcome
from deferq.model.task import Leased, Options
from deferq.runtime.children.nursery import END_S, LOOK_EVERY_S, START_S
from deferq.runtime.children.process import ChildProcess, Condition
from deferq.runtime.children.quarantine import TAKEN, Quarantine
from deferq.runtime.children.quarantined import QuarantineChild
from deferq.runtime.children.starts import memory_file
from deferq.runtime.children.wire import HELLO
from deferq.runtime.dispatcher import UNSTARTED_S
from deferq.runtime.pools import Lease
from deferq.runtime.settling import WORKER_DIED, WORKER_STOPPED
from deferq.runtime.turns import AWAY_MAX_S, EARLY, TURN_MIN_S
from tests.unit.fakechild import SOON_S, FakeChild, leased
from tests.unit.test_nursery import Scene as CommonScene

CRASH_TEXT = (
    "Fatal Python error: Segmentation fault\n\nStack (most recent call first):\n  File app.py, line 7 in work\n"
)


def suspect(number: int, **changes: object) -> Leased:
    return leased(number, crashes=2, **changes)


class Scene(CommonScene):
    """As every nursery, with a quarantine."""

    def __init__(self, **household: object) -> None:
        super().__init__(**household)  # type: ignore[arg-type]
        self.apart: list[FakeChild] = []
        self.files: list[int] = []
        self.quarantined: list[int] = []
        self.store, self.crash = "store", -1
        quarantine = self.nursery.quarantine = Quarantine(self._spawn_apart, chance=lambda: 0.0)
        quarantine.told = lambda task, detail: self.quarantined.append(task.id)

    def _spawn_apart(self) -> QuarantineChild:
        if self.refuse is not None:
            raise self.refuse
        crash = self.crash = memory_file("crash")
        self.files.append(os.dup(crash))
        make = partial(QuarantineChild, crash=crash)
        child = FakeChild(self.now, threads=1, async_slots=1, store=self.store, make=make)
        self.apart.append(child)
        return cast(QuarantineChild, child.parents)

    def run(self, task: Leased) -> tuple[FakeChild, int]:
        """Let a suspect task start; the child, and the place of the task in it."""
        self.start(task)
        child = self.apart[-1]
        child.introduce(self.now)
        (place,) = child.places().values()
        assert child.start(place, self.now)
        return child, place

    def end(self, child: FakeChild, code: int = 0) -> dict[int, object]:
        child.die(code)
        return self.look()

    def states(self) -> list[str]:
        return [child.describe()["state"] for child in self.nursery.children]


def common(scene: Scene) -> ChildProcess:
    return scene.spawned[0].parents


def failed(outcome: object) -> Failed:
    assert isinstance(outcome, Failed)
    return outcome


def back(outcome: object) -> Interrupted:
    assert isinstance(outcome, Interrupted)
    return outcome


# ---- where it runs


def test_a_suspect_task_runs_in_a_process_of_its_own_and_the_others_where_they_always_do() -> None:
    scene = Scene().begin()
    scene.start(leased(1), suspect(2), leased(3, crashes=1))
    assert (common(scene).holds, len(scene.apart), scene.quarantined) == (2, 1, [2])
    assert scene.states() == ["running", "quarantine"]
    child = scene.apart[0].introduce(scene.now)
    assert list(child.places()) == [(2, 1)]


def test_its_process_is_none_of_those_that_share_the_work() -> None:
    scene = Scene(children=1).begin()
    free = scene.pool.free()
    child, place = scene.run(suspect(1))
    assert (scene.pool.free(), scene.pool.unstarted(), scene.pool.running()) == (free, 0, 1)
    scene.look(LOOK_EVERY_S)
    assert len(scene.spawned) == 1
    scene.spawned[0].die()
    scene.look()
    assert len(scene.spawned) == 2, "a process in quarantine takes nobody's place"
    child.done(place, SUCCEEDED)
    assert scene.look() == {1: SUCCEEDED}


def test_without_a_quarantine_it_runs_among_the_others() -> None:
    scene = CommonScene().begin()
    scene.start(suspect(1))
    assert scene.spawned[0].parents.holds == 1


def test_its_process_ends_when_it_has_and_makes_room_for_the_next() -> None:
    scene = Scene().begin()
    child, place = scene.run(suspect(1))
    child.done(place, SUCCEEDED, 5)
    assert scene.look() == {1: SUCCEEDED}
    assert [kind for kind, _ in child.hear()] == ["stop"]
    scene.end(child)
    assert scene.conditions() == [Condition.RUNNING]
    scene.start(suspect(2))
    assert len(scene.apart) == 2
    assert scene.told == [], "nothing is lost: it was told to end"


def test_the_task_waits_for_its_process_as_long_as_that_loads_and_spends_nothing_of_its_timeout() -> None:
    scene = Scene().begin()
    lease = Lease(scene.now, scene.now + 28.0)
    scene.pool.start([suspect(1, options=Options(timeout_s=5).encode())], lease)
    scene.look(UNSTARTED_S)
    scene.pool.withdraw(scene.now)
    assert scene.look(200.0) == {}
    lease.until = scene.now + 28.0  # it has been renewed
    child = scene.apart[0].introduce(scene.now)
    (place,) = child.places().values()
    assert child.start(place, scene.now)
    assert scene.look(4.9) == {}
    assert child.process.returncode is None
    scene.look(0.2)
    scene.look()
    assert child.process.returncode == -9


# ---- those that have to wait


def test_only_one_is_in_quarantine_and_the_others_are_sent_back_for_a_while() -> None:
    scene = Scene().begin()
    scene.start(suspect(1), suspect(2), suspect(3), leased(4))
    outcomes = scene.look()
    assert (len(scene.apart), sorted(outcomes)) == (1, [2, 3])
    assert back(outcomes[2]).reason == TAKEN
    assert EARLY * TURN_MIN_S <= back(outcomes[2]).after_s < back(outcomes[3]).after_s


def test_a_crowd_of_suspects_comes_back_one_after_the_other_and_within_bounds() -> None:
    scene = Scene().begin()
    scene.start(suspect(0))
    waits = []
    for number in range(1, 4000):
        scene.start(suspect(number))
        waits.append(back(scene.look()[number]).after_s)
    assert waits == sorted(waits)
    assert waits[0] > 0
    assert waits[-1] == AWAY_MAX_S


def test_how_long_they_wait_follows_from_how_long_a_turn_takes() -> None:
    scene = Scene().begin()
    for number in range(50):
        child, place = scene.run(suspect(number))
        scene.look(0.4)
        child.done(place, SUCCEEDED)
        scene.look()
        scene.end(child)
    scene.start(suspect(51), suspect(52))
    assert back(scene.look()[52]).after_s == pytest.approx(EARLY * 0.4, rel=0.01)


# ---- how it ends


def test_the_report_of_a_crash_says_how_the_process_ended_and_where() -> None:
    scene = Scene().begin()
    child, _ = scene.run(suspect(1))
    os.write(scene.files[0], CRASH_TEXT.encode())
    scene.now += 2.0
    outcome = failed(scene.end(child, -11)[1])
    assert (outcome.reason, outcome.detail) == ("worker lost", "alone in quarantine, it was killed by SIGSEGV")
    assert outcome.error.error_type == "WorkerLost"
    assert "killed by SIGSEGV" in outcome.error.message
    assert outcome.error.traceback == CRASH_TEXT
    assert "for 2.000 s, after 2 lost workers" in outcome.error.report
    assert scene.names() == [EventName.CHILD_LOST]
    assert "alone" in scene.told[0][1]


def test_a_process_that_ends_without_a_word_is_lost_whatever_its_exit_code_says() -> None:
    scene = Scene().begin()
    child, _ = scene.run(suspect(1))
    outcome = failed(scene.end(child, 0)[1])
    assert outcome.reason == "worker lost"
    assert "ended with exit code 0" in outcome.detail
    assert outcome.error.traceback == ""


def test_an_endless_crash_text_is_cut() -> None:
    scene = Scene().begin()
    child, _ = scene.run(suspect(1))
    os.write(scene.files[0], b"x" * 1_000_000)
    assert len(failed(scene.end(child, -6)[1]).error.traceback) <= 16 * 1024


def test_an_ordinary_failure_in_quarantine_has_a_report_too_and_keeps_its_traceback() -> None:
    scene = Scene().begin()
    child, place = scene.run(suspect(1))
    error = ErrorText(error_type="MemoryError", message="", traceback="Traceback: ...")
    child.done(place, Failed(error=error), 7_000)
    outcome = failed(scene.look()[1])
    assert (outcome.error.traceback, outcome.reason) == ("Traceback: ...", "failed")
    assert "for 0.007 s" in outcome.error.report
    assert "reported the outcome" in outcome.error.report


def test_a_task_that_runs_past_its_timeout_there_is_timed_out_with_a_report() -> None:
    scene = Scene().begin()
    child, _ = scene.run(suspect(1, options=Options(timeout_s=5).encode()))
    scene.look(5.1)
    outcomes = {**scene.look(), **scene.look(LOOK_EVERY_S)}
    outcome = failed(outcomes[1])
    assert outcome.reason == "timed out"
    assert "its task ran past its timeout" in outcome.error.report
    assert child.process.returncode == -9


def test_a_task_that_closes_its_connection_is_lost_and_its_process_is_ended() -> None:
    scene = Scene().begin()
    child, _ = scene.run(suspect(1))
    child.hang_up()
    assert scene.look() == {}
    scene.look(END_S + 0.1)
    outcome = failed(scene.look(LOOK_EVERY_S)[1])
    assert "it had closed its connection" in outcome.detail


# ---- its process cannot start


def test_a_process_that_cannot_load_the_application_spends_nothing_and_the_next_try_waits_longer() -> None:
    scene = Scene().begin()
    waits = []
    for number in range(4):
        scene.start(suspect(number))
        outcome = back(scene.end(scene.apart[-1], 1)[number])
        assert "could not load the application: it ended with exit code 1" in outcome.reason
        waits.append(outcome.after_s)
        scene.start(suspect(100 + number))
        assert back(scene.look()[100 + number]).after_s <= max(outcome.after_s, TURN_MIN_S)
        scene.now += outcome.after_s
    assert len(scene.apart) == 4, "while it waits, nothing is started"
    assert waits == sorted(waits)
    assert waits[-1] > waits[0]
    assert scene.conditions() == [Condition.RUNNING], "the others are not held up"


def test_a_process_that_loads_for_ever_is_given_up() -> None:
    scene = Scene().begin()
    scene.start(suspect(1))
    scene.look(START_S + 0.1)
    assert "could not load" in back(scene.look(LOOK_EVERY_S)[1]).reason


def test_a_process_that_never_begins_its_task_is_given_up_and_spends_nothing() -> None:
    scene = Scene().begin()
    scene.start(suspect(1))
    scene.apart[0].introduce(scene.now)
    for _ in range(10):
        outcomes = scene.look(START_S / 4)
        if outcomes:
            break
    assert back(outcomes[1]).after_s > 0
    scene.now += AWAY_MAX_S
    scene.start(suspect(2))
    assert len(scene.apart) == 2, "there is room for the next"


def test_one_that_has_begun_may_go_on_for_ever() -> None:
    scene = Scene().begin()
    child, _ = scene.run(suspect(1))
    assert scene.look(100 * START_S) == {}
    assert child.process.returncode is None


def test_a_process_that_dies_before_the_task_has_started_spends_nothing() -> None:
    scene = Scene().begin()
    scene.start(suspect(1))
    scene.apart[0].introduce(scene.now)
    assert back(scene.end(scene.apart[0], -9)[1]).after_s > 0


def test_where_no_process_can_be_started_the_task_goes_back_and_says_so() -> None:
    scene = Scene().begin()
    scene.refuse = OSError(errno.EAGAIN, "too many processes")
    scene.start(suspect(1))
    assert "no process can be started" in back(scene.look()[1]).reason
    scene.refuse = None
    scene.now += AWAY_MAX_S
    scene.start(suspect(1))
    assert len(scene.apart) == 1


def test_an_application_that_uses_another_store_by_now_does_not_run_the_task() -> None:
    scene = Scene().begin()
    scene.store = "another"
    scene.start(suspect(1))
    scene.apart[0].say(HELLO, {"threads": 1, "async_slots": 1, "store": "another"})
    assert "another store" in back(scene.look()[1]).reason
    assert scene.apart[0].places() == {}


# ---- cancelling, stopping, reloading


def test_a_task_that_waits_for_its_process_can_be_cancelled() -> None:
    scene = Scene().begin()
    scene.start(suspect(1))
    scene.pool.cancel({1})
    assert scene.look() == {1: Cancelled()}
    assert scene.look() == {}
    assert scene.apart[0].process.returncode == -9, "nobody needs it any more"


def test_a_running_one_is_told_of_its_cancellation() -> None:
    scene = Scene().begin()
    child, place = scene.run(suspect(1))
    scene.pool.cancel({1})
    assert child.hear() == [("cancel", [place])]


def test_at_a_stop_what_waits_for_its_process_goes_back_at_once_and_unspent() -> None:
    scene = Scene().begin()
    scene.start(suspect(1))
    scene.pool.withdraw()
    assert scene.look() == {1: INTERRUPTED}
    assert scene.pool.kill() == []


def test_at_a_stop_what_runs_may_finish_and_is_killed_in_the_end() -> None:
    scene = Scene().begin()
    child, _ = scene.run(suspect(1))
    scene.pool.withdraw()
    assert scene.look(SOON_S) == {}
    (killed,) = scene.pool.kill()
    assert failed(killed.outcome).reason == "worker stopped"
    assert child.process.returncode == -9
    assert scene.nursery.children == [common(scene)]


def test_what_waits_when_everything_is_killed_goes_back_unspent() -> None:
    scene = Scene().begin()
    scene.start(suspect(1))
    (killed,) = scene.pool.kill()
    assert killed.outcome == INTERRUPTED


def test_a_reload_lets_it_go_on_for_the_drain_time() -> None:
    scene = Scene(drain_s=30.0).begin()
    child, place = scene.run(suspect(1))
    scene.nursery.ask_to_reload("changed")
    scene.look()
    assert child.parents.kill_at == scene.now + 30.0
    child.done(place, SUCCEEDED)
    assert scene.look() == {1: SUCCEEDED}


def test_one_that_goes_on_for_longer_is_ended_and_not_said_to_have_crashed() -> None:
    scene = Scene(drain_s=30.0).begin()
    child, _ = scene.run(suspect(1))
    scene.nursery.ask_to_reload("changed")
    scene.look()
    scene.look(30.0)
    outcome = failed(scene.look(LOOK_EVERY_S)[1])
    assert (outcome.reason, child.process.returncode) == ("worker stopped", -9)


def test_a_reload_sends_back_what_waits_for_a_process_with_the_old_code() -> None:
    scene = Scene().begin()
    scene.start(suspect(1))
    scene.nursery.ask_to_reload("changed")
    outcomes = {**scene.look(), **scene.look()}
    assert outcomes == {1: INTERRUPTED}
    assert not math.isinf(scene.apart[0].parents.kill_at) or scene.apart[0].process.returncode is not None


@pytest.mark.parametrize("outcome", [WORKER_DIED, WORKER_STOPPED])
def test_the_file_of_a_dead_child_is_closed(outcome: Outcome) -> None:
    scene = Scene().begin()
    child, _ = scene.run(suspect(1))
    if outcome is WORKER_STOPPED:
        scene.pool.kill()
        child.hang_up()
    else:
        scene.end(child, -11)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(scene.crash)
