"""Everything that can be called, and much that cannot be called later."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any


def plain(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    return (*args, kwargs)


async def asynchronous(value: int) -> int:
    return value + 1


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Base:
    def __init__(self, number: int = 0) -> None:
        self.number = number

    def method(self, more: int) -> int:
        return self.number + more

    @classmethod
    def create(cls, number: int) -> Base:
        return cls(number)

    @staticmethod
    def static(value: int) -> int:
        return -value

    def __secret(self) -> int:
        return self.number

    def secret(self) -> Callable[[], int]:
        return self.__secret

    def items(self) -> Iterator[int]:
        yield self.number

    class Inner:
        def __init__(self, value: int) -> None:
            self.value = value

        @classmethod
        def make(cls, value: int) -> Base.Inner:
            return cls(value)


class Child(Base):
    pass


class Adder:
    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, more: int) -> int:
        return self.number + more


def made_inside() -> tuple[Any, Any, Any]:
    def nested() -> None: ...

    class Nested:
        def method(self) -> None: ...

        @classmethod
        def create(cls) -> None: ...

    return nested, Nested, Nested()


def shouting(fn: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(fn)
    def wrapper(*args: Any) -> str:
        return fn(*args).upper()

    return wrapper


def careless(fn: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


@shouting
def decorated(text: str) -> str:
    return text


@careless
def nameless(text: str) -> str:
    return text


@functools.lru_cache
def cached(value: int) -> int:
    return value * 2


def replaced() -> int:
    return 1


first_version = replaced


def replaced() -> int:  # type: ignore[no-redef]
    return 2


def deferring(target: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What `call_deferred` does to a function, as far as targets are concerned."""

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any) -> str:
            return "deferred"

        wrapper.__deferq_target__ = target  # type: ignore[attr-defined]
        return wrapper

    return decorate


@deferring(f"{__name__}:reindex")
def reindex(number: int) -> int:
    return number * 10


class Indexer:
    def __init__(self, number: int = 0) -> None:
        self.number = number

    @deferring(f"{__name__}:Indexer.index")
    def index(self, more: int) -> int:
        return self.number + more

    @classmethod
    @deferring(f"{__name__}:Indexer.index_all")
    def index_all(cls, more: int) -> tuple[str, int]:
        return cls.__name__, more


class Locked:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def method(self) -> None: ...


class Hostile:
    """Raises from whatever anybody asks of it."""

    def __repr__(self) -> str:
        raise RuntimeError("repr was called")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq was called")

    def __hash__(self) -> int:
        raise RuntimeError("hash was called")

    def __call__(self) -> str:
        return "called"


class HostileLocked(Hostile):
    def __init__(self) -> None:
        self.lock = threading.Lock()


class HostileThroughout(Hostile):
    """Not even its class can be asked for, and it cannot be pickled."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"{name} was asked for")


class OddError(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")


class Liar:
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner


class Forgetful:
    """Leaves its lock out; what remains cannot be stored either."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.source = generator()

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source}


class Explosive:
    def __setstate__(self, state: Any) -> None:
        raise SystemExit(3)

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}
