"""What a task may ask about itself while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from deferq.errors import NoCurrentTask, NotTransactional

if TYPE_CHECKING:
    from deferq.model.task import Leased, Options

    # They stand above this module, which only hands them on.
    Settlement = Any

    class Settler(Protocol):
        """Who settles a task in a transaction of the caller's."""

        def settle(self, task: Leased, duration_s: float, within: Any, result: object) -> Settlement: ...

        async def settle_async(self, task: Leased, duration_s: float, within: Any, result: object) -> Settlement: ...


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CurrentTask:
    """One execution of a task, seen from inside. What is rarely asked is worked out when it is asked."""

    __slots__ = ("_began", "_cancelled", "_leased", "_monotonic", "_settler", "ends_at", "settled")

    def __init__(
        self,
        leased: Leased,
        ends_at: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        settler: Settler | None = None,
    ) -> None:
        self._leased = leased
        self._monotonic = monotonic
        self._began = monotonic()
        self._settler = settler
        #: What `settle_within` has written last; once the function has ended: if it stands.
        self.settled: Settlement | None = None
        self._cancelled = False
        #: Monotonic time at which its timeout is over; None: it has none.
        self.ends_at = ends_at

    def __repr__(self) -> str:
        return f"<CurrentTask {self.id} {self.target} attempt {self.attempt}>"

    @property
    def id(self) -> int:
        return self._leased.id

    @property
    def name(self) -> str | None:
        return self._leased.name

    @property
    def queue(self) -> str:
        return self._leased.queue

    @property
    def target(self) -> str:
        """What is called, `module:qualname`."""
        return self._leased.target

    @property
    def attempt(self) -> int:
        """The number of this execution, counted from 1."""
        return self._leased.attempt

    @property
    def eta(self) -> datetime:
        """When it was due."""
        return _EPOCH + timedelta(microseconds=self._leased.eta)

    @property
    def route(self) -> str | None:
        return self._leased.route

    @property
    def tags(self) -> tuple[str, ...]:
        return self._options().tags

    @property
    def headers(self) -> Mapping[str, str]:
        return MappingProxyType(dict(self._options().headers))

    def _options(self) -> Options:
        from deferq.model.task import decode_options  # loaded before any task runs, and not with `import deferq`

        return decode_options(self._leased.options)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until its timeout, never negative; None: it has none."""
        return None if self.ends_at is None else max(0.0, self.ends_at - self._monotonic())

    @property
    def deadline(self) -> datetime | None:
        """When its timeout is over; None: it has none."""
        left = self.seconds_left
        return None if left is None else datetime.now(UTC) + timedelta(seconds=left)

    @property
    def cancelled(self) -> bool:
        """Whether the task should stop: somebody asked for it, or another worker holds it now.

        A task that looks at it from time to time can be cancelled while it runs; a coroutine is cancelled anyway.
        """
        return self._cancelled

    def settle_within(self, within: Any, result: object = None) -> None:
        """Write the success of this task in a transaction of the caller's, together with the task's own effect.

        If the transaction commits, the task has succeeded, and no other attempt runs, even if this process dies before
        it can say so. If it rolls back, nothing was settled, and what the function comes to counts as ever.

        Args:
            within: a sqlite3 connection, a session or connection of SQLAlchemy, Django's connection or its alias, on
                the store's own database; True: the transaction that is open here.
            result: what `TaskHandle.wait()` returns. What the function returns later is dropped.

        Call it at the end of the transaction, and commit before the function returns. Raises LeaseLost if another
        worker holds the task by now: let it roll the transaction back. Raises TransactionError or StoreError.
        """
        self.settled = self._checked_settler().settle(self._leased, self._monotonic() - self._began, within, result)

    async def settle_within_async(self, within: Any, result: object = None) -> None:
        """The same for an async session or connection."""
        settler, duration_s = self._checked_settler(), self._monotonic() - self._began
        self.settled = await settler.settle_async(self._leased, duration_s, within, result)

    def _checked_settler(self) -> Settler:
        if self._settler is None:
            raise NotTransactional("settle_within: this task runs outside of every store; there is nothing to settle.")
        return self._settler

    def cancel(self) -> None:
        """Tell the running task that it should stop. The runtime calls it."""
        self._cancelled = True


#: Called in the thread of a plain function before each attempt of it, for libraries that keep things by the thread.
before_attempt: list[Callable[[], object]] = []
#: Set by the executor in the context of each attempt.
CURRENT: ContextVar[CurrentTask] = ContextVar("deferq.current_task")


def current_task() -> CurrentTask:
    """The task that is running here. Raises NoCurrentTask outside a task."""
    try:
        return CURRENT.get()
    except LookupError:
        raise NoCurrentTask(
            "current_task() was called outside a task; ask in_task() first where code runs in both places."
        ) from None


def in_task() -> bool:
    """Whether this code runs inside a task."""
    return CURRENT.get(None) is not None
