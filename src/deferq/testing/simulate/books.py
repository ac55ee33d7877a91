"""What is known of the tasks of one parent, from its children's side: what it says of them must agree with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from deferq.model.outcome import Cancelled, Failed, Interrupted, Outcome
from deferq.model.task import Leased
from deferq.runtime.children.wire import pack_outcome
from deferq.runtime.pools import Finished
from deferq.testing.simulate.broken import Broken

#: How attempts fail of which no child has said how they ended.
_SAID_BY_PARENT = ("worker lost", "worker stopped", "timed out")


@dataclass(slots=True)
class _Page:
    """One task under one lease."""

    #: Its start was written down.
    marked: bool = False
    #: User code began.
    begun: bool = False
    #: What its child has reported, every byte of it.
    reported: Outcome | None = None
    #: It has left the pool.
    closed: bool = False


class Books:
    """Raises Broken as soon as a parent says of a task what cannot be."""

    def __init__(self, note: Callable[[str, Leased], None]) -> None:
        self._note = note
        self._pages: dict[tuple[int, int], _Page] = {}

    def open(self, tasks: Iterable[Leased]) -> None:
        """The dispatcher hands them over."""
        for task in tasks:
            if not (page := self._pages.setdefault((task.id, task.lease_id), _Page())).closed:
                continue
            raise Broken(f"task {task.id} came into the pool again under the same lease: {page}")

    def mark(self, task: Leased) -> None:
        """A child has written its start."""
        self._page(task).marked = True

    def begin(self, task: Leased) -> None:
        """User code begins."""
        if self._page(task).begun:
            raise Broken(f"task {task.id} was started twice under one lease")
        self._page(task).begun = True

    def report(self, task: Leased, outcome: Outcome) -> None:
        """A child has said, to the last byte, how it ended."""
        self._note(f"was reported as {type(outcome).__name__}", task)
        self._page(task).reported = outcome

    def close(self, finished: Iterable[Finished]) -> None:
        """The dispatcher learns of these."""
        for task, outcome, _, _ in finished:
            self._note(f"left the pool as {_how(outcome)}", task)
            page = self._page(task)
            if page.closed:
                raise Broken(f"task {task.id} left the pool twice under one lease")
            page.closed = True
            self._check(task, page, outcome)

    def _check(self, task: Leased, page: _Page, outcome: Outcome) -> None:
        if isinstance(outcome, Cancelled) and not page.marked:
            return  # its parent had not sent it yet
        if isinstance(outcome, Interrupted):
            if page.begun:
                raise Broken(f"task {task.id} was started and is given back unspent")
        elif page.reported is not None and pack_outcome(outcome) == pack_outcome(page.reported):
            return
        elif not (isinstance(outcome, Failed) and outcome.reason in _SAID_BY_PARENT):
            raise Broken(f"task {task.id} ended as {_how(outcome)}, and no child has said so")
        elif not page.marked:
            raise Broken(f"task {task.id} never started and is spent as {outcome.reason}")
        elif page.reported is not None and outcome.reason != "timed out":
            raise Broken(f"task {task.id} was reported as {_how(page.reported)} and is settled as {outcome.reason}")

    def _page(self, task: Leased) -> _Page:
        return self._pages[task.id, task.lease_id]


def _how(outcome: Outcome) -> str:
    return f"{type(outcome).__name__} ({outcome.reason})" if isinstance(outcome, Failed) else type(outcome).__name__
