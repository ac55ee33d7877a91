"""A task: one queued call, and the unit of everything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from deferq.model.retry import DEFAULT_RETRY, RetryPolicy
from deferq.model.state import State

EPOCH_2020_US = 1_577_836_800_000_000  # 2020-01-01 00:00 UTC
ID_RANDOM_BITS = 12
#: A task whose worker died so often is suspected of having killed it.
SUSPECT_FROM = 2
#: No store counts further. Only a damaged row stands there, and must not hold up the others.
COUNT_MAX = 2**63 - 1


def one_more(count: int) -> int:
    """`count`, and one more, as far as a store can count."""
    return min(count + 1, COUNT_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is stored with a task beside its columns; everything that settling it needs is here."""

    retry: RetryPolicy = DEFAULT_RETRY
    #: Seconds an attempt may take; None: no limit.
    timeout_s: float | None = None
    tags: tuple[str, ...] = ()
    #: Handed to `current_task().headers` and to every delivery.
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self) -> str | None:
        """The stored form: JSON with the values that differ from the defaults, or None if none does."""
        document: dict[str, Any] = {}
        if self.retry != DEFAULT_RETRY:
            document["retry"] = {
                field: value
                for field in RetryPolicy.__slots__
                if (value := getattr(self.retry, field)) != getattr(DEFAULT_RETRY, field)
            }
        if self.timeout_s is not None:
            document["timeout_s"] = self.timeout_s
        if self.tags:
            document["tags"] = list(self.tags)
        if self.headers:
            document["headers"] = [list(header) for header in self.headers]
        return json.dumps(document, separators=(",", ":")) if document else None


DEFAULT_OPTIONS = Options()


@lru_cache(maxsize=1024)
def decode_options(text: str | None) -> Options:
    """The inverse of `Options.encode`. Fields of a newer deferq are passed over."""
    if text is None:
        return DEFAULT_OPTIONS
    document = json.loads(text)
    retry = {field: value for field, value in document.get("retry", {}).items() if field in RetryPolicy.__slots__}
    return Options(
        retry=RetryPolicy(**retry) if retry else DEFAULT_RETRY,
        timeout_s=document.get("timeout_s"),
        tags=tuple(document.get("tags", ())),
        headers=tuple((name, value) for name, value in document.get("headers", ())),
    )


class NewTask(NamedTuple):
    """A task as `put` receives it: signed, but not stored. Times are microseconds since the epoch, UTC."""

    id: int
    queue: str
    #: `module:qualname`
    target: str
    priority: int
    #: Not before.
    eta: int
    #: Cancelled if not started by then; None: never.
    expires_at: int | None
    #: Whether its policy allows a single start.
    at_most_once: bool
    #: Unique in the queue while the task lives and for a while after.
    name: str | None
    #: "raise", "return" or "replace": what to do when the name is taken. `put` treats the first two alike.
    if_exists: str
    #: Which group of workers it is meant for; None: any.
    route: str | None
    #: Path it is delivered to; None: the target is called.
    url: str | None
    #: `Options.encode()`
    options: str | None
    #: The signed envelope.
    payload: bytes
    #: More that belongs to it, signed too: stored with the task and gone with it, and not read when it is leased.
    spill: bytes | None = None


class Leased(NamedTuple):
    """A task in a dispatcher's hand: all that running and settling it needs."""

    id: int
    queue: str
    target: str
    priority: int
    #: When it was due.
    eta: int
    #: Attempts spent before this one.
    attempts: int
    #: Leases that counted as starts, this one included.
    starts: int
    #: How often in a row no worker knew its target.
    parks: int
    expires_at: int | None
    name: str | None
    route: str | None
    url: str | None
    options: str | None
    payload: bytes
    #: When the task was first due: its age counts from here.
    first_due: int
    #: The fence: settling, renewing and releasing match on it.
    lease_id: int
    #: When the lease ends.
    leased_until: int
    #: Somebody asked for its cancellation while it was leased.
    cancel_requested: bool
    #: How often its worker died while it ran.
    crashes: int = 0

    @property
    def suspect(self) -> bool:
        """Whether its worker has died so often that it runs in quarantine."""
        return self.crashes >= SUSPECT_FROM

    @property
    def attempt(self) -> int:
        """The number of this execution, counted from 1."""
        return one_more(self.attempts)

    @property
    def retry(self) -> RetryPolicy:
        """The policy stored with the task."""
        return decode_options(self.options).retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as the store shows it. Times are microseconds since the epoch, UTC."""

    id: int
    queue: str
    target: str
    state: State
    priority: int
    #: When it is due (pending), or was (later).
    eta: int
    #: The eta while pending, the end of the lease while leased.
    leasable_at: int
    first_due: int
    attempts: int
    starts: int
    parks: int
    expires_at: int | None
    name: str | None
    route: str | None
    url: str | None
    options: Options
    lease_id: int | None
    cancel_requested: bool
    finished_at: int | None
    #: Why it stands where it stands: "permanent", "attempts spent", "worker lost", "expired", ...
    reason: str | None
    #: Size of the stored envelope in bytes.
    payload_bytes: int
    #: How often its worker died while it ran; from `SUSPECT_FROM` on it runs in quarantine.
    crashes: int = 0

    @property
    def created_at(self) -> int:
        """When it was deferred, read from its id."""
        return (self.id >> ID_RANDOM_BITS) + EPOCH_2020_US

    def reading(self, now: int) -> str:
        """The state as people say it at the time `now`: ready, scheduled, retrying, parked, stalled, leased, ..."""
        if self.state is State.PENDING:
            if self.parks:
                return "parked"
            if self.leasable_at <= now:
                return "ready"
            return "retrying" if self.attempts else "scheduled"
        if self.state is State.LEASED and self.leasable_at <= now:
            return "stalled"
        return self.state.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One attempt that did not succeed, as kept for people to read."""

    attempt: int
    #: Microseconds since the epoch.
    at: int
    #: failed, retried, worker lost, parked, ...
    kind: str
    #: Class of the exception, as text; never imported.
    error_type: str
    message: str
    traceback: str
    #: What was seen of the attempt from outside, if it ran in quarantine: lines for people.
    report: str = ""
