"""Named places in your code at which a test may let it fail, or end.

    def pay_out(order: int) -> None:
        send_mail(order)
        fault_point("after the mail")
        book(order)

Outside of tests a fault point does nothing. In a test, `with fail_at("after the mail", OSError("no network")):` raises
there, `with crash_at("after the mail"):` ends the attempt there, and `assert_idempotent` kills the process there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from deferq.suggest import did_you_mean

Watcher = Callable[[str], None]

#: Who is told of each fault point; replaced as a whole, so that nobody reads half a change.
_watchers: tuple[Watcher, ...] = ()
_changing = Lock()


def fault_point(name: str) -> None:
    """A place with a name. Costs some 50 nanoseconds and does nothing unless a test has asked for it."""
    if _watchers:
        for watcher in _watchers:
            watcher(name)


class Crashed(BaseException):
    """Raised by `crash_at`. No `except Exception` catches it, but `finally` and `except BaseException` do run."""


class Trap:
    """What waits at a fault point, in this process; `hits` is how often it went off."""

    def __init__(self, name: str, error: Callable[[], BaseException], times: int, skip: int) -> None:
        self._name = name
        self._error = error
        self._times = times
        self._skip = skip
        self._lock = Lock()
        self._passed: dict[str, int] = {}
        self.hits = 0

    def __call__(self, name: str) -> None:
        if self._goes_off(name):
            raise self._error()

    def _goes_off(self, name: str) -> bool:
        with self._lock:
            before = self._passed.get(name, 0)
            self._passed[name] = before + 1
            if name != self._name or not self._skip <= before < self._skip + self._times:
                return False
            self.hits += 1
            return True

    def check(self) -> None:
        """Raise AssertionError if it never went off: the test would prove nothing."""
        if self.hits:
            return
        passed = self._passed.get(self._name, 0)
        if passed:
            raise AssertionError(
                f"The fault point {self._name!r} was reached {passed} times, and skip={self._skip} passes over as many."
            )
        hint = did_you_mean(self._name, self._passed, otherwise=_reached(self._passed))
        raise AssertionError(f"The fault point {self._name!r} was not reached in this process.{hint}")


@contextmanager
def fail_at(name: str, error: BaseException | type[BaseException], *, times: int = 1, skip: int = 0) -> Iterator[Trap]:
    """Raise `error` at the fault point `name`, in any thread of this process.

    Args:
        name: of the fault point.
        error: an exception, or its class.
        times: how often, before the fault point does nothing again.
        skip: how often it is passed first.

    Raises AssertionError at the end of the block if the fault point was not reached.
    """
    trap = Trap(name, (lambda: error()) if isinstance(error, type) else (lambda: error), times, skip)
    with _watched_by(trap):
        yield trap
    trap.check()


@contextmanager
def crash_at(name: str, *, times: int = 1, skip: int = 0) -> Iterator[Trap]:
    """End the attempt at the fault point `name` by raising `Crashed`, in any thread of this process.

    Where the block itself comes past the fault point, it ends there and the test goes on behind it. Where a worker of
    this process does, the attempt has failed and the task runs again. `finally` blocks run on the way out, which they
    would not if the process had died: that is what `assert_idempotent` is for. `times` and `skip` are those of
    `fail_at`.
    """
    ours: list[Crashed] = []

    def crash() -> Crashed:
        ours.append(Crashed(f"crash_at({name!r})"))
        return ours[-1]

    trap = Trap(name, crash, times, skip)
    try:
        with _watched_by(trap):
            yield trap
    except Crashed as crashed:
        if crashed not in ours:
            raise
    trap.check()


def watch(watcher: Watcher) -> None:
    """Tell `watcher` of every fault point from now on."""
    global _watchers
    with _changing:
        _watchers = (*_watchers, watcher)


def unwatch(watcher: Watcher) -> None:
    """Tell it no more."""
    global _watchers
    with _changing:
        _watchers = tuple(one for one in _watchers if one is not watcher)


@contextmanager
def _watched_by(trap: Trap) -> Iterator[None]:
    watch(trap)
    try:
        yield
    finally:
        unwatch(trap)


def _reached(passed: dict[str, int]) -> str:
    names = ", ".join(repr(name) for name in sorted(passed))
    return f" Reached were: {names}." if names else " None was."
