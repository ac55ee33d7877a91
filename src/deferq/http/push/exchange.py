"""What goes to a base and what comes back, and who carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from deferq.codec import wire
from deferq.codec.wire import IN_BODY
from deferq.model.task import Leased

#: As much of an answer's body is read; whoever sends more is cut off.
BODY_BYTES_MAX = 64 * 1024
#: Headers of an answer may be so long: the outcome is one, and holds a traceback or a result.
HEADER_BYTES_MAX = 128 * 1024
#: Seconds to connect, the handshake of TLS included.
CONNECT_S = 10.0
#: Seconds that an idle connection is kept. Servers close them too, some after two seconds, and a request that crosses
#: with that gets no answer.
KEEP_ALIVE_S = 1.0


class Request:
    """One delivery on its way."""

    __slots__ = (
        "body", "broke", "headers", "let_go_at", "method", "path", "sent_at", "started", "task", "unsure",
    )  # fmt: skip

    def __init__(
        self,
        task: Leased,
        path: str,
        headers: list[tuple[str, str]],
        *,
        let_go_at: float,
        sent_at: float,
        method: str = "POST",
        body: bytes | None = None,
    ) -> None:
        """`body`: None: the envelope of the task."""
        self.task = task
        self.method = method
        #: With the path of the base, and the query.
        self.path = path
        self.headers = headers
        self.body = task.payload if body is None else body
        #: Monotonic time after which nobody waits for its answer.
        self.let_go_at = let_go_at
        #: Monotonic time of the first sending, and of the last.
        self.started = self.sent_at = sent_at
        #: Whether it was sent before and nobody knows what came of it.
        self.unsure = False
        #: How often its connection broke.
        self.broke = 0


class Answer(NamedTuple):
    """What a base has answered."""

    status: int
    headers: list[tuple[str, str]]
    #: Its beginning.
    body: bytes


class NotSent(NamedTuple):
    """There was no connection, so nothing has run."""

    why: str


class Broken(NamedTuple):
    """There was a connection, and no answer came through it: nobody knows whether anything has run."""

    why: str


def body_limit(outcome: str | None) -> int:
    """How much of the body to read, by the X-Deferq-Outcome of the answer."""
    return wire.BODY_BYTES_MAX if outcome == IN_BODY else BODY_BYTES_MAX


Result = Answer | NotSent | Broken
#: What becomes of a request that was dropped; whoever dropped it does not listen.
DROPPED = Broken("dropped")
#: Where a client finds its next request; None: there is none now.
Take = Callable[[], Request | None]
#: Whom it tells what came of it.
Report = Callable[[Request, Result], None]


class Client(Protocol):
    """Carries requests to one base, some at a time."""

    def wake(self, count: int) -> None:
        """There may be so many requests to take. Safe from any thread."""

    def drop(self, request: Request) -> None:
        """Nobody waits for its answer any more: its connection goes. Safe from any thread."""

    def close(self, timeout_s: float) -> None:
        """Close every connection."""
