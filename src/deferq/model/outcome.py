"""What running one attempt came to. The executor makes outcomes; `decide` turns them into transitions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorText:
    """An exception as text: its class is a name here and is never imported again."""

    error_type: str
    message: str
    traceback: str = ""
    #: What was seen of the attempt from outside, if it ran in quarantine: lines for people.
    report: str = ""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It returned. `result` is a signed envelope, or None when it returned None."""

    result: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It raised, timed out, could not be decoded, or its worker died."""

    error: ErrorText
    #: Whether trying again cannot help.
    permanent: bool = False
    #: failed, timed out, permanent, corrupt, worker lost
    reason: str = "failed"
    #: More about the reason, for people; empty: it says all.
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """It asked to run again; None: after the policy's own backoff."""

    after_s: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snoozed:
    """It asked to run later, without spending an attempt."""

    after_s: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """It was given back before it started."""

    #: Whoever had it does not want it again sooner; 0: it is due as it was.
    after_s: float = 0.0
    #: Why; empty: no reason worth a word.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """It was cancelled, or expired, before it did anything more."""

    reason: str = "cancelled"


#: The reason of what is parked.
PARKED = "parked"
#: The same where it is left to workers that have child processes.
LEFT_TO_PARENTS = "parked: only a worker with child processes runs it, in quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """This worker cannot run it (unknown target or key), but a newer one may."""

    error: ErrorText
    reason: str = PARKED


Outcome = Succeeded | Failed | Retried | Snoozed | Interrupted | Cancelled | Parked

SUCCEEDED = Succeeded()
INTERRUPTED = Interrupted()
