"""A simulated worker: the real dispatcher, executor, janitor and pulse, in a process that may freeze, stop or die."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from deferq.engines.base import Bell
from deferq.errors import StoreUnavailable
from deferq.model.events import Event, EventName
from deferq.runtime.config import WorkerConfig
from deferq.runtime.dispatcher import Beat, Dispatch, Effect, FindStalled, Renew, Stop, Sweep, TakeTurn, Wait
from deferq.runtime.executor import Executor
from deferq.runtime.janitor import Janitor
from deferq.runtime.pulse import Pulse
from deferq.testing.simulate.retention import RETENTION
from deferq.testing.simulate.stores import Process
from deferq.testing.simulate.stories import CODECS
from deferq.testing.simulate.wellbeing import Wellbeing

if TYPE_CHECKING:
    from deferq.testing.simulate.world import SimulatedWorld

LEASE_S, POLL_S, DRAIN_S = 6.0, 2.0, 5.0
CONFIG = WorkerConfig(threads=2, lease_s=LEASE_S, poll_s=POLL_S, drain_s=DRAIN_S, batch=7, prefetch_s=2.0)
Dispatching = Callable[..., Dispatch]


class Node:
    """One worker and the process it runs in. It is the World of its dispatcher."""

    def __init__(
        self, world: SimulatedWorld, number: int, process: Process, bell: Bell, version: int, dispatching: Dispatching
    ) -> None:
        self.name = f"worker {number}"
        self.number = number
        self.version = version
        self.process = process
        self.bell = bell
        self.wanted = frozenset[EventName]()
        self.random = world.chance.random
        self.monotonic = world.monotonic
        self.now_us = world.clock
        self.executor = Executor(CODECS[version], now=world.clock, monotonic=world.monotonic)
        self._history = world.history
        self._witness = world.witness(process.engine, number)
        self.wellbeing = Wellbeing(self.name, number, world.now)
        self._look = world.look
        self._janitor = Janitor(process.engine, RETENTION, monotonic=world.monotonic)
        self._pulse = Pulse(process.engine, number, {})
        self.stop = Stop(CONFIG.drain_s)
        self.pool = world.new_pool(self, CONFIG)
        self.dispatch = dispatching(CONFIG, self.pool, self, self.stop)
        self.resumes_at = world.now
        #: Until when the dispatcher gets no time to run, and its tasks.
        self.held_until = self.frozen_until = 0.0
        self.rang = False
        self.effect: Effect | None = next(self.dispatch)
        #: How the last effect ended: its answer, or the error to be thrown.
        self.answer: object = None

    def announce(self, event: Event) -> None:
        """Nobody listens."""

    def resume(self) -> None:
        """Let the dispatcher have its answer and say what it wants next; None: it has come to its end."""
        answer, self.answer, self.effect = self.answer, None, None
        try:
            if isinstance(answer, StoreUnavailable):
                self.effect = self.dispatch.throw(answer)
            else:
                self.effect = self.dispatch.send(answer)
        except StopIteration:
            self.effect = None

    def carry_out(self, effect: Effect) -> object:
        """What the driver does with an effect, told to the history."""
        history, now = self._history, self.monotonic()
        match effect:
            case TakeTurn(settlements, want):
                self.wellbeing.asks(effect, self.stop.requested)
                turn = self._witness.turn(settlements, want)
                history.turn(now, self.name, effect, turn)
                self.wellbeing.lost_settlements(settlements, turn.lost)
                if want is not None and turn.leased:
                    self.wellbeing.leased(want.lease_id, now)
                return turn
            case Renew(leases, until):
                lost, to_cancel = self._witness.renew(leases, until)
                history.renewed(leases, until, lost)
                self.wellbeing.lost(lost)
                return lost, to_cancel
            case FindStalled(limit):
                return self._witness.stalled(limit)
            case Sweep():
                swept = self._janitor.run_once()
                self._look()
                return swept
            case Beat():
                self._pulse.beat(effect)
            case Wait():
                pass
            case _:
                assert_never(effect)
        return None

    def rings(self) -> bool:
        """Whether its bell rings while it waits; then it is quiet again."""
        return isinstance(self.effect, Wait) and self.bell.wait(0.0)

    def ring(self) -> None:
        """There may be something to do."""
        if isinstance(self.effect, Wait):
            self.rang = True
            self.resumes_at = self.held_until
