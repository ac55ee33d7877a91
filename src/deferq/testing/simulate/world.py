"""Several dispatchers, one engine, one clock, one thread, one seed.

The real `dispatch` generator runs against a real engine; time, chance, pools and faults are simulated. Each effect may
fail before or after it is committed, may be answered late, or be the last thing its dispatcher ever does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import assert_never

from deferq.engines.base import Cancel, LeasingEngine, Retention, holder_of
from deferq.errors import StoreUnavailable
from deferq.model.events import EventName
from deferq.model.limits import Limits
from deferq.model.outcome import Cancelled, ErrorText, Failed, Outcome, Parked, Retried, Snoozed, Succeeded
from deferq.model.retry import RetryPolicy
from deferq.model.settings import Declare
from deferq.model.state import State
from deferq.model.task import Leased
from deferq.runtime.config import WorkerConfig
from deferq.runtime.dispatcher import Beat, Dispatch, Effect, FindStalled, Renew, Stop, Sweep, TakeTurn, Wait, dispatch
from deferq.runtime.pools import Lease
from deferq.testing.simulate.bookkeeping import Bookkeeping
from deferq.testing.simulate.clock import START, US, SimulatedClock
from deferq.testing.simulate.contract import Witness
from deferq.testing.simulate.history import Broken, History
from deferq.testing.simulate.pool import Run, SimulatedChildren, SimulatedPool
from deferq.testing.simulate.tasks import TaskMaker

LEASE_S, POLL_S = 6.0, 1.0
FAULTS_END, WORLD_ENDS = 60.0, 2_000.0
#: Nothing is purged: the ending looks at every task.
RETENTION = Retention(succeeded_s=1e6, succeeded_max=10**6, cancelled_s=1e6, dead_s=1e6)
_ERROR = ErrorText(error_type="Trouble", message="as its story says")
_STORIES: tuple[Outcome, ...] = (
    Failed(error=_ERROR),
    Failed(error=_ERROR),
    Failed(error=_ERROR, permanent=True, reason="permanent"),
    Retried(after_s=2.0),
    Snoozed(after_s=3.0),
    Parked(error=_ERROR),
    Succeeded(),
)

MakeEngine = Callable[[SimulatedClock], LeasingEngine]
Dispatching = Callable[..., Dispatch]


class Node:
    """One dispatcher with its pool: a process that may freeze, stop, or die."""

    def __init__(self, world: SimulatedWorld, number: int, dispatching: Dispatching) -> None:
        self.name = f"worker {number}"
        self.number = number
        self.wanted = frozenset[EventName]()
        self.random = world.chance.random
        self.monotonic = world.monotonic
        self.now_us = world.clock
        config = WorkerConfig(threads=2, lease_s=LEASE_S, poll_s=POLL_S, drain_s=5.0, batch=7, prefetch_s=2.0)
        self.stop = Stop(config.drain_s)
        self.pool = world.new_pool(config.threads, lambda task, lease: world.begin(self, task, lease))
        self.dispatch = dispatching(config, self.pool, self, self.stop)
        self.resumes_at = world.now
        self.frozen_until = 0.0
        #: Until when something has befallen it: a pause, a store that did not answer.
        self.troubled_until = world.now
        self.rang = False
        self.effect: Effect | None = next(self.dispatch)
        #: How the last effect ended: its answer, or the error to be thrown.
        self.answer: object = None

    def announce(self, event: object) -> None:
        """Nobody listens."""

    def resume(self) -> None:
        """Let the dispatcher have its answer and say what it wants next."""
        answer, self.answer, self.effect = self.answer, None, None
        try:
            if isinstance(answer, StoreUnavailable):
                self.effect = self.dispatch.throw(answer)
            else:
                self.effect = self.dispatch.send(answer)
        except StopIteration:
            self.effect = None

    def ring(self) -> None:
        if isinstance(self.effect, Wait):
            self.rang = True
            self.resumes_at = 0.0


class SimulatedWorld:
    """Everything there is, from one seed."""

    def __init__(
        self,
        seed: int,
        make_engine: MakeEngine,
        dispatching: Dispatching = dispatch,
        *,
        children: bool = False,
    ) -> None:
        """With `children` tasks run as child processes run them, else as threads do."""
        self.chance = random.Random(seed)
        self.now = 0.0
        self.clock = SimulatedClock()
        self.engine = make_engine(self.clock)
        self.witness = Witness(self.engine)
        self.history = History()
        self.books = Bookkeeping()
        #: How often a dispatcher was let run, and how much went wrong on purpose.
        self.steps = self.faults = 0
        self._dispatching = dispatching
        self._children = children
        self._wall_s = 0.0
        #: When the wall clock leapt forward, and how far: a lease ends that much earlier than its holder believes.
        self._leaps: list[tuple[float, float]] = []
        self._numbers = iter(range(1, 10**6))
        self.stories = self._defer(TaskMaker(self.clock))
        self._limit_queues()
        self.nodes = [self._new_node() for _ in range(self.chance.randint(2, 4))]

    def monotonic(self) -> float:
        return self.now

    def new_pool(self, slots: int, begin: Callable[[Leased, Lease], Run]) -> SimulatedPool:
        """Where a dispatcher has its tasks run."""
        if self._children:
            return SimulatedChildren(slots, self.monotonic, begin, self._fault)
        return SimulatedPool(slots, self.monotonic, begin)

    def run(self) -> None:
        """Let the world run until every task has ended. Raises Broken."""
        try:
            while self.now < WORLD_ENDS and not self._all_ended():
                self._step()
            self.history.ending(self.engine.get(list(self.stories)), len(self.stories))
        finally:
            self.engine.close()

    def begin(self, node: Node, task: Leased, lease: Lease) -> Run:
        """A pool starts a task."""
        story = self.stories[task.id]
        outcome: Outcome = Cancelled()  # as the executor says, before it calls anything
        if not task.cancel_requested:
            outcome = story.pop(0) if story else Succeeded()
        self.history.start(self.now, node.name, task, outcome)
        ends_at = self.now + self.chance.choice((0.0, 0.01, 0.5, 3.0, 2.5 * LEASE_S))
        self.books.started(self.now, task, outcome, ends_at)
        return Run(ends_at, task, lease, outcome)

    # ---- one step

    def _step(self) -> None:
        due = [node for node in self.nodes if node.resumes_at <= self.now]
        if not due:
            self._pass_time()
            return
        self.steps += 1
        node = self.chance.choice(due)
        if isinstance(node.effect, Wait):
            node.answer, node.rang = node.rang, False
        node.resume()
        self._perform(node)
        self._check_beliefs()

    def _pass_time(self) -> None:
        """To the next moment at which anything happens."""
        moments = [max(node.frozen_until, min(node.resumes_at, node.pool.next_end())) for node in self.nodes]
        self.now = max(self.now, min(moments)) if moments else self.now + 1.0
        self._set_wall()
        for node in self.nodes:
            if node.frozen_until <= self.now and node.pool.tick() and not self._fault(0.1):
                node.ring()
        if not self.nodes or (len(self.nodes) < 4 and self._fault(0.02)):
            self.nodes.append(self._new_node())
        self._meddle()

    def _perform(self, node: Node) -> None:
        """Carry an effect out, and perhaps not quite."""
        effect = node.effect
        if effect is None or self._fault(0.01):
            self._die(node, "ended" if effect is None else "died before its effect")
        elif isinstance(effect, Wait):
            node.resumes_at = self.now + effect.timeout_s
            self._freeze(node, 0.005)
        elif self._fault(0.03):
            self._refuse(node, "before the commit")
        else:
            node.answer = self._ask(node, effect)
            self._aftermath(node)

    def _aftermath(self, node: Node) -> None:
        """It is committed, and its dispatcher may never learn of it, or late."""
        if self._fault(0.01):
            self._die(node, "died after its effect")
        elif self._fault(0.03):
            self._refuse(node, "after the commit")
        else:
            self._freeze(node, 0.02)

    def _refuse(self, node: Node, when: str) -> None:
        node.answer = StoreUnavailable(f"the simulation says so, {when}")
        node.troubled_until = self.now

    def _ask(self, node: Node, effect: Effect) -> object:
        match effect:
            case TakeTurn(settlements, want):
                if want is not None and node.stop.requested:
                    raise Broken(f"{node.name} leases although it was asked to stop")
                turn = self.witness.turn(settlements, want)
                self.history.turn(self.now, node.name, effect, turn)
                self.books.turn(settlements, turn)
                ours = {(one.task.id, one.task.lease_id) for one in settlements if not one.only_if_over}
                self._check_loss(node, [task for task in turn.lost if (task.id, task.lease_id) in ours])
                self.history.limits(self.now, self.engine.counts(), turn)
                self._ring_others(node)
                return turn
            case Renew(leases, until):
                lost, unwanted = self.witness.renew(leases, until)
                self._check_loss(node, lost)
                return lost, unwanted
            case FindStalled(limit):
                return self.witness.stalled(limit, self.stories)
            case Sweep():
                return self.engine.sweep(RETENTION)
            case Beat() | Wait():
                return None
            case _:
                assert_never(effect)

    # ---- trouble

    def _fault(self, probability: float) -> bool:
        happens = self.now < FAULTS_END and self.chance.random() < probability
        self.faults += happens
        return happens

    def _die(self, node: Node, how: str) -> None:
        self.history.note(self.now, node.name, how)
        self.nodes.remove(node)
        if how == "ended" and self._is_calm(node):
            self._check_left_nothing(node)

    def _freeze(self, node: Node, probability: float) -> None:
        """The dispatcher gets no time to run; often, but not always, its tasks do not either."""
        if self._fault(probability):
            until = self.now + self.chance.uniform(0.0, 2.5 * LEASE_S)
            self.history.note(self.now, node.name, f"froze until {until:.3f}")
            node.resumes_at = node.troubled_until = until
            if self._fault(0.7):
                node.frozen_until = until

    def _ring_others(self, node: Node) -> None:
        for other in self.nodes:
            if other is not node and self.chance.random() < 0.5:
                other.ring()

    def _meddle(self) -> None:
        """A person cancels a task, asks a worker to stop, or sets the clock."""
        if self._fault(0.02):
            self._cancel(self.chance.choice(list(self.stories)))
        if self.nodes and self._fault(0.01):
            self.chance.choice(self.nodes).stop.request()
        if self._fault(0.01):
            leap = self.chance.uniform(-20.0, 20.0)
            self.history.forget_rates()
            self.books.leapt(self.now)
            self._wall_s += leap
            self._set_wall()
            if leap > 0:
                self._leaps.append((self.now, leap))

    def _cancel(self, task_id: int) -> None:
        [task] = self.engine.get([task_id])
        if self.engine.change([task_id], Cancel()):
            self.books.cancelled(task)

    # ---- the rest

    def _new_node(self) -> Node:
        return Node(self, next(self._numbers), self._dispatching)

    def _set_wall(self) -> None:
        self.clock.now = START + round((self.now + self._wall_s) * US)

    def _defer(self, new: TaskMaker) -> dict[int, list[Outcome]]:
        """Tasks with what each of their executions will come to."""
        tasks = []
        stories = {}
        for _ in range(self.chance.randint(5, 20)):
            attempts = self.chance.choice((1, 1, 3, 25))
            retry = RetryPolicy(max_attempts=attempts, min_backoff_s=0.5, max_backoff_s=10.0)
            task = new(self.chance.choice("ab"), in_s=self.chance.choice((0, 0, 5, 30)), retry=retry)
            tasks.append(task)
            stories[task.id] = [self.chance.choice(_STORIES) for _ in range(self.chance.randint(0, 4))]
        self.engine.put(tasks)
        return stories

    def _limit_queues(self) -> None:
        """Of each queue, perhaps, how fast and how many at a time."""
        for name in "ab":
            limits = Limits(
                rate=self.chance.choice((None, None, "1/s", "0.5/s")),
                bucket_size=self.chance.choice((None, 1, 3)),
                max_concurrent=self.chance.choice((None, None, 1, 3)),
            )
            self.engine.change_queues([(name, Declare(limits))])
            self.history.limited[name] = limits

    def _all_ended(self) -> bool:
        return self.now > FAULTS_END and all(task.state.finished for task in self.engine.get(list(self.stories)))

    def _is_calm(self, node: Node) -> bool:
        """Whether nothing has befallen it for as long as anything it holds goes back to."""
        leapt_at = max((at for at, _ in self._leaps), default=0.0)
        return self.now - max(node.troubled_until, leapt_at) > 3 * LEASE_S

    def _check_loss(self, node: Node, lost: Sequence[Leased]) -> None:
        """Whoever is well keeps what it holds."""
        if lost and self._is_calm(node):
            raise Broken(f"task {lost[0].id} was lost by {node.name}, which nothing had befallen")

    def _check_left_nothing(self, node: Node) -> None:
        """Whoever comes to its end in peace has settled what it held, and given back the rest. Threads run on."""
        running = {task.id for task, _ in node.pool.holding()[: node.pool.running()]}
        for task in self.engine.get(list(self.stories)):
            is_ours = task.state is State.LEASED and holder_of(task.lease_id or 0) == node.number
            if is_ours and task.id not in running:
                raise Broken(f"task {task.id} was left behind by {node.name}, which has come to its end")

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
        since = lease.until - LEASE_S
        return lease.until - sum(leap for at, leap in self._leaps if at >= since)
