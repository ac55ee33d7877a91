"""The children of one parent: who is started, replaced and buried, and when. No process, and time stands still."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Callable

import pytest

from deferq.model.events import EventName
from deferq.model.outcome import INTERRUPTED, SUCCEEDED
from deferq.model.task import Leased, Options
from deferq.runtime.children.nursery import (
    END_S,
    LOOK_EVERY_S,
    REPLACE_STUCK_S,
    START_S,
    STUCK_AGAIN_S,
    Household,
    Nursery,
)
from deferq.runtime.children.pool import ChildPool
from deferq.runtime.children.process import STUCK_S, ChildProcess, Condition
from deferq.runtime.children.starts import PLACES
from deferq.runtime.pools import Lease
from deferq.runtime.settling import CHILD_ENDED, WORKER_DIED, WORKER_STOPPED, lost_with_process
from tests.unit.fakechild import SOON_S, FakeChild, give, leased


class Bell:
    """A bell that nobody rings."""

    def __init__(self) -> None:
        self._ends = socket.socketpair()

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def heard(self) -> bool:
        return False

    def ring(self) -> None: ...

    def wait(self, timeout_s: float) -> bool:
        return False

    def close(self) -> None:
        for end in self._ends:
            end.close()


class Scene:
    """A nursery whose children are played by the test."""

    def __init__(self, prepare: Callable[[FakeChild], None] | None = None, **household: object) -> None:
        self.now = 100.0
        self.spawned: list[FakeChild] = []
        self.told: list[tuple[EventName, str]] = []
        self.refuse: OSError | None = None
        self.nursery = Nursery(
            self._spawn,
            Household(**household),
            monotonic=lambda: self.now,
            chance=lambda: 0.0,  # type: ignore[arg-type]
        )
        self.nursery.announce = lambda name, detail: self.told.append((name, detail))
        self.bell = Bell()
        self.pool = ChildPool(self.nursery, self.bell, lambda: self.now)
        self._prepare = prepare

    def _spawn(self) -> ChildProcess:
        if self.refuse is not None:
            raise self.refuse
        child = FakeChild(self.now)
        if self._prepare is not None:
            self._prepare(child)
        self.spawned.append(child)
        return child.parents

    def begin(self) -> Scene:
        """All of them have loaded the application."""
        self._prepare, prepare = lambda child: child.introduce(self.now) and None, self._prepare
        assert self.nursery.first_hello()
        self._prepare = prepare
        self.look()
        for child in self.spawned[1:]:
            child.introduce(self.now)
        self.look()
        self.told.clear()
        return self

    def look(self, after: float = 0.0) -> dict[int, object]:
        """What the dispatcher does each time it comes by."""
        self.now += after
        finished = self.pool.finished() + self.pool.overdue(self.now)
        return {one.task.id: one.outcome for one in finished}

    def conditions(self) -> list[Condition]:
        return [child.condition for child in self.nursery.children]

    def names(self) -> list[EventName]:
        return [name for name, _ in self.told]

    def start(self, *tasks: Leased) -> None:
        self.pool.start(tasks, Lease(self.now, self.now + 28.0))


# ---- starting


def test_the_first_child_says_what_the_application_is() -> None:
    scene = Scene(lambda child: child.introduce() and None)
    hello = scene.nursery.first_hello()
    assert hello is not None
    assert hello["store"] == "store"


def test_a_first_child_that_cannot_load_the_application_is_reaped_with_its_exit_code() -> None:
    scene = Scene(lambda child: child.die(2))
    assert scene.nursery.first_hello() is None
    assert (scene.nursery.exit_code, scene.nursery.children) == (2, [])
    assert scene.spawned[0].parents.pidfd is None


def test_a_first_child_that_falls_silent_and_does_not_end_is_killed() -> None:
    scene = Scene(lambda child: child.hang_up())
    assert scene.nursery.first_hello() is None
    assert scene.nursery.exit_code == -9


def test_there_are_as_many_as_there_should_be() -> None:
    scene = Scene(children=3).begin()
    assert scene.conditions() == [Condition.RUNNING] * 3


def test_a_dead_child_is_buried_and_replaced() -> None:
    scene = Scene().begin()
    places = give(scene.spawned[0], [leased(1), leased(2)], scene.now)
    scene.spawned[0].start(places[1], scene.now)
    scene.spawned[0].die()
    assert scene.look() == {1: lost_with_process(WORKER_DIED, "was killed by SIGKILL", 0), 2: INTERRUPTED}
    assert scene.names() == [EventName.CHILD_LOST]
    assert "killed by SIGKILL; 1 of its tasks had started, 1 go back" in scene.told[0][1]
    assert scene.conditions() == [Condition.STARTING]


def test_what_had_been_reported_is_not_said_to_go_back() -> None:
    scene = Scene().begin()
    places = give(scene.spawned[0], [leased(1)], scene.now)
    scene.spawned[0].done(places[1], SUCCEEDED)
    scene.spawned[0].die()
    assert scene.look() == {1: SUCCEEDED}
    scene.look(LOOK_EVERY_S)
    assert "0 of its tasks had started, 0 go back" in scene.told[0][1]


def test_children_that_cannot_load_the_application_come_ever_more_seldom() -> None:
    scene = Scene(children=2).begin()
    scene.spawned[1].die()
    tries = 0
    ends = scene.now + 30.0
    while scene.now < ends:
        scene.look()
        if scene.conditions()[1:] == [Condition.STARTING]:
            tries += 1
            scene.spawned[-1].die(2)
        scene.now = max(scene.now + 0.001, min(scene.nursery.wakes_at(), scene.now + LOOK_EVERY_S))
    assert 5 <= tries <= 10
    assert scene.conditions()[0] is Condition.RUNNING


def test_a_child_that_never_comes_to_the_end_of_its_start_is_replaced() -> None:
    scene = Scene().begin()
    scene.spawned[0].die()
    scene.look()
    hangs = scene.spawned[1]
    scene.look(after=START_S - 1)
    assert scene.conditions() == [Condition.STARTING]
    scene.look(after=1)
    assert hangs.process.returncode == -9
    scene.look(after=LOOK_EVERY_S)
    assert scene.told[-1][0] == EventName.CHILD_LOST
    assert "before it had loaded the application within 300 s" in scene.told[-1][1]
    scene.look(after=60.0)
    assert len(scene.spawned) == 3


def test_one_that_has_loaded_the_application_makes_the_next_come_at_once_again() -> None:
    scene = Scene(children=2).begin()
    scene.spawned[1].die()
    scene.look()
    for _ in range(5):
        scene.spawned[-1].die(2)
        scene.look()
        scene.now = max(scene.now, scene.nursery.wakes_at())
        scene.look(60.0)
    scene.spawned[-1].introduce(scene.now)
    scene.look()
    scene.spawned[-1].die()
    scene.look()
    assert scene.conditions() == [Condition.RUNNING, Condition.STARTING]


def test_a_system_that_cannot_start_a_process_is_asked_again_later() -> None:
    scene = Scene().begin()
    scene.spawned[0].die()
    scene.refuse = OSError(errno.ENOMEM, "no memory")
    scene.look()
    assert scene.names() == [EventName.CHILD_LOST, EventName.CHILD_LOST]
    assert "no memory" in scene.told[1][1]
    assert scene.now < scene.nursery.wakes_at() <= scene.now + 1.0
    scene.refuse = None
    scene.look(1.0)
    assert scene.conditions() == [Condition.STARTING]


def test_a_worker_that_does_not_insist_waits_for_a_reload() -> None:
    scene = Scene(insists=False).begin()
    scene.nursery.ask_to_reload("the source has changed")
    scene.look()
    scene.spawned[1].die(2)
    scene.look()
    scene.look(1_000.0)
    assert len(scene.spawned) == 2
    scene.nursery.ask_to_reload("the source has changed")
    scene.look()
    assert len(scene.spawned) == 3


def test_a_child_that_names_another_store_gets_no_tasks() -> None:
    scene = Scene(children=2)
    scene._prepare = lambda child: child.introduce() and None
    scene.nursery.first_hello()
    scene._prepare = None
    scene.look()
    scene.spawned[1]._hello["store"] = "elsewhere"
    scene.spawned[1].introduce(scene.now)
    scene.look()
    assert scene.conditions() == [Condition.RUNNING, Condition.RETIRING]
    assert "another store" in scene.told[-1][1]
    scene.look(0.01)
    assert len(scene.spawned) == 2  # the next one takes its time


def test_a_child_that_has_closed_its_connection_is_replaced_before_it_is_dead() -> None:
    scene = Scene().begin()
    places = give(scene.spawned[0], [leased(1), leased(2)], scene.now)
    scene.spawned[0].start(places[1], scene.now)
    scene.spawned[0].hang_up()
    scene.look()
    assert scene.conditions() == [Condition.RETIRING, Condition.STARTING]
    assert not scene.pool.accepts()
    assert scene.look(SOON_S) == {2: INTERRUPTED}
    scene.look(END_S)
    assert scene.look(LOOK_EVERY_S) == {1: lost_with_process(WORKER_DIED, "lost its connection to its parent", 0)}
    assert scene.names() == [EventName.CHILD_LOST]


def test_the_death_of_an_idle_child_is_told_also_if_its_socket_was_closed_first() -> None:
    scene = Scene().begin()
    scene.spawned[0].hang_up()
    scene.look()
    scene.spawned[0].process.returncode = -9
    scene.look(LOOK_EVERY_S)
    assert scene.names() == [EventName.CHILD_LOST]


# ---- replacing


def test_a_reload_replaces_all_and_lets_what_runs_go_on_for_the_drain_time() -> None:
    scene = Scene(children=2, drain_s=5.0).begin()
    places = give(scene.spawned[0], [leased(1), leased(2)], scene.now)
    scene.spawned[0].start(places[1], scene.now)
    scene.nursery.ask_to_reload("the source has changed")
    scene.look()
    assert scene.conditions() == [Condition.RETIRING] * 2 + [Condition.STARTING] * 2
    assert scene.look(SOON_S) == {2: INTERRUPTED}
    assert ("stop", None) in scene.spawned[1].hear()
    assert ("stop", None) not in scene.spawned[0].hear()
    scene.look(5.0)
    assert scene.spawned[0].process.returncode == -9
    ended = lost_with_process(CHILD_ENDED, "was ended (the source has changed)", 0)
    assert scene.look(LOOK_EVERY_S) == {1: ended}, "it did not kill its process"


def test_a_child_that_was_loading_when_a_reload_came_is_not_used() -> None:
    scene = Scene(children=2).begin()
    scene.spawned[1].die()
    scene.look()
    scene.nursery.ask_to_reload("the source has changed")
    scene.look()
    scene.spawned[2].introduce(scene.now)
    scene.look()
    assert scene.pool.free() == 0
    assert ("stop", None) in scene.spawned[2].hear()


def test_a_child_that_has_run_enough_is_replaced_before_it_ends() -> None:
    scene = Scene(max_tasks=2).begin()
    places = give(scene.spawned[0], [leased(number) for number in (1, 2, 3)], scene.now)
    scene.spawned[0].start(places[3], scene.now)
    for number in (1, 2):
        scene.spawned[0].done(places[number], SUCCEEDED)
    scene.look()
    assert scene.conditions() == [Condition.RETIRING, Condition.STARTING]
    assert scene.names() == [EventName.CHILD_REPLACED]
    scene.spawned[0].done(places[3], SUCCEEDED)
    scene.look()
    assert ("stop", None) in scene.spawned[0].hear()
    scene.look(END_S)
    assert scene.spawned[0].process.returncode == -9


def test_a_child_that_takes_too_much_memory_is_replaced() -> None:
    scene = Scene(max_rss=10**12).begin()
    scene.spawned[0].parents.rss = lambda: 2 * 10**12  # type: ignore[method-assign]
    scene.look(LOOK_EVERY_S)
    assert scene.conditions() == [Condition.RETIRING, Condition.STARTING]
    assert "MB of memory" in scene.told[0][1]


def stuck(scene: Scene, child: FakeChild) -> None:
    """One task started and holds the interpreter lock; another cannot start."""
    number = len(scene.spawned) * 10
    places = give(child, [leased(number), leased(number + 1)], scene.now)
    child.start(places[number], scene.now)


def test_a_stuck_child_gives_back_what_it_has_not_started_and_is_replaced_if_that_lasts() -> None:
    scene = Scene().begin()
    stuck(scene, scene.spawned[0])
    scene.look(STUCK_S)
    assert (scene.conditions(), scene.pool.free()) == ([Condition.STUCK], 0)
    assert scene.look(SOON_S) == {11: INTERRUPTED}
    scene.look(REPLACE_STUCK_S)
    assert scene.conditions() == [Condition.RETIRING, Condition.STARTING]
    assert scene.spawned[0].process.returncode is None
    assert scene.nursery.children[0].holds == 1


def test_a_stuck_child_that_says_something_runs_again() -> None:
    scene = Scene().begin()
    stuck(scene, scene.spawned[0])
    scene.look(STUCK_S)
    scene.look(SOON_S)
    scene.spawned[0].done(0, SUCCEEDED)
    scene.look(0.1)
    assert (scene.conditions(), scene.pool.free()) == ([Condition.RUNNING], 2)


@pytest.mark.parametrize(("pause_s", "then"), [(STUCK_AGAIN_S / 2, Condition.RETIRING), (60.0, Condition.STUCK)])
def test_a_child_that_is_stuck_again_soon_after_is_replaced_at_once(pause_s: float, then: Condition) -> None:
    scene = Scene().begin()
    child = scene.spawned[0]
    stuck(scene, child)
    scene.look(STUCK_S)
    scene.look(SOON_S)
    child.done(0, SUCCEEDED)
    child.done(1, INTERRUPTED)
    scene.look(0.1)
    scene.look(pause_s)
    stuck(scene, child)
    scene.look(STUCK_S)
    scene.look(SOON_S)
    assert scene.conditions()[0] is then


def test_there_are_never_more_than_twice_as_many_children() -> None:
    scene = Scene(children=2).begin()
    ends = scene.now + 60.0
    while scene.now < ends:
        for child in scene.spawned:
            if child.parents.condition is Condition.STARTING:
                child.introduce(scene.now)
            elif child.parents.condition is Condition.RUNNING and not child.parents.holds:
                stuck(scene, child)
        scene.look(0.1)
    assert sorted(scene.conditions()) == [Condition.RETIRING] * 2 + [Condition.STUCK] * 2
    assert scene.nursery.wakes_at() > scene.now  # and nothing keeps the parent awake
    assert not scene.pool.accepts()


def keep_busy(scene: Scene, until: float, condition: Callable[[FakeChild], None]) -> None:
    """Let children come as they like; each has a task that does not end, and then `condition` befalls it."""
    while scene.now < until:
        for child in scene.spawned:
            if child.parents.condition is Condition.STARTING:
                child.introduce(scene.now)
            elif child.parents.condition is Condition.RUNNING and not child.parents.holds:
                places = give(child, [late(1), leased(2)], scene.now)
                for place in places.values():
                    child.start(place, scene.now)
                condition(child)
        scene.look(0.1)


def test_children_that_wait_for_their_last_tasks_never_become_more_than_twice_as_many() -> None:
    scene = Scene(children=2, drain_s=1e6).begin()
    keep_busy(scene, scene.now + 60.0, lambda child: None)  # all that run become late
    assert scene.conditions() == [Condition.RETIRING] * 4
    assert scene.nursery.wakes_at() > scene.now  # and nothing keeps the parent awake
    scene.spawned[0].die()
    scene.look(LOOK_EVERY_S)
    assert scene.conditions() == [Condition.RETIRING] * 3 + [Condition.STARTING]


def test_children_that_take_too_much_memory_never_become_more_than_twice_as_many() -> None:
    scene = Scene(max_rss=10**9).begin()

    def grow(child: FakeChild) -> None:
        child.process.rss = lambda: 2 * 10**9  # type: ignore[method-assign]

    keep_busy(scene, scene.now + 4.0, grow)
    assert scene.conditions() == [Condition.RETIRING] * 2


def test_a_child_that_has_run_enough_goes_on_while_there_is_no_room_for_another() -> None:
    scene = Scene(max_tasks=1).begin()
    for child in (0, 1):
        places = give(scene.spawned[child], [leased(1), leased(2)], scene.now)
        for place in places.values():
            scene.spawned[child].start(place, scene.now)
        scene.spawned[child].done(places[1], SUCCEEDED)
        scene.look()
        if child == 0:
            scene.spawned[1].introduce(scene.now)
            scene.look()
    assert scene.conditions() == [Condition.RETIRING, Condition.RUNNING]
    scene.spawned[0].die()
    scene.look(LOOK_EVERY_S)
    scene.look()
    assert scene.conditions() == [Condition.RETIRING, Condition.STARTING]


def test_a_reload_and_another_one_do_not_pile_children_up() -> None:
    scene = Scene(drain_s=30.0).begin()
    keep_busy(scene, scene.now + 0.2, lambda child: None)
    for _ in range(5):
        scene.nursery.ask_to_reload("the source has changed")
        scene.look(0.5)
    assert len(scene.nursery.children) == 2


# ---- timeouts


def late(number: int) -> Leased:
    return leased(number, options=Options(timeout_s=5.0).encode())


def test_a_late_task_that_is_alone_is_killed_with_its_child_at_once() -> None:
    scene = Scene().begin()
    scene.start(late(1), leased(2))
    scene.spawned[0].start(0, scene.now)
    scene.look(5.0)
    assert scene.conditions() == [Condition.RETIRING]
    finished = scene.look(SOON_S) | scene.look(SOON_S) | scene.look(LOOK_EVERY_S)
    assert scene.spawned[0].process.returncode == -9
    assert finished[2] is INTERRUPTED
    assert finished[1].reason == "timed out"  # type: ignore[attr-defined]
    assert scene.conditions() == [Condition.STARTING]


def test_a_child_that_was_killed_keeps_nobody_awake_until_it_is_dead() -> None:
    scene = Scene().begin()
    scene.start(late(1))
    scene.spawned[0].start(0, scene.now)
    kills = []
    scene.spawned[0].process.kill = lambda: kills.append(scene.now)  # type: ignore[method-assign]
    scene.look(5.0)
    scene.look()
    assert len(kills) == 1
    assert scene.nursery.wakes_at() > scene.now
    scene.look(0.1)
    assert len(kills) == 1
    assert scene.nursery.wakes_at() > scene.now


def test_its_siblings_may_go_on_for_the_drain_time() -> None:
    scene = Scene(drain_s=3.0).begin()
    scene.start(late(1), leased(2))
    scene.spawned[0].start(0, scene.now)
    scene.spawned[0].start(1, scene.now)
    scene.look(5.0)
    scene.look(2.9)
    assert scene.spawned[0].process.returncode is None
    scene.look(0.2)
    assert scene.spawned[0].process.returncode == -9
    finished = scene.look(LOOK_EVERY_S)
    ended = lost_with_process(CHILD_ENDED, "was ended (another task ran past its timeout)", 1)
    assert (finished[1].reason, finished[2]) == ("timed out", ended)  # type: ignore[attr-defined]


def test_a_child_that_is_being_replaced_anyway_is_killed_no_later() -> None:
    scene = Scene(drain_s=3.0, max_tasks=1).begin()
    scene.start(late(1), leased(2), leased(3))
    for place in (0, 1):
        scene.spawned[0].start(place, scene.now)
    scene.spawned[0].done(2, SUCCEEDED)
    scene.look()
    assert scene.conditions()[0] is Condition.RETIRING
    scene.look(5.0)
    scene.look(3.0)
    assert scene.spawned[0].process.returncode == -9


# ---- the pool


def test_tasks_in_front_go_to_free_threads_and_the_rest_where_least_lies() -> None:
    scene = Scene(children=2).begin()
    busy = give(scene.spawned[0], [leased(1), leased(2)], scene.now)
    for place in busy.values():
        scene.spawned[0].start(place, scene.now)
    front = [leased(number) for number in (11, 12)]  # such as may be attempted once
    scene.start(*front, *(leased(number) for number in range(20, 28)))
    sent = [set(child.places()) for child in scene.spawned]
    assert {(11, 1), (12, 1)} <= sent[1]
    assert [len(tasks) for tasks in sent] == [4, 6]


def test_tasks_come_back_when_no_child_takes_any() -> None:
    scene = Scene().begin()
    scene.nursery.replace(scene.nursery.children[0], "a test")
    assert not scene.pool.accepts()
    scene.start(leased(1))
    assert scene.look() == {1: INTERRUPTED}


def test_tasks_that_no_place_is_left_for_come_back() -> None:
    scene = Scene().begin()
    scene.start(*(leased(number) for number in range(PLACES)))
    scene.start(leased(PLACES + 1))
    assert scene.look() == {PLACES + 1: INTERRUPTED}


def test_a_child_that_becomes_ready_makes_the_dispatcher_look_for_work() -> None:
    scene = Scene(children=2).begin()
    assert scene.pool.wait(0.0)  # there are two that were not there before
    assert not scene.pool.wait(0.0)
    scene.spawned[0].die()
    scene.look()
    assert not scene.pool.wait(0.0)
    scene.spawned[-1].introduce(scene.now)
    scene.look()
    assert scene.pool.wait(0.0)


def test_waiting_ends_when_a_child_says_something() -> None:
    scene = Scene().begin()
    scene.pool.wait(0.0)
    scene.start(leased(1))
    scene.spawned[0].done(0, SUCCEEDED)
    assert not scene.pool.wait(60.0)  # there is nothing new in the store, though
    assert scene.look() == {1: SUCCEEDED}


def test_what_a_child_could_not_take_is_sent_while_waiting() -> None:
    scene = Scene().begin()
    scene.pool.wait(0.0)
    scene.start(*(leased(number, payload=bytes(200_000)) for number in range(10)))
    assert scene.nursery.children[0].channel.clogged
    heard = 0
    while heard < 10:
        heard += len(scene.spawned[0].places())
        scene.pool.wait(0.0)
    assert not scene.nursery.children[0].channel.clogged


# ---- the end


def test_what_still_runs_at_the_end_is_killed_and_the_idle_are_not() -> None:
    scene = Scene(children=2).begin()
    busy, idle = scene.spawned
    places = give(busy, [leased(1), leased(2)], scene.now)
    busy.start(places[1], scene.now)
    busy.process.wait = lambda timeout=None: -9  # type: ignore[method-assign]
    killed = {one.task.id: one.outcome for one in scene.pool.kill()}
    assert killed == {1: WORKER_STOPPED, 2: INTERRUPTED}
    assert (busy.process.returncode, idle.process.returncode) == (-9, None)


def test_at_the_end_all_are_told_to_stop_and_those_that_do_not_are_killed() -> None:
    scene = Scene(children=2).begin()
    scene.spawned[0].process.returncode = 0
    scene.pool.close(0.0)
    assert [child.hear() for child in scene.spawned] == [[("stop", None)]] * 2
    assert [child.process.returncode for child in scene.spawned] == [0, -9]
    scene.look(math.pi)
    assert scene.nursery.children == []


@pytest.mark.parametrize("children", [1, 3])
def test_an_idle_nursery_wakes_nobody(children: int) -> None:
    scene = Scene(children=children).begin()
    scene.look(LOOK_EVERY_S)
    assert scene.nursery.wakes_at() == math.inf
