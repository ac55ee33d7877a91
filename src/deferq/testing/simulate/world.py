"""Workers, producers and a person, one store, one clock, one thread, one seed.

The real dispatcher, executor, janitor and engine run; time, chance, pools and faults are simulated. Whoever asks the
store may be told of an error before or after the commit, be answered late, or die of the question.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from deferq.codec.codec import Invocation
from deferq.engines.answers import PutAnswer
from deferq.engines.base import TOMBSTONE_S, LeasingEngine, holder_of
from deferq.errors import StoreUnavailable
from deferq.model.task import Leased, NewTask, Task
from deferq.runtime.config import WorkerConfig
from deferq.runtime.dispatcher import Effect, FindStalled, Renew, TakeTurn, Wait, dispatch
from deferq.runtime.executor import Awaiting
from deferq.runtime.pools import Lease
from deferq.testing.simulate import aftermath
from deferq.testing.simulate.accounts import Account
from deferq.testing.simulate.application import take_stage
from deferq.testing.simulate.children import SimulatedChildren
from deferq.testing.simulate.clock import START, US, SimulatedClock
from deferq.testing.simulate.contract import Witness
from deferq.testing.simulate.handlers import Handlers
from deferq.testing.simulate.history import History
from deferq.testing.simulate.person import Person
from deferq.testing.simulate.pool import Run, SimulatedPool
from deferq.testing.simulate.producer import Producer
from deferq.testing.simulate.retention import KEPT_US
from deferq.testing.simulate.stores import (
    COMMIT,
    Blow,
    Fate,
    MakeEngine,
    OneEngine,
    Process,
    ProcessDied,
    Store,
    StoreMaker,
)
from deferq.testing.simulate.stories import Stories, portable
from deferq.testing.simulate.worker import LEASE_S, POLL_S, Dispatching, Node

FAULTS_END = 30.0
TASKS_MAX = 30
_LEAPS_S = (1.0, 12.0, 12.0, 3600.0, 10 * 366 * 86_400.0)

AnyPool = SimulatedPool | SimulatedChildren


class SimulatedWorld:
    """Everything there is, from one seed."""

    def __init__(
        self,
        seed: int,
        make_engine: MakeEngine | StoreMaker,
        dispatching: Dispatching = dispatch,
        *,
        children: bool = False,
        pushed: bool = False,
        tombstone_s: float = TOMBSTONE_S,
    ) -> None:
        """With `children` tasks run as child processes run them; `pushed`: as handlers do; else as threads do."""
        self.chance = random.Random(seed)
        #: Monotonic seconds; 0 is never one, since in shared memory it stands for "not started".
        self.now = 1.0
        self._wall_s = 0.0
        self.clock = SimulatedClock()
        self._set_wall()
        self.history = History(int(tombstone_s * US))
        #: How often a dispatcher was let run, and how much went wrong on purpose.
        self.steps = self.faults = 0
        self._steps_now = 0
        self._store = _store(make_engine, self.clock)
        self._desk = self._store.new_process()
        self._dispatching = dispatching
        self._children = children
        self._handlers = Handlers(self) if pushed else None
        #: When the wall clock leapt forward, and how far: a lease ends that much earlier than its holder believes.
        self._leaps: list[tuple[float, float]] = []
        #: Whether the clock was set back so far that nobody would wait for what is due by the old one.
        self._was_set_back = False
        self._trouble_ends = 0.0
        #: When the last fault was over and everything put right, and how long everything may take from then on.
        self._right_since: float | None = None
        self._is_over = False
        self._patience_s = 0.0
        #: The workers that died, and did not end in order.
        self._died: set[int] = set()
        self._numbers = iter(range(1, 10**6))
        self.stories = Stories(self.chance, self.clock)
        self.person = Person(self, self.engine)
        self._begin()

    def _begin(self) -> None:
        self.nodes: list[Node] = []
        self.person.declare_limits()
        first = [self.stories.new_task() for _ in range(self.chance.randint(4, 15))]
        self.was_put("producer 0", first, self.engine.put(first))
        count = self.chance.randint(1, 2)
        self.producers = [Producer(self, number + 1, self._store.new_process) for number in range(count)]
        for _ in range(self.chance.randint(3, 5)):
            self._start_node()

    # ---- what those who live here ask

    @property
    def engine(self) -> LeasingEngine:
        """The engine of whoever looks on, and to whom nothing happens."""
        return self._desk.engine

    @property
    def wants_tasks(self) -> bool:
        """Whether producers shall make more."""
        return sum(1 for _ in self.history.accounts) < TASKS_MAX and not self.calm

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self.now >= FAULTS_END

    def monotonic(self) -> float:
        return self.now

    def new_pool(self, node: Node, config: WorkerConfig) -> AnyPool:
        """Where a dispatcher has its tasks run."""

        def begin(task: Leased, lease: Lease) -> Run:
            return self.begin(node, task, lease)

        def note(what: str, task: Leased) -> None:
            self.history.note(self.now, node.name, what, task.id, task.lease_id)

        if self._children:
            return SimulatedChildren(config, self.monotonic, self.chance, self.fault, begin, note)
        if (handlers := self._handlers) is not None:
            return SimulatedPool(config.threads, self.monotonic, lambda *sent: handlers.begin(node, *sent))
        return SimulatedPool(config.threads, self.monotonic, begin)

    def witness(self, engine: LeasingEngine, number: int) -> Witness:
        """Between a worker and its engine."""
        return Witness(
            engine,
            self.engine,
            number,
            self._alive,
            lambda: [one.id for one in self.history.accounts.live()],
            self._was_taken_up,
        )

    def _was_taken_up(self, task_id: int, lease_id: int) -> bool:
        """Whether it runs in a process of which nobody knows that it is dead."""
        return self._handlers is not None and self._handlers.has_taken_up(task_id, lease_id)

    def begin(self, node: Node, task: Leased, lease: Lease) -> Run:
        """A pool starts a task: the executor runs it now, and its outcome is there when its time is over."""
        invocation = node.executor.prepare(task)
        if not isinstance(invocation, Invocation):
            refusal = portable(invocation)
            self.history.note(self.now, node.name, f"refused: {type(refusal).__name__}", task.id, task.lease_id)
            self.history.books.refused(task, refusal, self.now)
            return Run(self.now, task, lease, refusal)
        current = node.executor.current(task)
        outcome = node.executor.call(invocation, current)
        assert not isinstance(outcome, Awaiting)
        outcome = portable(outcome)
        self.history.start(self.now, node.name, task, outcome)
        ends_at = self.now + self.stories.played.seconds
        self.history.books.started(self.now, task, outcome, self.now if self._children else ends_at)
        return Run(ends_at, task, lease, outcome, current.ends_at)

    # ---- the life of the world

    def run(self) -> None:
        """Let the world run until every task has ended. Raises Broken."""
        take_stage(self.stories.play)
        try:
            while not self._is_over:
                self._step()
            self.look()
            self.history.ending(self._patience_s, {one.id for one in self.history.accounts if self._is_stuck(one)})
        finally:
            self._store.close()

    def _step(self) -> None:
        now = self.now
        self._steps_now += 1
        self.history.busy(len(self.nodes), self._steps_now)
        due = [node for node in self.nodes if node.resumes_at <= now]
        if not due:
            self._pass_time()
            return
        self.steps += 1
        node = due[0] if len(due) == 1 else self.chance.choice(due)
        answered = node.effect
        if isinstance(answered, Wait):
            node.answer, node.rang = node.pool.heard(node.rang), False
        node.resume()
        if isinstance(answered, TakeTurn | Renew):
            self._check_beliefs()  # it may have brought a new one
        self._perform(node)

    def _pass_time(self) -> None:
        """To the next moment at which anything happens."""
        moments = [max(node.frozen_until, min(node.resumes_at, node.pool.next_end())) for node in self.nodes]
        if not self.calm:
            moments += [producer.acts_at for producer in self.producers]
        before, self.now = self.now, max(self.now, min(moments)) if moments else self.now + 1.0
        if self.now > before:
            self._steps_now = 0
            self._look_for_the_end()
        self._set_wall()
        for node in self.nodes:
            if node.frozen_until > self.now:
                continue
            if node.pool.tick() and not self.fault(0.1):
                node.ring()
            if isinstance(node.effect, Wait) and node.pool.wakes():
                node.resumes_at = min(node.resumes_at, node.held_until)
        if self.calm:
            self._put_right()
            if self._was_set_back:
                self.person.hurry()
        else:
            self._meddle()
        if len(self.nodes) < 2 or (len(self.nodes) < 6 and self.fault(0.02)):
            self._start_node()

    def _put_right(self) -> None:
        """Once, when the last fault is over: everybody runs the new version, and queues go on."""
        if self._right_since is not None:
            return
        self._store.trouble = None
        for node in [node for node in self.nodes if node.version == 1]:
            self._end(node, "is replaced")
        self._start_node()
        self.person.put_right([one for one in self.history.accounts if self._is_stuck(one)])
        self._listen()
        self._right_since, self._patience_s = self.now, self._patience()

    def _patience(self) -> float:
        """I14: backlog / throughput + lease + 2 polls, after the freezing has ended; waits and rates are backlog."""
        unfinished = [one.id for one in self.history.accounts.live()]
        longest = max((self.stories.seconds_left(task_id) for task_id in unfinished), default=0.0)
        backlog = sum(self.stories.seconds_left(task_id) for task_id in unfinished)
        starts = sum(self.stories.starts_left(task_id) for task_id in unfinished)
        return 3 * LEASE_S + 2 * POLL_S + longest + backlog + 2.0 * starts

    def _look_for_the_end(self) -> None:
        """It is reached when every task has ended, or has had its time."""
        if self._right_since is None:
            return
        in_time = self.now <= self._right_since + self._patience_s
        unfinished = (account for account in self.history.accounts if not account.ended)
        self._is_over = not in_time or all(self._is_stuck(account) for account in unfinished)

    def _is_stuck(self, account: Account) -> bool:
        """Whether its lease ends only when a clock that was wrong says so, and no death can be noticed before."""
        lease_id = account.lease_id or 0
        dead = holder_of(lease_id) in self._died and not self._was_taken_up(account.id, lease_id)
        unnoticed = not self._store.notices_death or not dead
        return account.leased and unnoticed and account.until > self.clock() + 60 * US

    def _alive(self) -> set[int]:
        return {node.number for node in self.nodes}

    # ---- asking the store

    def _perform(self, node: Node) -> None:
        """Carry an effect out, and perhaps not quite."""
        effect = node.effect
        if effect is None:
            self._end(node, "ended")
        elif isinstance(effect, Wait):
            self._wait(node, effect)
        else:
            self._ask_for(node, effect)

    def _wait(self, node: Node, effect: Wait) -> None:
        node.resumes_at = self.now if node.pool.wakes() else self.now + effect.timeout_s
        node.wellbeing.waits([] if self._children else node.pool.holding()[node.pool.running() :], self.now)
        if node.rings():
            node.ring()
        if self.fault(0.002):
            self._end(node, "died in its sleep")
        else:
            self._freeze(node, 0.01)

    def _ask_for(self, node: Node, effect: Effect) -> None:
        """Ask the store for a worker: its answer may be lost, late, or the last thing that happens to it."""
        try:
            node.answer = self.ask(
                node.name,
                node.process,
                lambda: node.carry_out(effect),
                lambda: aftermath.of_effect(self, node, effect),
                writes=not isinstance(effect, FindStalled),
            )
        except StoreUnavailable as error:
            node.answer = error
            node.wellbeing.troubled(self.now)
        except ProcessDied:
            self._end(node, "died")
            return
        if isinstance(effect, TakeTurn):
            self._listen()
        self._freeze(node, 0.04)

    def ask(
        self,
        who: str,
        process: Process,
        question: Callable[[], object],
        find_out: Callable[[], None],
        *,
        writes: bool = True,
        danger: float = 0.05,
    ) -> object:
        """Let a process ask its store. Where it does not learn what came of it, `find_out` tells the history."""
        fate = self._fate(danger)
        try:
            return process.ask(question, fate, writes=writes)
        except (StoreUnavailable, ProcessDied) as error:
            self.history.note(self.now, who, f"was struck: {fate.blow.value if fate else error}")
            if isinstance(error, StoreUnavailable):
                self.history.asked_in_vain(self.now, who)
            if not self._store.certain:
                find_out()
            raise

    def _fate(self, danger: float) -> Fate | None:
        if not self.fault(danger):
            return None
        return Fate(self.chance.choice(_BLOWS), self.chance.choice(_STATEMENTS))

    def was_put(self, who: str, tasks: Sequence[NewTask], answers: Sequence[PutAnswer]) -> None:
        """Tasks were put, and it is committed."""
        known = any(task.id in self.history.accounts for task in tasks)
        self.history.put(self.now, self.clock(), who, tasks, answers)
        if known:
            self.look()
        self._listen()

    # ---- trouble

    def fault(self, probability: float) -> bool:
        """Whether something goes wrong now; towards the end nothing does any more."""
        happens = self.now < FAULTS_END and self.chance.random() < probability
        self.faults += happens
        return happens

    def _meddle(self) -> None:
        """Somebody puts or changes something, stops a worker, sets the clock, or fills the disk."""
        for producer in self.producers:
            if producer.acts_at <= self.now:
                producer.act()
        self._let_trouble_come_and_go()
        if self.fault(0.03) and self._store.trouble is None:
            self.person.act()
            self._listen()
        if self.nodes and self.fault(0.01):
            self.chance.choice(self.nodes).stop.request()
        if self.fault(0.01):
            self._leap(self.chance.choice(_LEAPS_S) * self.chance.uniform(-1.0, 1.0))

    def _let_trouble_come_and_go(self) -> None:
        if self._store.trouble is not None and self.now >= self._trouble_ends:
            self._store.trouble = None
            self.history.note(self.now, "the store", "is well again")
        elif self._store.trouble is None and self.fault(0.004):
            self._store.trouble = self.chance.choice(("full", "away"))
            self._trouble_ends = self.now + self.chance.uniform(0.0, 10.0)
            self.history.note(self.now, "the store", f"is {self._store.trouble} until {self._trouble_ends:.3f}")

    def _leap(self, seconds: float) -> None:
        self.history.leapt(self.now, self.clock(), seconds)
        self._wall_s += seconds
        self._set_wall()
        self._was_set_back |= seconds < -60
        if seconds > 0:
            self._leaps.append((self.now, seconds))
            for node in self.nodes:
                node.wellbeing.troubled(self.now)

    def _end(self, node: Node, how: str) -> None:
        """A process comes to its end, and what it runs with it."""
        self.history.note(self.now, node.name, how)
        self.nodes.remove(node)
        if how == "ended" and self._store.trouble is None:
            threads = [] if self._children else node.pool.holding()[: node.pool.running()]
            let_go = set() if self._handlers is None else self._handlers.let_go_by(node.number)
            node.wellbeing.ended(self.rows().values(), {task.id for task, _ in threads} | let_go)
        if how == "ended":
            node.pool.parent_ended()
        else:
            node.pool.parent_died()
        if how == "ended" and not node.pool.running():
            node.bell.close()
            node.process.end()
        else:
            self._died.add(node.number)
            node.process.end(node.bell)

    def _freeze(self, node: Node, probability: float) -> None:
        """The dispatcher gets no time to run; often, but not always, its tasks do not either."""
        if self.fault(probability):
            until = self.now + self.chance.uniform(0.0, 2.5 * LEASE_S)
            self.history.note(self.now, node.name, f"froze until {until:.3f}")
            node.resumes_at = node.held_until = until
            node.wellbeing.troubled(until)
            if self.fault(0.7):
                node.frozen_until = until

    # ---- the rest

    def _start_node(self) -> None:
        """A new worker, of the old version or the new; like a real one it wakes what others have parked."""
        number = next(self._numbers)
        version = 2 if self.calm else self.chance.choice((1, 2, 2))
        process = self._store.new_process()
        try:
            bell = process.engine.bell(number)
        except StoreUnavailable:  # it does not open; a real worker begins again
            process.end()
            return
        self.history.woken(self.clock())
        try:
            self.ask(f"worker {number}", process, process.engine.wake, self.look)
        except StoreUnavailable:
            pass  # its first turn will say so
        except ProcessDied:
            process.end(bell)
            return
        self.nodes.append(Node(self, number, process, bell, version, self._dispatching))
        self.history.note(self.now, f"worker {number}", f"began, with version {version}")

    def _listen(self) -> None:
        """Bells may have rung; some do so in vain."""
        for node in self.nodes:
            if node.rings() and not self.fault(0.3):
                node.ring()

    def look(self, rows: dict[int, Task] | None = None) -> None:
        """The store must show what the history says."""
        shown = self.rows() if rows is None else rows
        self.history.shown(shown, self.clock(), KEPT_US)

    def rows(self) -> dict[int, Task]:
        """What the store has of every task that is there by the history."""
        return {row.id: row for row in self.engine.get([account.id for account in self.history.accounts.live()])}

    def _set_wall(self) -> None:
        self.clock.now = START + round((self.now + self._wall_s) * US)

    def _check_beliefs(self) -> None:
        self.history.beliefs(
            (
                (node.name, task, lease, self._until(lease))
                for node in self.nodes
                for task, lease in node.pool.holding()
            ),
            self.now,
        )

    def _until(self, lease: Lease) -> float:
        """How long a holder rightly believes in its lease, the clock's leaps since then taken off."""
        if not self._leaps:
            return lease.until
        since = lease.until - LEASE_S
        return lease.until - sum(leap for at, leap in self._leaps if at >= since)


#: Half of the blows fall at the commit.
_STATEMENTS = (*[COMMIT] * 12, *range(1, 13))
#: Errors are as frequent again as deaths.
_BLOWS = (Blow.ERROR_BEFORE, Blow.ERROR_AFTER, *Blow)


def _store(make_engine: MakeEngine | StoreMaker, clock: SimulatedClock) -> Store:
    return make_engine.new_store(clock) if isinstance(make_engine, StoreMaker) else OneEngine(make_engine(clock))
