"""How small a world is, and what may happen in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What may happen, and how often at most in one path."""

    #: A worker dies.
    crashes: int = 0
    #: The wall clock leaps, forward or back.
    leaps: int = 0
    #: A worker gets no time to run for about a lease, alone or with its task.
    naps: int = 0
    #: The store commits, and its answer is lost.
    lost_answers: int = 0
    #: The store fails before it commits.
    errors: int = 0
    #: A worker is asked to stop.
    stops: int = 0
    #: A person cancels the task.
    cancels: int = 0
    #: The task is deferred again by its name.
    namesakes: int = 0
    #: How long each attempt takes.
    seconds: float = 0.5
    max_attempts: int = 2
    #: Whether the first attempt fails.
    fails_first: bool = False
    #: Whether workers hear at once that a task has become due.
    bells: bool = False

    def __str__(self) -> str:
        """What makes it differ from an empty one."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return ", ".join(f"{name}={value}" for name, value in fields.items() if value != getattr(_NOTHING, name))


_NOTHING = Scope()


#: Everything that the faults of each scope can do together; all of them take about a minute.
SCOPES = (
    Scope(crashes=1, leaps=1),
    Scope(crashes=1, leaps=1, max_attempts=1),
    Scope(crashes=1, leaps=1, fails_first=True, bells=True),
    Scope(crashes=1, leaps=1, seconds=3.5),
    Scope(crashes=1, leaps=1, cancels=1),
    Scope(crashes=1, stops=1, leaps=1),
    Scope(crashes=1, naps=1),
    Scope(crashes=1, lost_answers=1, errors=1),
    Scope(naps=1, leaps=1),
    Scope(naps=1, lost_answers=1),
    Scope(naps=1, cancels=1, namesakes=1),
    Scope(stops=1, errors=1),
)
