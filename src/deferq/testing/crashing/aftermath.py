"""What a task leaves behind beside the database: the tasks it deferred, and what it did to the world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pickle import dumps
from typing import NamedTuple

from deferq.codec.codec import Codec, Invocation
from deferq.engines.base import Filter, LeasingEngine
from deferq.model.state import State
from deferq.model.task import Task
from deferq.testing.crashing.trialstore import lease_of

_ARGUMENTS_SHOWN = 120


class Deferred(NamedTuple):
    """A task that was deferred by the task on trial. Those that are equal but for `shown` are the same."""

    queue: str
    target: str
    name: str | None
    route: str | None
    #: The arguments; empty: they cannot be restored here.
    body: bytes
    shown: str


def deferred_tasks(engine: LeasingEngine, codec: Codec) -> Iterator[Deferred]:
    """What waits in the store; what was replaced there counts for nothing."""
    after: int | None = None
    while True:
        page = engine.find(Filter(state=State.PENDING), after=after)
        for task in page.tasks:
            yield _deferred(task, engine.details(task.id).payload or b"", codec)
        if page.next_after is None:
            return
        after = page.next_after


def _deferred(task: Task, payload: bytes, codec: Codec) -> Deferred:
    named = "" if task.name is None else f", named {task.name!r}"
    try:
        called = codec.decode(lease_of(task, payload))
        body, arguments = dumps((called.args, called.kwargs)), _shown(called)
    except Exception:  # its target may be gone, and a class of the user's own may raise anything
        body, arguments = b"", "(...)"
    shown = f"{task.target}{arguments}{named}, in queue {task.queue!r}"
    return Deferred(task.queue, task.target, task.name, task.route, body, shown)


def _shown(called: Invocation) -> str:
    shown = ", ".join([*map(repr, called.args), *(f"{name}={value!r}" for name, value in called.kwargs.items())])
    return f"({shown})" if len(shown) <= _ARGUMENTS_SHOWN else f"({shown[:_ARGUMENTS_SHOWN]}...)"


def differing_tasks(undisturbed: Iterable[Deferred], now: Iterable[Deferred]) -> Iterator[str]:
    """A line for each task that was deferred too often, or is missing."""
    shown = {task[:-1]: task.shown for task in (*undisturbed, *now)}
    expected, got = (Counter(task[:-1] for task in tasks) for tasks in (undisturbed, now))
    for key, text in shown.items():
        if got[key] != expected[key]:
            yield f"deferred {_instead(got[key], expected[key])}: {text}"


def differing_effects(undisturbed: Iterable[str], now: Iterable[str], *, repeats: bool) -> Iterator[str]:
    """A line for each effect that is missing or, unless it may be repeated, came too often."""
    expected, got = Counter(undisturbed), Counter(now)
    for effect in dict.fromkeys((*expected, *got)):
        allowed = repeats and got[effect] > expected[effect] > 0
        if got[effect] != expected[effect] and not allowed:
            yield f"did {_instead(got[effect], expected[effect])}: {effect}"


def _instead(got: int, expected: int) -> str:
    return f"{_times(got)} instead of {_times(expected)}"


def _times(times: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(times, f"{times} times")
