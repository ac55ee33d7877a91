"""The loop of turns: settle what is done, lease what is wanted, keep what is held, and wait.

`dispatch` is a generator. It yields effects and is sent their answers; it never touches a store, a clock or a thread
itself. A driver carries the effects out for real, the simulation carries them out in a world of its own.

What it promises:
- It settles what it holds, or knows that it lost it. Outcomes wait here as long as the store is out of reach.
- It believes in a lease only up to a monotonic time that was reckoned before the lease was asked for. The pool starts
  nothing after that, unless the lease was renewed. Whether an outcome still counts, the store says.
- It leases more than there is room for only while tasks finish fast, and gives back what has not started soon.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from deferq.engines.base import Settlement, Turn, Want, holder_of, new_lease_id
from deferq.errors import StoreError
from deferq.model.events import Event, EventName
from deferq.model.outcome import INTERRUPTED, Cancelled, Outcome
from deferq.model.state import State
from deferq.model.task import Leased
from deferq.model.transitions import US
from deferq.runtime.config import WorkerConfig
from deferq.runtime.outage import LONGEST_S, Outage
from deferq.runtime.pace import Pace
from deferq.runtime.pools import Finished, Lease, Pool
from deferq.runtime.settling import ANNOUNCED, WORKER_STOPPED, event_of, fate_of_stalled, lost, settle

#: The part of a lease that is believed in; the rest allows for clocks that run at different speeds.
BELIEVED = 0.95
#: Seconds after which a task that was leased ahead and has not started is given back.
UNSTARTED_S = 1.0
#: Seconds that cancelled coroutines have to end when draining is over.
CUT_OFF_S = 1.0
#: Seconds between two looks, at the least, where something is due that cannot be leased.
LOOK_AGAIN_S = 0.001
SWEEP_EVERY_S = 8.0
#: How many stalled tasks are settled at a time.
RESCUED_MAX = 100
#: The longest pause in an outage, as a part of a lease: once the store is back, leases are renewed in time.
PAUSE_OF_LEASE = 1 / 6
BEAT_EVERY_S = 10.0
#: So many tasks that the pool has let go are remembered, the latest.
LET_GO_MAX = 100_000


# ---- effects, and what they are answered with


class TakeTurn(NamedTuple):
    """Settle and lease in one transaction -> Turn."""

    settlements: Sequence[Settlement]
    want: Want | None


class Renew(NamedTuple):
    """Let leases end later -> (those that are lost, those to be cancelled)."""

    leases: Sequence[Leased]
    until: int


class FindStalled(NamedTuple):
    """Look for leases that are over, or whose holder is dead -> list of up to `limit` Leased."""

    limit: int


class Sweep(NamedTuple):
    """One short round of the janitor -> Swept."""


class Beat(NamedTuple):
    """Say that this worker lives -> None."""

    running: int
    abandoned: int


class Wait(NamedTuple):
    """Sleep until the bell rings or the time is over -> whether it rang."""

    timeout_s: float


Effect = TakeTurn | Renew | FindStalled | Sweep | Beat | Wait
Dispatch = Generator[Effect, Any, None]


class World(Protocol):
    """What a dispatcher knows of the world without asking the store."""

    #: Random, made anew at each start: the upper half of its lease ids.
    number: int
    #: The events somebody listens to.
    wanted: frozenset[EventName]

    def now_us(self) -> int:
        """The engine's time, in microseconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def random(self) -> float:
        """A random number in [0, 1)."""

    def announce(self, event: Event) -> None:
        """Tell the listeners."""


class Stop:
    """Asks a dispatcher to come to an end. Setting it is all that a signal handler has to do."""

    __slots__ = ("drain_s", "requested")

    def __init__(self, drain_s: float) -> None:
        self.requested = False
        #: Seconds that running tasks may go on.
        self.drain_s = drain_s

    def request(self, drain_s: float | None = None) -> None:
        """Stop; asking again with a shorter time shortens it."""
        if drain_s is not None:
            self.drain_s = drain_s
        self.requested = True


def dispatch(config: WorkerConfig, pool: Pool, world: World, stop: Stop) -> Dispatch:
    """Feed `pool` until `stop` is requested and everything is settled or given up."""
    return _Dispatcher(config, pool, world, stop).run()


class _Dispatcher:
    def __init__(self, config: WorkerConfig, pool: Pool, world: World, stop: Stop) -> None:
        self._config = config
        self._pool = pool
        self._world = world
        self._stop = stop
        #: What we lease and have no outcome for, by task id.
        self._held: dict[int, Leased] = {}
        #: What the pool has let go, by id: its lease, and what it counts as if nobody settles it.
        self._let_go: dict[int, tuple[int, Outcome]] = {}
        #: What we believe about it, by lease id.
        self._leases: dict[int, Lease] = {}
        #: Decided, and not yet known to be stored.
        self._unsettled: list[Settlement] = []
        self._outage = Outage(min(LONGEST_S, PAUSE_OF_LEASE * config.lease_s))
        self._pace = Pace(prefetch_s=config.prefetch_s, least=config.threads, most=2 * config.batch)
        self._serial = 0
        self._drain_since: float | None = None
        # Monotonic times of what comes next.
        now = world.monotonic()
        self._look_at = now
        #: Whether the bell has just rung.
        self._rung = False
        #: What to ask for at once when the bell rings.
        self._prepared: Want | None = None
        self._renew_at = math.inf
        self._scan_at = now
        self._sweep_at = now + self._jittered(SWEEP_EVERY_S)
        self._beat_at = now
        #: Whether stalled tasks were looked for since the start.
        self._searched = False

    def run(self) -> Dispatch:
        while not self._at_an_end():
            prepared, self._prepared = self._prepared, None  # a lease id is never used twice
            if self._rung and prepared is not None and not self._stop.requested:
                yield from self._hurry(prepared)
            self._collect()
            if self._stop.requested:
                self._wind_down()
            if self._world.monotonic() >= self._outage.until:
                yield from self._take_turn()
                yield from self._keep_up()
            yield from self._rest()
        self._settle_all(self._pool.kill())
        while self._unsettled and not self._outage:
            yield from self._take_turn()

    # ---- what the pool brings

    def _collect(self) -> bool:
        """Decide what becomes of the tasks that have left the pool; whether there were any."""
        now = self._world.monotonic()
        finished = self._pool.finished()
        finished += self._pool.overdue(now)
        self._pace.note(len(finished), now)
        if finished:
            self._settle_all(finished)
        return bool(finished)

    def _settle_all(self, finished: Iterable[Finished]) -> None:
        now = self._world.now_us()
        for task, outcome, duration_us, let_go in finished:
            held = self._held.get(task.id)
            if held is None or held.lease_id != task.lease_id:
                continue  # lost, or timed out before: it is not ours to say how it ended
            del self._held[task.id]
            if let_go:
                self._leave(held, outcome)
                continue
            outcome = self._unless_cut_off(held, outcome)
            self._unsettled.append(settle(held, outcome, duration_us, now, self._world.random()))

    def _leave(self, task: Leased, outcome: Outcome) -> None:
        """Neither end its lease nor renew it: others may, who know more."""
        self._let_go.pop(task.id, None)
        self._let_go[task.id] = task.lease_id, outcome
        if len(self._let_go) > LET_GO_MAX:
            del self._let_go[next(iter(self._let_go))]

    def _unless_cut_off(self, task: Leased, outcome: Outcome) -> Outcome:
        """A coroutine that nobody asked to cancel was cancelled by us, because draining was over."""
        if isinstance(outcome, Cancelled) and outcome.reason == "cancelled" and not task.cancel_requested:
            return WORKER_STOPPED
        return outcome

    def _give_back(self, leased_before: float | None = None) -> None:
        back = self._pool.withdraw(leased_before)
        self._settle_all(Finished(task, INTERRUPTED) for task in back)

    # ---- a turn

    def _take_turn(self) -> Generator[Effect, Any, None]:
        want = self._want()
        if want is None and not self._unsettled:
            return
        group = self._unsettled[: self._config.batch]
        asked_at = self._world.monotonic()
        turn = yield from self._ask(TakeTurn(group, want))
        if turn is None:
            return
        del self._unsettled[: len(group)]
        self._announce_all(group, turn)
        if want is not None:
            self._take(turn, want, asked_at)
        self._look_for_these(group, turn, asked_at)

    def _hurry(self, want: Want) -> Generator[Effect, Any, None]:
        """Take the first task that is due: everything here is cold after a sleep, so nothing else is done before."""
        self._prepared = None  # a lease id fences one turn, and by the next there may be no room
        asked_at = self._world.monotonic()
        turn = yield from self._ask(TakeTurn((), want))
        if turn is not None and turn.leased:
            self._take(turn, want, asked_at)

    def _hurried_want(self) -> Want | None:
        """Made before going to sleep, while nothing is held."""
        if self._held or self._unsettled or self._stop.requested or self._outage:
            return None
        return self._make_want(1, 0, hurry=True) if self._pool.free() else None

    def _want(self) -> Want | None:
        """What there is room for; None if there is none, or if nothing can have become due."""
        if self._stop.requested or not (self._unsettled or self._world.monotonic() >= self._look_at):
            return None
        free, ahead = self._room()
        if not free and not ahead:
            return None
        return self._make_want(free, ahead)

    def _make_want(self, free: int, ahead: int, hurry: bool = False) -> Want:
        self._serial += 1
        config = self._config
        return Want(
            free=free,
            ahead=ahead,
            lease_id=new_lease_id(self._world.number, self._serial),
            lease_us=int(config.lease_s * US),
            queues=config.queues,
            routes=config.wanted_routes,
            rotation=self._serial,
            hurry=hurry,
            delivers=bool(config.delivers),
        )

    def _room(self) -> tuple[int, int]:
        """Slots that would start a task at once, and how many more to lease ahead."""
        batch = self._config.batch
        free = min(batch, self._pool.free())
        ahead = self._pace.ahead() - self._pool.unstarted() if self._pool.accepts() else 0
        return free, max(0, min(batch - free, ahead))

    def _take(self, turn: Turn, want: Want, asked_at: float) -> None:
        """Hand what was leased to the pool, and reckon when to look again."""
        if (want.hurry and turn.leased) or len(turn.leased) >= want.free + want.ahead:
            self._look_at = asked_at
        else:
            self._look_at = asked_at + self._until_next_due(turn)
        if not turn.leased:
            self._stop_if_idle()
            return
        # What we still run under an older lease was lost without our noticing: the store has just given it to us again.
        self._forget([self._held[task.id] for task in turn.leased if task.id in self._held])
        lease = Lease(asked_at, asked_at + BELIEVED * self._config.lease_s)
        self._pool.start(turn.leased, lease)
        self._leases[want.lease_id] = lease
        self._held.update((task.id, task) for task in turn.leased)
        self._renew_at = min(self._renew_at, asked_at + self._config.lease_s / 3)

    def _look_for_these(self, group: Sequence[Settlement], turn: Turn, asked_at: float) -> None:
        """What was just put back is due again at a time we know, and an engine may have looked before it settled."""
        due = min((one.transition.eta for one in group if one.transition.state is State.PENDING), default=None)
        if due is not None:
            self._look_at = min(self._look_at, asked_at + max(0.0, (due - turn.now) / US))

    def _stop_if_idle(self) -> None:
        """Whoever is to work until nothing is left has come to the end."""
        if self._config.until_idle and self._searched and not self._held and not self._unsettled:
            self._stop.request()

    def _until_next_due(self, turn: Turn) -> float:
        poll_s = self._jittered(self._config.poll_s)
        if turn.next_due is None:
            return poll_s
        return min(poll_s, max(LOOK_AGAIN_S, (turn.next_due - turn.now) / US))

    # ---- keeping what is held, and looking after the rest

    def _keep_up(self) -> Generator[Effect, Any, None]:
        now = self._world.monotonic()
        self._give_back(now - UNSTARTED_S)
        if now >= self._renew_at:
            yield from self._renew(now)
        # Somewhat early, if it is awake anyway: an idle worker shall wake up once a second, and not for each thing.
        if now >= self._scan_at - self._config.poll_s / 4 and not self._unsettled and not self._stop.requested:
            self._scan_at = now + self._jittered(self._config.poll_s)
            yield from self._rescue()
        if now >= self._sweep_at and not self._stop.requested:
            yield from self._sweep(now)
        if now >= self._beat_at:
            self._beat_at = now + self._jittered(BEAT_EVERY_S)
            yield from self._ask(Beat(self._pool.running(), self._pool.abandoned()))

    def _renew(self, now: float) -> Generator[Effect, Any, None]:
        """Renew what we still believe in; learn what is lost and what is to be cancelled.

        A lease that is over may be under somebody's eyes as stalled, so it is not revived: its task goes on, and its
        settlement will show whether anybody took it.
        """
        kept = {task.lease_id for task in self._held.values()}
        self._leases = {key: lease for key, lease in self._leases.items() if key in kept and now < lease.until}
        renewed = [task for task in self._held.values() if task.lease_id in self._leases]
        self._renew_at = now + self._config.lease_s / 3 if renewed else math.inf
        if not renewed:
            return
        until = self._world.now_us() + int(self._config.lease_s * US)
        answer = yield from self._ask(Renew(renewed, until))
        if answer is None:
            self._renew_at = now
            return
        lost_now, to_cancel = answer
        self._forget(lost_now)
        self._cancel(to_cancel)
        for lease in self._leases.values():
            lease.until = now + BELIEVED * self._config.lease_s

    def _forget(self, tasks: Sequence[Leased]) -> None:
        """Another worker holds them: what still runs here is told to stop, and its outcome is dropped."""
        for task in tasks:
            self._held.pop(task.id, None)
            self._announce_lost(task)
        if tasks:
            self._pool.cancel({task.id for task in tasks})

    def _cancel(self, tasks: Sequence[Leased]) -> None:
        for task in tasks:
            self._held[task.id] = self._held[task.id]._replace(cancel_requested=True)
        if tasks:
            self._pool.cancel({task.id for task in tasks})

    def _rescue(self) -> Generator[Effect, Any, None]:
        """Settle tasks whose lease is over, or whose holder is dead; if there are many, at once again."""
        # What still runs here may be among them, and must not hide the others.
        limit = RESCUED_MAX + len(self._held)
        stalled = yield from self._ask(FindStalled(limit))
        if stalled is not None and len(stalled) >= limit:
            self._scan_at = -math.inf
        if stalled is not None and not self._searched:
            self._searched, self._look_at = True, -math.inf
        now = self._world.now_us()
        for task in stalled or ():
            held = self._held.get(task.id)
            if held is not None and held.lease_id == task.lease_id:
                continue  # it still runs here: the clock has jumped, or we slept
            buried = settle(task, self._fate(task, now), 0, now, self._world.random())
            self._unsettled.append(buried._replace(only_if_over=True))

    def _fate(self, task: Leased, now: int) -> Outcome:
        """What became of a task that nobody looks after."""
        lease_id, outcome = self._let_go.get(task.id, (0, INTERRUPTED))
        if lease_id == task.lease_id:
            return outcome
        if holder_of(task.lease_id) == self._world.number:
            return INTERRUPTED  # a lease of ours that we do not hold was answered to nobody, so it never started
        return fate_of_stalled(task, now)

    def _sweep(self, now: float) -> Generator[Effect, Any, None]:
        swept = yield from self._ask(Sweep())
        if swept is None or not swept.more:  # what is left waits for one turn, so that sweeping delays nobody
            self._sweep_at = now + self._jittered(SWEEP_EVERY_S)

    # ---- asking the store

    def _ask(self, effect: Effect) -> Generator[Effect, Any, Any]:
        """The answer of the store; None if it is out of reach. A damaged one counts as such: it may be put back."""
        try:
            answer = yield effect
        except StoreError as error:
            if self._outage.failed(self._world.monotonic(), self._world.random(), type(effect)):
                self._announce(EventName.STORE_UNAVAILABLE, f"{type(error).__name__}: {error}")
            return None
        if self._outage and self._outage.ended(None if _wrote(effect, answer) else type(effect)):
            self._announce(EventName.STORE_RECOVERED)
        return answer

    # ---- waiting

    def _rest(self) -> Generator[Effect, Any, None]:
        """Sleep, unless there is something to do. The pool wakes us only after it has shown us an empty list."""
        if self._collect() or self._at_an_end():
            return
        pause = self._pause()
        self._prepared = self._hurried_want()
        self._rung = pause > 0.0 and (yield Wait(pause))
        if self._rung:
            self._look_at = -math.inf

    def _pause(self) -> float:
        now = self._world.monotonic()
        pause = min(self._config.poll_s, self._next_step(now) - now)
        if (overdue := self._pool.next_overdue()) is not None:
            pause = min(pause, overdue - now)
        return max(0.0, pause)

    def _next_step(self, now: float) -> float:
        """When there is something to ask the store."""
        if now < self._outage.until:
            return self._outage.until
        if self._unsettled:
            return now
        if self._stop.requested:
            return min(self._renew_at, self._beat_at, self._end())
        look_at = self._look_at if any(self._room()) else math.inf
        return min(look_at, self._renew_at, self._scan_at, self._sweep_at, self._beat_at)

    def _jittered(self, seconds: float) -> float:
        """Somewhat less, so that many workers do not act in step."""
        return seconds * (1.0 - self._world.random() / 4)

    # ---- stopping

    def _wind_down(self) -> None:
        """Give back what has not started; when draining is over, cancel what can be cancelled.

        A thread cannot be cancelled. What it still runs at the very end is killed with its process, where that is a
        child. In this process it keeps its lease. Others take it, as "worker lost", once the process or the lease ends:
        to give it back could start it elsewhere while it goes on here.
        """
        now = self._world.monotonic()
        if self._drain_since is None:
            self._drain_since = now
            self._announce(EventName.WORKER_STOPPING)
        self._give_back()
        if now >= self._drained_at() and self._held:
            self._pool.cancel(set(self._held))

    def _drained_at(self) -> float:
        return math.inf if self._drain_since is None else self._drain_since + self._stop.drain_s

    def _end(self) -> float:
        """When to leave, whatever still runs."""
        now = self._world.monotonic()
        drained_at = self._drained_at()
        return drained_at if now < drained_at else drained_at + CUT_OFF_S

    def _at_an_end(self) -> bool:
        if self._drain_since is None:
            return False
        settled = not self._held and not self._unsettled
        return settled or self._world.monotonic() >= self._drained_at() + CUT_OFF_S

    # ---- announcing

    def _announce_all(self, group: Sequence[Settlement], turn: Turn) -> None:
        if turn.lost:
            lost_ids = {(task.id, task.lease_id) for task in turn.lost}
            for task in turn.lost:
                self._announce_lost(task)
            group = [one for one in group if (one.task.id, one.task.lease_id) not in lost_ids]
        for settlement in group:
            name = ANNOUNCED.get(settlement.transition.rule)
            if name in self._world.wanted:
                self._world.announce(event_of(settlement, name, turn.now))

    def _announce_lost(self, task: Leased) -> None:
        if EventName.TASK_LOST in self._world.wanted:
            self._world.announce(lost(task, self._world.now_us()))

    def _announce(self, name: EventName, detail: str = "") -> None:
        self._world.announce(Event(name, self._world.now_us(), detail=detail))


def _wrote(effect: Effect, answer: object) -> bool:
    """Whether the store has certainly written rows: then it is well."""
    return isinstance(effect, TakeTurn) and isinstance(answer, Turn) and bool(effect.settlements or answer.leased)
