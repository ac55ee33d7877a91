"""Carries a dispatcher's effects out: the only place where it meets a real store and a real bell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, assert_never

from deferq.engines.base import LeasingEngine
from deferq.errors import StoreError
from deferq.runtime.dispatcher import Beat, Dispatch, Effect, FindStalled, Renew, Sweep, TakeTurn, Wait
from deferq.runtime.janitor import Janitor


class Ear(Protocol):
    """Where a dispatcher sleeps until there may be something to do: its bell, or more than that."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep, at most `timeout_s` seconds; True: there may be work in the store."""


class Driver:
    """A loop that does what it is asked and says what came of it."""

    def __init__(self, engine: LeasingEngine, ear: Ear, janitor: Janitor, beat: Callable[[Beat], None]) -> None:
        self._engine = engine
        self._ear = ear
        self._janitor = janitor
        self._beat = beat

    def drive(self, dispatch: Dispatch) -> None:
        """Run a dispatcher to its end. What it cannot cope with is raised here."""
        try:
            effect = next(dispatch)
            while True:
                try:
                    answer = self._perform(effect)
                except StoreError as error:
                    effect = dispatch.throw(error)
                else:
                    effect = dispatch.send(answer)
        except StopIteration:
            return

    def _perform(self, effect: Effect) -> object:
        match effect:
            case TakeTurn(settlements, want):
                return self._engine.turn(settlements, want)
            case Wait(timeout_s):
                return self._ear.wait(timeout_s)
            case Renew(leases, until):
                return self._engine.renew(leases, until)
            case FindStalled(limit):
                return self._engine.stalled(limit)
            case Sweep():
                return self._janitor.run_once()
            case Beat():
                return self._beat(effect)
            case _:
                assert_never(effect)
