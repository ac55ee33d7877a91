"""The tasks of a world: what each execution does and how long it takes, drawn when the task is made."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from deferq.codec.codec import Codec
from deferq.codec.signing import Keyring
from deferq.codec.targets import locate
from deferq.engines.base import Clock
from deferq.errors import PermanentTaskFailure, RetryTask, Snooze
from deferq.model.outcome import Failed, Outcome, Parked
from deferq.model.retry import RetryPolicy
from deferq.model.task import EPOCH_2020_US, ID_RANDOM_BITS, NewTask, Options
from deferq.registry import Registry
from deferq.testing.simulate.application import work
from deferq.testing.simulate.clock import US
from deferq.testing.simulate.novelties import new_work

_KEYRING = Keyring(["the secret of the simulation"])
_REGISTRY = Registry()
_HERE = "deferq.testing.simulate."
#: What each version of the application may call.
CODECS = {
    1: Codec(_KEYRING, _REGISTRY, allow=[_HERE + "application"]),
    2: Codec(_KEYRING, _REGISTRY, allow=[_HERE + "application", _HERE + "novelties"]),
}
QUEUES = ("a", "b", "c")
NAMES = ("daily", "weekly")
BACKOFF_S_MAX = 10.0
_SECONDS = (0.0, 0.0, 0.01, 0.5, 3.0, 15.0)


class Trouble(Exception):
    """What a task raises because its story says so."""


def _returns() -> object:
    return None


def _returns_a_value() -> object:
    return {"done": True}


def _fails() -> object:
    raise Trouble("as its story says")


def _fails_for_good() -> object:
    raise PermanentTaskFailure("as its story says")


def _asks_to_run_again() -> object:
    raise RetryTask(after=2)


def _snoozes() -> object:
    raise Snooze(3)


_ACTS = (_fails, _fails, _fails_for_good, _asks_to_run_again, _snoozes, _returns, _returns_a_value)


class Act(NamedTuple):
    """One execution."""

    does: Callable[[], object]
    seconds: float


_LAST = Act(_returns, 0.5)
AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)
#: In place of a real one.
_TRACEBACK = "Traceback (most recent call last):\n" + 4 * "  File of the user, in a line of it\n"


def portable(outcome: AnyOutcome) -> AnyOutcome:
    """The outcome as it is wherever deferq is installed.

    A traceback holds paths of files, and its length decides how much of a report fits into a socket: without this a
    seed would tell one story in a short folder and another in a long one.
    """
    if isinstance(outcome, Failed | Parked) and outcome.error.traceback:
        return replace(outcome, error=replace(outcome.error, traceback=_TRACEBACK))
    return outcome


class Stories:
    """Makes tasks, and plays them."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self._chance = chance
        self._clock = clock
        self._acts: dict[int, list[Act]] = {}
        self._last_id = 0
        #: What was played last.
        self.played = _LAST

    def new_task(self, **given: Any) -> NewTask:
        """A task with a story; `given` are fields of it that are not left to chance."""
        task_id = self._next_id()
        chance = self._chance
        self._acts[task_id] = [
            Act(chance.choice(_ACTS), chance.choice(_SECONDS)) for _ in range(chance.choice((0, 0, 1, 1, 2, 4)))
        ]
        target = locate(new_work if chance.random() < 0.15 else work)
        retry = RetryPolicy(
            max_attempts=chance.choice((1, 1, 2, 3, 25)), min_backoff_s=0.5, max_backoff_s=BACKOFF_S_MAX
        )
        options = Options(retry=retry, timeout_s=2.0 if chance.random() < 0.1 else None)
        now = self._clock()
        task = NewTask(
            id=task_id,
            queue=chance.choice(QUEUES),
            target=target.target,
            priority=chance.choice((0, 0, 0, 5)),
            eta=now + chance.choice((0, 0, 0, 2, 5, 15)) * US,
            expires_at=now + chance.choice((3, 20)) * US if chance.random() < 0.1 else None,
            at_most_once=retry.at_most_once,
            name=None,
            if_exists="raise",
            route=None,
            url=None,
            options=options.encode(),
            payload=self._payload(task_id, target),
        )
        return task._replace(**given)

    def play(self, number: int) -> object:
        """What the next execution of a task does; `played` is what it was."""
        acts = self._acts[number]
        self.played = acts.pop(0) if acts else _LAST
        return self.played.does()

    def seconds_left(self, task_id: int) -> float:
        """How long what is left of a story may take, its waits included."""
        return sum(act.seconds + BACKOFF_S_MAX for act in self._acts[task_id]) + BACKOFF_S_MAX

    def starts_left(self, task_id: int) -> int:
        """How often a task may still be started."""
        return len(self._acts[task_id]) + 1

    def _payload(self, task_id: int, target: Any) -> bytes:
        payload = CODECS[2].encode(task_id, target, (task_id,), {})
        if self._chance.random() < 0.03:
            return payload[:-1] + bytes([payload[-1] ^ 1])  # a bit has flipped: it dies as corrupt
        return payload

    def _next_id(self) -> int:
        self._last_id = max(self._last_id + 1, (self._clock() - EPOCH_2020_US) << ID_RANDOM_BITS)
        return self._last_id
