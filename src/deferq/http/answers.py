"""What the answer to a delivery means for its task.

The handler writes the outcome as a header on whatever response leaves the application; then that is the outcome. An
answer without it comes from a view that handles its deliveries itself, and speaks by its status, as on App Engine; or,
where our own handler should have answered, from somebody else, and nothing of ours has run. What the handler has
refused says so in a header, too, since a view may answer 200 all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from deferq.codec.headers import ANSWERED
from deferq.codec.wire import HELD as HELD_HEADER
from deferq.codec.wire import OUTCOME, REFUSED, RUN_PATH, unpack_answer
from deferq.errors import PayloadCorrupt
from deferq.model.outcome import ErrorText, Failed, Interrupted, Outcome, Parked, Retried, Succeeded

#: No answer is waited out for longer.
RETRY_AFTER_S_MAX = 3600.0
#: A view that says "later" without saying when is asked again after so many seconds.
RETRY_AFTER_S = 10.0
EXCERPT_CHARACTERS = 200

_BUSY = (429, 503)
#: What our handler refuses with; 409 has a header of its own.
_REFUSALS = ("400", "403", "404", "405", "411", "413", "503")
_NOT_REACHED = (429, 502, 503, 504)
_REFUSED_SIGNATURE = "the application refuses our signature: are the secrets the same, and the clocks right?"
_HINTS = {
    401: "it wants somebody to log in; a proxy in front should let deliveries pass, they are signed",
    404: "there is no handler: wrap the application with wrap_wsgi or wrap_asgi",
    405: "there is no handler: wrap the application with wrap_wsgi or wrap_asgi",
    413: "the server in front of the application takes no body of this size",
    431: "the server in front of the application takes no headers of this size",
}
_NOT_OURS = "it came without an outcome: is the application wrapped with wrap_wsgi or wrap_asgi?"


class Held:
    """In place of an outcome: somebody else settles the task, or has done so, and nothing is left to do."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: Another delivery of the same lease has begun.
HELD: Final = Held("HELD")
#: The handler has settled it.
SETTLED: Final = Held("SETTLED")


def outcome_of_answer(
    status: int,
    headers: Iterable[tuple[str, str]],
    *,
    own_url: bool,
    body: bytes = b"",
    path: str = RUN_PATH,
    now_s: float = 0.0,
    interrupted_s: float = RETRY_AFTER_S,
) -> Outcome | Held:
    """The outcome of a delivery that was answered.

    Args:
        status: of the answer.
        headers: of the answer.
        own_url: whether it went to the task's own url, or to our handler.
        body: of the answer, or its beginning; what is plain text goes into an error, up to 200 characters.
        path: where it went, for messages.
        now_s: seconds since the epoch, for a Retry-After that is a date.
        interrupted_s: how long to leave alone who cannot be reached and does not say.
    """
    known = {name.lower(): value for name, value in headers}
    outcome = _written(known.get(OUTCOME.lower()), body)
    if outcome is not None:
        return outcome
    if HELD_HEADER.lower() in known or (status == 409 and not own_url):
        return HELD
    if (refused := refused_with(known)) is not None:
        status, own_url = refused, False
    answer = _Answer(status, path, _retry_after(known.get("retry-after"), now_s), _excerpt(known, body))
    return answer.of_a_view() if own_url else answer.of_nobody(interrupted_s)


class _Answer:
    """An answer without an outcome."""

    def __init__(self, status: int, path: str, after_s: float | None, excerpt: str) -> None:
        self.status = status
        self.what = f"HTTP {status} from {path}"
        self.after_s = after_s
        self.excerpt = excerpt

    def of_a_view(self) -> Outcome:
        """It ran the task, and spent an attempt whatever it says."""
        if 200 <= self.status < 300:
            return Succeeded()
        if self.status == 408:
            return Retried(after_s=self.after_s, reason=self.what)
        if self.status in _BUSY:
            return Retried(after_s=RETRY_AFTER_S if self.after_s is None else self.after_s, reason=self.what)
        return self._failed("redirects are not followed" if 300 <= self.status < 400 else self.excerpt)

    def of_nobody(self, interrupted_s: float) -> Outcome:
        """Our handler did not speak. Where it cannot have run anything, no attempt is spent."""
        if self.status in _NOT_REACHED:
            after_s = interrupted_s if self.after_s is None else self.after_s
            return Interrupted(after_s=after_s, reason=f"not reached: {self.what}")
        if self.status == 403:
            return Parked(error=ErrorText(error_type=ANSWERED, message=f"{self.what}: {_REFUSED_SIGNATURE}"))
        if 300 <= self.status < 400:
            return self._failed("redirects are not followed")
        return self._failed(_HINTS.get(self.status) or (_NOT_OURS if self.status < 300 else self.excerpt))

    def _failed(self, more: str) -> Failed:
        message = f"{self.what}: {more}" if more else self.what
        return Failed(error=ErrorText(error_type=ANSWERED, message=message))


def refused_with(headers: Mapping[str, str]) -> int | None:
    """The status with which our handler has refused; None: it has not. Names of `headers` are in lower case."""
    text = headers.get(REFUSED.lower(), "")
    return int(text) if text in _REFUSALS else None


def _written(text: str | None, body: bytes) -> Outcome | Held | None:
    """The outcome that the wrapper has put on the answer; None: none that can be read."""
    if text is None:
        return None
    try:
        return unpack_answer(text, body) or SETTLED
    except PayloadCorrupt:
        return None


def _excerpt(headers: dict[str, str], body: bytes) -> str:
    """The beginning of a plain text, on one line. A page is not for a log, and may show what should not stand there."""
    if not headers.get("content-type", "").lower().startswith("text/plain"):
        return ""
    text = body[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace")
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(line.split())[:EXCERPT_CHARACTERS]


def _retry_after(text: str | None, now_s: float) -> float | None:
    """Seconds to wait, never more than an hour; None: it does not say."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return min(RETRY_AFTER_S_MAX, float(text[:10]))
    try:
        then = parsedate_to_datetime(text[:40])
        seconds = (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now_s
    except (ValueError, OverflowError, TypeError):
        return None
    return min(RETRY_AFTER_S_MAX, max(0.0, seconds))
