"""An application to be tested: what its tasks do stands in `done`."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

from deferq import (
    PermanentTaskFailure,
    RetryPolicy,
    RetryTask,
    Snooze,
    call,
    call_deferred,
    current_task,
    defer,
    deferrable,
    register,
)

done: list[Any] = []
tenant: ContextVar[str] = ContextVar("tenant")


def note(*values: object) -> None:
    done.append(values[0] if len(values) == 1 else values)


def double(number: int) -> int:
    return 2 * number


def remember(value: object) -> object:
    done.append(value)
    return value


def where() -> int:
    return threading.get_ident()


async def fetch(address: str) -> str:
    await asyncio.sleep(0)
    done.append(address)
    return f"page of {address}"


async def loop_of_mine() -> None:
    done.append(id(asyncio.get_running_loop()))


async def fetch_and_store(address: str) -> None:
    handle = await call(remember, address).defer_async()
    done.append("deferred")
    await handle


async def adds_up(number: int) -> int:
    handles = [await call(double, each).defer_async(queue="sums") for each in range(number)]
    return sum(await asyncio.gather(*handles))


@deferrable(queue="mail", retry=RetryPolicy(max_attempts=3, min_backoff_s=10, jitter=False), tags=("letters",))
def send(to: str, subject: str = "Hello", *, copies: int = 1) -> None:
    done.append((to, subject, copies))


@call_deferred(queue="index")
def reindex(document: int) -> None:
    done.append(document)


class Report:
    def __init__(self, year: int) -> None:
        self.year = year

    def build(self, form: str = "html") -> str:
        done.append((self.year, form))
        return f"{form} of {self.year}"


def first() -> None:
    done.append("first begins")
    defer(remember, "second")
    defer(remember, "third")
    done.append("first ends")


def asks_for(number: int) -> int:
    return int(defer(double, number).wait(timeout=5)) + 1


@deferrable(retry=RetryPolicy(max_attempts=4, min_backoff_s=10, max_doublings=0, jitter=False))
def works_the_third_time() -> str:
    done.append(current_task().attempt)
    if current_task().attempt < 3:
        raise ValueError("not yet")
    return "at last"


@deferrable(retry=RetryPolicy(max_attempts=2, min_backoff_s=10, jitter=False))
def never_works(what: str = "broken") -> None:
    done.append(what)
    raise LookupError(what)


def refuses() -> None:
    raise PermanentTaskFailure("no such user")


@deferrable(retry=RetryPolicy(max_attempts=2))
def asks_again() -> None:
    raise RetryTask(after=30)


def tomorrow() -> None:
    done.append("today")
    if len(done) == 1:
        raise Snooze(86_400)


def every_hour() -> None:
    done.append(current_task().eta)
    call(every_hour).defer(countdown=3600)


def in_an_hour() -> None:
    call(remember, "an hour later").defer(eta=datetime.now(UTC) + timedelta(hours=1))


def tell_tenant() -> None:
    done.append(tenant.get("none"))


def tell_task() -> tuple[str, str | None, int, dict[str, str]]:
    task = current_task()
    return task.queue, task.name, task.attempt, dict(task.headers)


def interrupt() -> None:
    raise KeyboardInterrupt


def waits_for_itself(name: str) -> None:
    call(remember, 1).defer(name=name, if_exists="return").wait()


def one_of_two(me: str, other: str) -> None:
    once = RetryPolicy(max_attempts=1)
    call(one_of_two, other, me).defer(name=other, if_exists="return", retry=once).wait()


class Opaque:
    """Says nothing about being equal."""

    def __init__(self, value: int) -> None:
        self.value = value


class Archive:
    """Stays where it is: its methods are deferred by its name."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def keep(self, what: str) -> None:
        done.append(what)


archive = Archive()
register("testkit-archive", archive)
