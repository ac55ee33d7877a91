"""What runs in a storm. Each execution notes its start and its end, and returns which one it was."""

from __future__ import annotations

import asyncio
import random
import time
from types import TracebackType
from typing import Any

from ledger import note

from deferq import Call, Deferq, RetryPolicy, RetryTask, Snooze, call, current_task

#: Tries again soon, and never gives up during a storm.
PATIENT = RetryPolicy(max_attempts=200, min_backoff_s=0.01, max_backoff_s=0.5)
THREE = RetryPolicy(max_attempts=3, min_backoff_s=0.01, max_backoff_s=0.1)
ONCE = RetryPolicy(max_attempts=1)
#: The queue in which no more than `NARROW_MOST` run at a time.
NARROW, NARROW_MOST = "narrow", 2

Told = tuple[int, int]


class Noted:
    """An execution in the ledger."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._task = current_task()

    def __enter__(self) -> Told:
        self._began = note("start", self._token, self._task.id, self._task.attempt)
        return self._task.attempt, self._began

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        what = "end" if kind is None else {RetryTask: "retry", Snooze: "snooze"}.get(kind, "fail")
        note(what, self._token, self._task.id, self._task.attempt, self._began)


def instant(token: str) -> Told:
    with Noted(token) as told:
        return told


def sleep(token: str, seconds: float) -> Told:
    with Noted(token) as told:
        time.sleep(seconds)
        return told


async def coroutine(token: str, seconds: float) -> Told:
    with Noted(token) as told:
        await asyncio.sleep(seconds)
        return told


def retrying(token: str) -> Told:
    """Fails twice: once with an error, once by asking for it."""
    with Noted(token) as told:
        if told[0] == 1:
            raise ValueError("on purpose")
        if told[0] == 2:
            raise RetryTask(after=0.01)
        return told


def snoozing(token: str) -> Told:
    """Again and again, but not for long."""
    with Noted(token) as told:
        if random.random() < 0.6:
            raise Snooze(0.02)
        return told


def large(token: str, data: bytes) -> Told:
    with Noted(token) as told:
        return told


def deferring(token: str) -> Told:
    """Writes into the store from inside a child, which may be killed meanwhile."""
    with Noted(token) as told:
        inner = f"{token}-{told[0]}"
        note("intend", inner)
        handle = call(instant, inner).defer(retry=PATIENT, tags=(inner,))
        note("accepted", inner, handle.id)
        return told


# ---- how they are deferred


def any_call(deferq: Deferq, token: str, chance: random.Random) -> Call[Any]:
    """One of all kinds."""
    (make,) = chance.choices(list(KINDS), list(KINDS.values()))
    made: Call[Any] = make(deferq, token, chance).with_options(tags=(token,))
    return made


def named(deferq: Deferq, token: str) -> Call[Any]:
    """Whoever got no answer may ask again, and finds the task that there is."""
    return deferq.call(instant, token).with_options(retry=PATIENT, name=token, tags=(token,))


def _patient(fn: Any, *args: Any) -> Any:
    return lambda deferq, token, chance: deferq.call(fn, token, *args).with_options(retry=PATIENT)


KINDS = {
    _patient(instant): 30,
    _patient(sleep, 0.005): 20,
    _patient(sleep, 0.2): 8,
    _patient(sleep, 2.5): 1,
    _patient(coroutine, 0.05): 10,
    _patient(retrying): 6,
    _patient(snoozing): 6,
    _patient(deferring): 4,
    _patient(large, b"x" * 300_000): 2,
    lambda deferq, token, _: named(deferq, token): 10,
    lambda deferq, token, _: deferq.call(sleep, token, 0.03).with_options(retry=ONCE): 6,
    lambda deferq, token, _: deferq.call(sleep, token, 0.1).with_options(retry=THREE): 4,
    lambda deferq, token, _: deferq.call(sleep, token, 0.05).with_options(retry=PATIENT, queue=NARROW): 6,
}
