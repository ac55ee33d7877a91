"""Finding the transaction that is open where a task is deferred.

Whoever uses neither SQLAlchemy nor Django pays for none of this: `defer` looks whether anybody detects, and whether a
module was loaded since it looked last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from sys import modules
from typing import TYPE_CHECKING, cast

from deferq.errors import StoreUnavailable, TransactionError
from deferq.locks import ProcessLock

if TYPE_CHECKING:
    from deferq.engines.base import Engine
    from deferq.engines.within import Within
    from deferq.transactions.joining import Transaction

Detector = Callable[[], "Iterator[Transaction]"]

#: Each yields the transactions that it knows to be open here, the likeliest first.
detectors: tuple[Detector, ...] = ()
#: How many modules were loaded when `notice` looked last; 0 if anybody detects. As long as so many are loaded, nobody
#: who defers without options need look further.
nothing_new = 0
#: By the module whose presence means that there may be transactions: the one whose `watch()` returns a detector.
_WATCHERS = {"sqlalchemy.engine": "deferq.contrib.sqlalchemy", "django.db": "deferq.contrib.django"}
_watching: set[str] = set()
_noticing = ProcessLock()


def notice() -> None:
    """Have new packages watched, if they were loaded."""
    global nothing_new
    seen = len(modules)
    for module, watcher in _WATCHERS.items():
        if module in modules and module not in _watching and _is_loaded(module):
            with _noticing:  # who defers meanwhile waits, since his transaction would be overlooked
                _watch(module, watcher)
    nothing_new = 0 if detectors else seen


def _watch(module: str, watcher: str) -> None:
    global detectors
    if module in _watching:
        return
    try:
        detectors = (*detectors, cast(Detector, import_module(watcher).watch()))
    except ImportError as error:
        import logging  # importing deferq is to be quick

        logging.getLogger("deferq").warning(
            "transactions of %s are not watched, since it is too old: %s", module, error
        )
    _watching.add(module)


def _is_loaded(module: str) -> bool:
    """Not only begun: the package may be importing deferq right now."""
    spec = getattr(modules[module], "__spec__", None)
    return not getattr(spec, "_initializing", False)


def find(engine: Engine, *, wanted: bool = False) -> Transaction | None:
    """The transaction on the engine's database that is open in this thread or coroutine; None: none is.

    `wanted`: also one that nobody has begun and that has only read so far.

    Raises NoTransaction if it can only be rolled back, AsyncTransaction if it cannot be waited for here,
    StoreUnavailable if it cannot begin.
    """
    within = engine.within
    for candidate in _candidates(within):
        if within is not None and candidate.run(partial(_is_on, within, candidate, wanted)):
            return candidate
    return None


async def find_async(engine: Engine, *, wanted: bool = False) -> Transaction | None:
    """The same from a coroutine, for which async sessions can be asked too."""
    within = engine.within
    for candidate in _candidates(within):
        if within is not None and await candidate.run_async(partial(_is_on, within, candidate, wanted)):
            return candidate
    return None


def _candidates(within: Within | None) -> Iterator[Transaction]:
    """What is open here and may be on the engine's database."""
    if within is None:
        return
    if len(modules) != nothing_new:
        notice()
    for detector in detectors:
        for candidate in detector():
            if candidate.is_likely(within):
                yield candidate


def _is_on(within: Within, candidate: Transaction, wanted: bool) -> bool:
    try:
        connection = candidate.connection()
    except (StoreUnavailable, TransactionError):
        if candidate.may_be_on(within):  # to store beside it what it is to decide upon would be wrong
            raise
        return False
    return connection.can_begin and within.is_on(connection) and (wanted or not candidate.only_reads(within))
