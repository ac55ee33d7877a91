"""What the functions whose names end in `_async` return: the answer, and whoever wants it asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from deferq.compat.appengine.taskqueue.errors import InvalidDeadlineError


class UserRPC:
    """A call that is under way, in App Engine's words. Here the store has answered by the time it is returned.

    `callback`, without arguments, is called once, by the first of `wait`, `check_success` and `get_result`.
    """

    service = "taskqueue"

    def __init__(self, deadline: float | None = None, callback: Callable[[], object] | None = None) -> None:
        self.deadline = deadline
        self.callback = callback
        #: The name of the call; None: there was none yet.
        self.method: str | None = None
        self._answer: Any = None
        self._error: Exception | None = None
        self._finish: Callable[[Any], Any] | None = None
        self._told = False

    def make_call(self, method: str, ask: Callable[[], Any], finish: Callable[[Any], Any]) -> UserRPC:
        """Call `ask` at once, and keep what it answers or raises; `finish` makes the result of it."""
        assert self.method is None, "an UserRPC is good for one call"
        self.method, self._finish = method, finish
        try:
            self._answer = ask()
        except Exception as error:
            self._error = error
        return self

    def wait(self) -> None:
        """Wait for the answer, which is there."""
        assert self.method is not None, "nothing was called yet"
        if not self._told:
            self._told = True
            if self.callback is not None:
                self.callback()

    def check_success(self) -> None:
        """Raise what the call has raised."""
        self.wait()
        if self._error is not None:
            raise self._error

    def get_result(self) -> Any:
        """The result of the call, or what it has raised."""
        self.check_success()
        assert self._finish is not None
        return self._finish(self._answer)

    @classmethod
    def wait_any(cls, rpcs: Iterable[UserRPC]) -> UserRPC | None:
        """One of them that has its answer; None: there is none at all."""
        for rpc in rpcs:
            rpc.wait()
            return rpc
        return None

    @classmethod
    def wait_all(cls, rpcs: Iterable[UserRPC]) -> None:
        """Wait for all of them."""
        for rpc in rpcs:
            rpc.wait()


def create_rpc(deadline: float | None = None, callback: Callable[[], object] | None = None) -> UserRPC:
    """An UserRPC to be handed to one of the functions whose names end in `_async`.

    Raises InvalidDeadlineError for a deadline that is none.
    """
    if deadline is not None:
        check_deadline(deadline)
    return UserRPC(deadline, callback)


def check_deadline(deadline: Any) -> None:
    """Raises TypeError or InvalidDeadlineError for what is no positive number of seconds."""
    if not isinstance(deadline, int | float):
        raise TypeError("deadline: a number of seconds is expected.")
    if deadline <= 0:
        raise InvalidDeadlineError("deadline: more than no seconds are needed.", field="deadline")
