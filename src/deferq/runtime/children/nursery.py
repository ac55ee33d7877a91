"""Starts children, replaces those that have done enough or are in trouble, and buries those that died."""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deferq.model.events import EventName
from deferq.model.outcome import INTERRUPTED, Interrupted
from deferq.model.task import Leased
from deferq.runtime.children.ending import LOST_CONNECTION, how_it_ended
from deferq.runtime.children.process import ChildProcess, Condition
from deferq.runtime.children.quarantine import Quarantine
from deferq.runtime.children.quarantined import QuarantineChild
from deferq.runtime.outage import Outage
from deferq.runtime.pools import Finished, Lease
from deferq.runtime.settling import CHILD_ENDED, WORKER_DIED, WORKER_STOPPED, lost_with_process

#: Seconds between two looks at what no event tells: a death, or the memory a child takes.
LOOK_EVERY_S = 1.0
#: Seconds that a child has to load the application. One that hangs there would never be replaced.
START_S = 300.0
#: Seconds until a look at a child that is about to be dead.
SOON_S = 0.005
#: Seconds that a child has to end once it has nothing to do any more.
END_S = 5.0
#: Seconds after which a stuck child is replaced. It goes on with what it runs.
REPLACE_STUCK_S = 2.0
#: Seconds within which a child that was stuck must not be stuck again, or it is replaced at once.
STUCK_AGAIN_S = 15.0

Announce = Callable[[EventName, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Household:
    """How many children there are, and when one has done enough."""

    children: int = 1
    #: A child is replaced after so many tasks; None: never.
    max_tasks: int | None = None
    #: A child is replaced when it takes more bytes of memory; None: never.
    max_rss: int | None = None
    #: How long the siblings of a task that ran out of time may go on, in seconds.
    drain_s: float = 30.0
    #: Whether a child that could not load the application is started again by itself.
    insists: bool = True


class Nursery:
    """All children of one parent, also those that are on their way out."""

    def __init__(
        self,
        spawn: Callable[[], ChildProcess],
        household: Household,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`spawn` starts a process; nothing is started yet."""
        self.household = household
        self.children: list[ChildProcess] = []
        #: Whom to tell of what happens to them.
        self.announce: Announce = _nobody
        #: Whom to tell what a child has said of the application.
        self.introduced: Callable[[Mapping[str, Any]], None] = _nothing
        #: Where suspect tasks run; None: among the others.
        self.quarantine: Quarantine | None = None
        #: How the first child ended that could not load the application.
        self.exit_code = 0
        self._spawn = spawn
        self._monotonic = monotonic
        self._chance = chance
        self._outage = Outage()
        self._closed = False
        #: When all children are looked at next, whether anything is known of them or not; when that must not wait.
        self._next_round_at = self._look_at = -math.inf
        #: The store that the first child named; the others must agree.
        self._store: str | None = None
        self._gave_up = False
        self._reload_why = ""

    # ---- the beginning

    def first_hello(self) -> Mapping[str, Any] | None:
        """Start a child and wait until it has loaded the application; None: it could not. The only wait in here."""
        child = self._spawn()
        self.children.append(child)
        while not child.channel.closed and not child.hello:
            child.await_word(LOOK_EVERY_S)
            child.receive(self._monotonic())
        if child.hello:
            self._store = child.hello["store"]
            return child.hello
        self.children.remove(child)
        child.end(END_S)
        self.exit_code = child.process.returncode
        return None

    @property
    def gave_up(self) -> bool:
        """Whether nothing is started until somebody asks for a reload."""
        return self._gave_up

    # ---- suspect tasks

    def take_apart(self, task: Leased, lease: Lease, now: float) -> Interrupted | None:
        """Run a suspect task in a child of its own; or say how it goes back, if that cannot be now."""
        assert self.quarantine is not None
        taken = self.quarantine.take(task, lease, self.children, self._store, now)
        if isinstance(taken, Interrupted):
            return taken
        self.children.append(taken)
        return None

    # ---- every time the dispatcher comes by

    def look_after(self, now: float) -> list[Finished]:
        """Do what has to be done for each child; returns the tasks of those that died."""
        if self._reload_why:
            self._reload(now)
        finished: list[Finished] = []
        regular = now >= min(self._look_at, self._next_round_at)
        if regular:
            self._look_at, self._next_round_at = math.inf, now + LOOK_EVERY_S
        for child in list(self.children):
            if (regular or child.channel.closed) and child.is_dead():
                finished += self._bury(child, now)
            else:
                self._look_at_one(child, now, regular)
        self._fill_up(now)
        return finished

    def wakes_at(self) -> float:
        """Monotonic time at which `look_after` has something to do by itself."""
        spawn_at = self._outage.until if self._missing() and not self._gave_up else math.inf
        return min(self._look_at, spawn_at, *(child.wakes_at for child in self.children))

    def look_now(self) -> None:
        """A child has died."""
        self._look_at = -math.inf

    def condemn(self, child: ChildProcess, now: float) -> None:
        """A task ran past its timeout there. Its siblings may go on for a while; then the child is killed."""
        if child.killed:
            return  # to kill it again and again would keep the parent from hearing of its death
        if child.condition is not Condition.RETIRING:
            self.replace(child, "a task ran past its timeout")
        child.condemned = True
        child.kill_at = min(child.kill_at, now + self.household.drain_s)
        if child.runs_only_late():
            child.kill_at = now

    def replace(self, child: ChildProcess, why: str) -> None:
        """Give it no more tasks; another one takes its place at once."""
        child.retire(why, self._monotonic())
        self.announce(EventName.CHILD_REPLACED, f"pid {child.pid}: {why}")

    def ask_to_reload(self, why: str) -> None:
        """Replace all of them at the next look. Safe from any thread."""
        self._reload_why = why
        self.look_now()

    def _reload(self, now: float) -> None:
        """What they run may go on for the drain time."""
        why, self._reload_why = self._reload_why, ""
        self._gave_up = False
        self._outage = Outage()
        for child in self.children:
            if child.condition is not Condition.RETIRING:
                child.retire(why, now)
                child.kill_at = min(child.kill_at, now + self.household.drain_s)

    # ---- the end

    def kill_busy(self, now: float) -> list[Finished]:
        """Kill those that still run tasks; returns these."""
        finished: list[Finished] = []
        for child in [child for child in self.children if child.holds]:
            child.kill()
            child.process.wait()
            self.children.remove(child)
            finished += child.bury(now, WORKER_STOPPED)
        return finished

    def close(self, timeout_s: float) -> None:
        """Let all of them end, and kill those that have not after `timeout_s`."""
        self._closed = True
        until = self._monotonic() + timeout_s
        for child in self.children:
            child.stop()
        for child in self.children:
            child.end(max(0.0, until - self._monotonic()))
        self.children.clear()

    # ---- inside

    def _look_at_one(self, child: ChildProcess, now: float, regular: bool) -> None:
        if now >= child.kill_at:
            child.kill_at = math.inf
            child.killed_since = _why_killed(child)
            child.kill()
        elif child.channel.closed:
            self._lose(child, now)
        if child.hello and not child.announced and not child.apart:
            self._welcome(child)
        match child.condition:
            case Condition.STARTING if now >= child.started_at + START_S:
                child.kill()
            case Condition.QUARANTINE if now >= child.started_at + 2 * START_S and not child.running():
                child.kill()  # it has had as long again to begin its task, and hangs
            case Condition.RUNNING:
                self._look_at_running(child, now, regular)
            case Condition.STUCK:
                self._look_at_stuck(child, now)
            case Condition.RETIRING if not (child.holds or child.stopping or child.channel.closed):
                child.stop()
                child.kill_at = min(child.kill_at, now + END_S)

    def _lose(self, child: ChildProcess, now: float) -> None:
        """It says nothing more, and should be dead soon. Until then others do its work."""
        child.kill_at = min(child.kill_at, now if child.channel.garbled else now + END_S)
        self._look_at = min(self._look_at, now + SOON_S)
        if child.condition in (Condition.RUNNING, Condition.STUCK):
            child.retire("it has closed its connection", now)

    def _welcome(self, child: ChildProcess) -> None:
        """It has loaded the application, so others can: those that run already say nothing about that."""
        child.announced = True
        if child.hello["store"] == self._store:
            self._outage.ended()
            self.introduced(child.hello)
        self.announce(EventName.CHILD_STARTED, f"pid {child.pid}")

    def _look_at_running(self, child: ChildProcess, now: float, regular: bool) -> None:
        if child.hello["store"] != self._store:
            child.retire("it uses another store", now)
            why = "it uses another store than the others; start this worker anew"
            self._failed_start(f"pid {child.pid}: {why}", now)
        elif child.worn:
            self.replace(child, child.worn)
        elif child.is_stuck(now):
            self._find_stuck(child, now)
        elif self._has_run_enough(child) and self._room():
            self.replace(child, f"it has run {child.finished} tasks")
        elif regular and self.household.max_rss is not None and (rss := child.rss()) > self.household.max_rss:
            self.replace(child, f"it takes {rss / 1e6:,.0f} MB of memory")

    def _has_run_enough(self, child: ChildProcess) -> bool:
        return self.household.max_tasks is not None and child.finished >= self.household.max_tasks

    def _find_stuck(self, child: ChildProcess, now: float) -> None:
        """Its tasks shall not wait there. A task may let go of the lock now and then, between two long calls."""
        child.stuck_again = now - child.stuck_at < STUCK_AGAIN_S
        child.condition, child.stuck_at = Condition.STUCK, now
        child.withdraw(math.inf, now)

    def _look_at_stuck(self, child: ChildProcess, now: float) -> None:
        """Whatever it says, it is stuck no more. While it says nothing others do its work, but not endlessly many."""
        lasts = child.stuck_again or now - child.stuck_at >= REPLACE_STUCK_S
        if lasts and self._room():
            self.replace(child, "it starts no tasks: something holds its interpreter lock, or its event loop")
        elif child.said_at > child.stuck_at:
            child.condition = Condition.RUNNING
        self._look_at = min(self._look_at, now + LOOK_EVERY_S / 2)

    def _bury(self, child: ChildProcess, now: float) -> list[Finished]:
        self.children.remove(child)
        ended = child.cut_off and child.process.returncode == -signal.SIGKILL
        kind = CHILD_ENDED if ended else WORKER_DIED
        how = f"pid {child.pid} {_how_it_ended(child)}"
        if isinstance(child, QuarantineChild) and self.quarantine is not None:
            if not child.stopping:
                self.announce(EventName.CHILD_LOST, f"{how}; a suspect task was alone in it")
            return self.quarantine.after(child, child.bury(now, kind), now)
        finished = child.hear_last_words(now)
        lost = lost_with_process(kind, _how_it_ended(child), child.running() - 1)
        finished += child.bury(now, lost)
        if child.condition is Condition.STARTING:
            self._failed_start(f"{how} {_how_far_it_came(child, now)}", now)
        elif child.condemned and not child.stopping:
            self.announce(EventName.CHILD_REPLACED, f"pid {child.pid} was ended: a task ran past its timeout")
        elif not child.stopping:
            started = sum(one.outcome is lost for one in finished)
            back = sum(one.outcome is INTERRUPTED for one in finished)
            self.announce(EventName.CHILD_LOST, f"{how}; {started} of its tasks had started, {back} go back")
        return finished

    def _failed_start(self, why: str, now: float) -> None:
        self._outage.failed(now, self._chance())
        self._gave_up = not self.household.insists
        self.announce(EventName.CHILD_LOST, why)

    def _missing(self) -> int:
        """How many are to be started; those on their way out may have long tasks, and must not become ever more."""
        there = sum(child.condition is not Condition.RETIRING for child in self._sharing())
        return 0 if self._closed else min(self.household.children - there, self._room())

    def _room(self) -> int:
        """How many more there may be in all, those on their way out among them."""
        return 2 * self.household.children - len(self._sharing())

    def _sharing(self) -> list[ChildProcess]:
        """Those that share the work."""
        return [child for child in self.children if not child.apart]

    def _fill_up(self, now: float) -> None:
        if self._gave_up or now < self._outage.until:
            return
        try:
            for _ in range(self._missing()):
                self.children.append(self._spawn())
        except OSError as error:  # no memory, no descriptors, too many processes: that passes
            self._failed_start(f"no process can be started: {error}", now)


def _why_killed(child: ChildProcess) -> str:
    if child.condemned:
        return "was ended (another task ran past its timeout)"
    return LOST_CONNECTION if child.channel.closed else f"was ended ({child.why_retired})"


def _how_it_ended(child: ChildProcess) -> str:
    return child.killed_since or how_it_ended(child.process.returncode)


def _how_far_it_came(child: ChildProcess, now: float) -> str:
    late = f" within {START_S:.0f} s" if now >= child.started_at + START_S else ""
    return f"before it had loaded the application{late}"


def _nothing(hello: Mapping[str, Any]) -> None:
    """Nobody wants to know yet."""


def _nobody(name: EventName, detail: str) -> None:
    """Nobody listens yet."""
