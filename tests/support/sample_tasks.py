"""Functions to defer, importable by name. What they are called with stands in `seen` until `forget` is called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from deferq import PermanentTaskFailure, RetryPolicy, call_deferred, current_task, deferrable

seen: list[Any] = []
begun = threading.Event()
gate = threading.Event()
language: ContextVar[str] = ContextVar("sample_language")


def forget() -> None:
    seen.clear()
    begun.clear()
    gate.clear()


def note(*values: object, **named: object) -> None:
    seen.append((*values, named) if named else values)


def add(a: int, b: int = 0) -> int:
    return a + b


async def add_async(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


def returns(value: object) -> object:
    return value


def fails_until_gate() -> str:
    if not gate.is_set():
        raise ValueError("not yet")
    return "at last"


def takes_nothing() -> None:
    seen.append("called")


def takes_two(first: int, *, second: int) -> None:
    seen.append((first, second))


def own_queue(*, _queue: str) -> None:
    seen.append(_queue)


def wait_for_gate() -> str:
    begun.set()
    assert gate.wait(10)
    return "through"


def fail(message: str) -> None:
    raise PermanentTaskFailure(message)


def raise_chain(links: int) -> None:
    error: Exception | None = None
    for number in range(links):
        link = ValueError(f"link {number}")
        link.__cause__ = error
        error = link
    assert error is not None
    raise error


def raise_long_message(size: int) -> None:
    raise ValueError("x" * size)


def raise_unprintable() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    raise Unprintable


def with_default(value: int, token: object = "hunter2") -> None: ...


def tell_language() -> str:
    return language.get("none")


def tell_task() -> dict[str, Any]:
    task = current_task()
    return {
        "id": task.id,
        "name": task.name,
        "queue": task.queue,
        "target": task.target,
        "attempt": task.attempt,
        "tags": task.tags,
        "headers": dict(task.headers),
        "route": task.route,
        "eta": task.eta,
        "deadline": task.deadline,
    }


def touch(path: str) -> None:
    """The canary: leaves a file behind."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("it ran\n")


class Touching:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return touch, (self.path,)


@deferrable(queue="mail", priority=7, tags=("declared",), timeout=30, retry=RetryPolicy(max_attempts=3))
def send(user: int) -> int:
    return user


@deferrable
def plainly_deferrable(value: int) -> int:
    return value + 1


@deferrable(aliases=("tests.support.old_name:was_called",))
def renamed(value: int) -> str:
    return f"renamed {value}"


@deferrable(expires=1e300)
def hardly_expires() -> str:
    return "in time"


@call_deferred(queue="index", tags=("wrapped",))
def reindex(document: int, *, deep: bool = False) -> tuple[int, bool]:
    return document, deep


@call_deferred
async def reindex_async(document: int) -> int:
    return document


class Account:
    def __init__(self, number: int = 0) -> None:
        self.number = number

    @deferrable(queue="mail")
    def pay(self, amount: int) -> int:
        return self.number + amount

    @deferrable(queue="mail")
    def refund(self, amount: int) -> int:
        return self.number - amount

    @call_deferred(queue="index")
    def close(self, reason: str) -> tuple[int, str]:
        return self.number, reason

    @call_deferred(queue="index")
    @classmethod
    def close_all(cls, reason: str) -> tuple[str, str]:
        return cls.__name__, reason

    @call_deferred(queue="index")
    @staticmethod
    def close_one(number: int) -> int:
        return number

    @staticmethod
    @call_deferred(queue="index")
    def close_two(number: int) -> int:
        return number * 2

    @classmethod
    @call_deferred(queue="index")
    def upside_down(cls, reason: str) -> str:
        return reason

    @classmethod
    def create(cls, number: int) -> str:
        return f"{cls.__name__} {number}"

    @staticmethod
    def fee(amount: int) -> int:
        return amount // 10

    def __call__(self, amount: int) -> int:
        return self.number * amount


class Savings(Account):
    pass


class Unpicklable(Account):
    """Can only be deferred by a registered name."""

    def __init__(self, number: int = 0) -> None:
        super().__init__(number)
        self.lock = threading.Lock()


class Hostile:
    """Raises from whatever anybody asks of it, and can be stored all the same."""

    def __repr__(self) -> str:
        raise RuntimeError("repr was called")

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq was called")

    def __hash__(self) -> int:
        raise RuntimeError("hash was called")

    def __bool__(self) -> bool:
        raise RuntimeError("bool was called")


hostile = Hostile()


def with_hostile_default(value: int, other: object = hostile) -> None: ...


add_five = partial(add, 5)
