"""A task as a test sees it: what was deferred, as a worker would get it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

from deferq.codec.codec import Codec, Invocation
from deferq.codec.requests import is_request
from deferq.handles import TaskHandle
from deferq.model.retry import RetryPolicy
from deferq.model.task import Leased, NewTask, Options, decode_options
from deferq.testing.store import RecordingEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def request(method: str, url: str | None, body: bytes) -> None:
    """Stands where a function would, for a task that calls none: it is delivered as it is, or pulled."""


_SHOWN_CHARACTERS_MAX = 200


class View(NamedTuple):
    """What a task of a test belongs to: the store and the settings of the test, also when that is over."""

    engine: RecordingEngine
    codec: Codec
    before_waiting: Callable[[int], None]

    @property
    def open_result(self) -> Callable[[int, str, bytes | None], Any]:
        return self.codec.open_result


class DeferredTask(TaskHandle):
    """A task that was deferred in a test. It is a handle as well: `state`, `wait()`, `cancel()`, ..."""

    __slots__ = ("_codec", "_invocation", "_made", "deferred_at")

    def __init__(self, view: View, made: NewTask, now: int) -> None:
        super().__init__(view, made.id)
        self._codec = view.codec
        self._made = made
        self._invocation: Invocation | None = None
        #: When it was deferred.
        self.deferred_at = _instant(now)

    def __repr__(self) -> str:
        return f"<DeferredTask {self}>"

    def __str__(self) -> str:
        return f"{shown_call(self.target, self.args, self.kwargs)}{self._shown_options()}"

    # ---- what is called

    @property
    def target(self) -> str:
        """What is called, `module:qualname`."""
        return self._made.target

    @property
    def fn(self) -> Callable[..., Any]:
        """The function a worker would call."""
        return self.invocation.fn

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments, restored from what was stored; those of a method begin with its instance."""
        return self.invocation.args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments, restored from what was stored."""
        return self.invocation.kwargs

    @property
    def invocation(self) -> Invocation:
        """What a worker would make of it. Raises what it would meet: PayloadError, TargetUnknown, ...

        Of a task that is a request, or is pulled, it is a stand-in: `request(method, url, body)`.
        """
        if self._invocation is None:
            # The codec asks for what both forms of a task have: id, target, url, payload.
            made = cast(Leased, self._made)
            self._invocation = self._request(made) if is_request(made.payload) else self._codec.decode(made)
        return self._invocation

    def _request(self, made: Leased) -> Invocation:
        method, body = self._codec.open_request(made)
        return Invocation(request, (method, made.url, body), {}, {}, False)

    # ---- the options it was deferred with

    @property
    def queue(self) -> str:
        return self._made.queue

    @property
    def name(self) -> str | None:
        return self._made.name

    @property
    def eta(self) -> datetime:
        """When it was due at first, in UTC; the time it was deferred if nothing was said."""
        return _instant(self._made.eta)

    @property
    def countdown(self) -> float:
        """Seconds from its deferring until it was due; 0: at once."""
        return max(0.0, round((self.eta - self.deferred_at).total_seconds(), 3))

    @property
    def expires(self) -> float | None:
        """Seconds from its deferring until it expires; None: it does not."""
        at = self._made.expires_at
        return None if at is None else round((_instant(at) - self.deferred_at).total_seconds(), 3)

    @property
    def priority(self) -> int:
        return self._made.priority

    @property
    def route(self) -> str | None:
        return self._made.route

    @property
    def url(self) -> str | None:
        """The path to which it is delivered; None: its function is called."""
        return self._made.url

    @property
    def retry(self) -> RetryPolicy:
        return self._options.retry

    @property
    def timeout(self) -> float | None:
        """Seconds an attempt may take; None: no limit."""
        return self._options.timeout_s

    @property
    def tags(self) -> tuple[str, ...]:
        return self._options.tags

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self._options.headers)

    @property
    def _options(self) -> Options:
        return decode_options(self._made.options)

    def _shown_options(self) -> str:
        shown = [f"queue {self.queue}"]
        if self.countdown:
            shown.append(f"in {self.countdown:g} s")
        if self.name is not None:
            shown.append(f"name {self.name}")
        if self.url is not None:
            shown.append(f"url {self.url}")
        return f" ({', '.join(shown)})"


def shown_call(target: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """`module:function(1, key=2)`, not too long."""
    parts = [shown(value) for value in args] + [f"{name}={shown(value)}" for name, value in kwargs.items()]
    return f"{target}({', '.join(parts)})"


def shown(value: object) -> str:
    """The repr of a value, whatever comes of asking for it."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]}..."


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
