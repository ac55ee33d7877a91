"""What fuzzed deliveries may call, if they are signed and sealed."""

from __future__ import annotations

from typing import Any

from deferq import PermanentTaskFailure, RetryTask, Snooze

#: How many calls there were.
ran = 0


def note(*args: Any, **kwargs: Any) -> None:
    global ran
    ran += 1


def give_back(*args: Any, **kwargs: Any) -> Any:
    note()
    return args[0] if args else kwargs


def fail(*args: Any, **kwargs: Any) -> None:
    note()
    raise ValueError(args)


def stop(*args: Any) -> None:
    note()
    raise PermanentTaskFailure(str(args))


def again(after: Any = None, reason: Any = "") -> None:
    note()
    raise RetryTask(after=after, reason=reason)


def snooze(after: Any = 1, reason: Any = "") -> None:
    note()
    raise Snooze(after, reason)


async def later(*args: Any, **kwargs: Any) -> Any:
    return give_back(*args, **kwargs)


#: As targets, by their names alone.
NAMES = frozenset(f"{__name__}:{fn.__name__}" for fn in (note, give_back, fail, stop, again, snooze, later))
