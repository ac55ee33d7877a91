"""Where the tasks of a world are stored, and how its processes reach it: each asks for itself, and may be struck."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from deferq.engines.base import Bell, LeasingEngine
from deferq.errors import StoreUnavailable
from deferq.testing.simulate.clock import SimulatedClock

Answer = TypeVar("Answer")
MakeEngine = Callable[[SimulatedClock], LeasingEngine]


class ProcessDied(BaseException):
    """A simulated process came to its end while it asked the store."""


class Blow(Enum):
    """What can happen to whoever asks the store."""

    ERROR_BEFORE = "an error before the statement"
    ERROR_AFTER = "an error after the statement"
    DEATH_BEFORE = "death before the statement"
    DEATH_AFTER = "death after the statement"


class Fate(NamedTuple):
    """The blow that falls at the statement of that number, counted from 1, or at the commit; none if there is none."""

    blow: Blow
    statement: int


#: The statement that commits, whichever that is.
COMMIT = 0


class Process(ABC):
    """A simulated process, as the store sees it."""

    engine: LeasingEngine

    @abstractmethod
    def ask(self, question: Callable[[], Answer], fate: Fate | None, *, writes: bool = True) -> Answer:
        """Let the process ask its engine. Raises StoreUnavailable, or ProcessDied, if that is its fate."""

    @abstractmethod
    def end(self, bell: Bell | None = None) -> None:
        """The process is no more, and its bell with it: what it held open is closed, and no more than that is done."""


class Store(ABC):
    """One store that processes share."""

    #: "full": nothing can be written; "away": it does not answer at all; None: it is well.
    trouble: str | None = None
    #: Whether a question that ended in an error has told the history whether it was committed.
    certain = False
    #: Whether others are told of the tasks of a dead process before their leases are over.
    notices_death = False

    @abstractmethod
    def new_process(self) -> Process:
        """A process that works with the store."""

    @abstractmethod
    def close(self) -> None:
        """Nobody needs the store any more."""


@runtime_checkable
class StoreMaker(Protocol):
    """What makes stores whose processes can be struck at every statement."""

    def new_store(self, clock: SimulatedClock) -> Store:
        """An empty store."""


class OneEngine(Store):
    """Every process uses the same engine, and blows fall before or after a whole call."""

    certain = True

    def __init__(self, engine: LeasingEngine) -> None:
        self.engine = engine

    def new_process(self) -> Process:
        return _Caller(self)

    def close(self) -> None:
        self.engine.close()


class _Caller(Process):
    def __init__(self, store: OneEngine) -> None:
        self.engine = store.engine
        self._store = store

    def ask(self, question: Callable[[], Answer], fate: Fate | None, *, writes: bool = True) -> Answer:
        trouble = self._store.trouble
        if trouble == "away" or (trouble == "full" and writes):
            raise StoreUnavailable(f"the simulation says so: the store is {trouble}")
        if fate is None:
            return question()
        if fate.blow is Blow.ERROR_BEFORE:
            raise StoreUnavailable("the simulation says so, before the commit")
        if fate.blow is Blow.DEATH_BEFORE:
            raise ProcessDied
        question()
        if fate.blow is Blow.ERROR_AFTER:
            raise StoreUnavailable("the simulation says so, after the commit")
        raise ProcessDied

    def end(self, bell: Bell | None = None) -> None:
        if bell is not None:
            bell.close()
