"""What the tests of the deferred library defer. Bodies that Google's library has pickled mention it, so names stay."""

from __future__ import annotations

from typing import Any

from deferq import current_task, in_task
from deferq import errors as core
from deferq.compat.appengine import deferred

#: What ran, in order.
seen: list[Any] = []
#: As which attempt of which queue it ran; (0, ""): outside a task.
attempts: list[tuple[int, str]] = []


def forget() -> None:
    seen.clear()
    attempts.clear()


def note(*args: Any, **kwargs: Any) -> str:
    attempts.append((current_task().attempt, current_task().queue) if in_task() else (0, ""))
    seen.append((args, kwargs) if kwargs else args)
    return "noted"


def note_one(value: Any, *, _foo: int = 0) -> Any:
    seen.append((value, _foo))
    return value


def returns_what_no_store_keeps() -> Any:
    seen.append("returned")
    return (number for number in range(3))


async def note_later(value: Any) -> str:
    seen.append(("coroutine", value))
    return "noted"


def fail(kind: str) -> None:
    seen.append(kind)
    raise {
        "permanent": deferred.PermanentTaskFailure("no such user"),
        "singular": deferred.SingularTaskFailure("not yet", 7),
        "core permanent": core.PermanentTaskFailure("no such user"),
        "core retry": core.RetryTask(reason="not yet"),
        "snooze": core.Snooze(60),
        "any": ZeroDivisionError("broken"),
    }[kind]


def fail_once(kind: str) -> None:
    if kind in seen:
        seen.append("then")
    else:
        fail(kind)


class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, amount: int, *, twice: bool = False) -> int:
        self.value += amount * (2 if twice else 1)
        seen.append(("add", self.value))
        return self.value

    async def add_later(self, amount: int) -> int:
        return self.add(amount)

    @classmethod
    def make(cls, start: int) -> str:
        seen.append(("make", cls.__name__, start))
        return cls.__name__

    @staticmethod
    def static(value: int) -> int:
        seen.append(("static", value))
        return value

    class Inner:
        def __init__(self, value: int = 0) -> None:
            seen.append(("inner", value))


class Callable:
    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, value: int) -> str:
        seen.append((self.word, value))
        return self.word


class Unrestorable:
    """Pickles well, and raises when it comes back."""

    def __reduce__(self) -> Any:
        return (explode, ())

    def method(self) -> None:
        seen.append("must not run")


def explode() -> Any:
    raise ValueError("cannot be made again")


def leave_a_mark(path: str) -> None:
    """What a forged pickle calls while it is being restored."""
    with open(path, "w") as file:
        file.write("ran")


module_level_lambda = lambda: None
