"""Everything that moves a task stands in this file.

`RULES` is the whole life of a task as data; the diagram in the documentation is drawn from it. `decide` picks the
rule for an outcome and fills in the numbers. It is pure: time and jitter are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, assert_never

from deferq.model.outcome import (
    Cancelled,
    Failed,
    Interrupted,
    Outcome,
    Parked,
    Retried,
    Snoozed,
    Succeeded,
)
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from deferq.model.task import Leased, one_more

US = 1_000_000
PARK_MIN_S, PARK_MAX_S = 10.0, 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One arrow of the diagram."""

    #: What happens, in words.
    event: str
    source: State | None
    to: State
    #: Whether it uses up an attempt.
    spends: bool = False


RULES: dict[str, Rule] = {
    "deferred": Rule(event="deferred", source=None, to=State.PENDING),
    "leased": Rule(event="leased by a dispatcher", source=State.PENDING, to=State.LEASED),
    "expired": Rule(event="expires", source=State.PENDING, to=State.CANCELLED),
    "withdrawn": Rule(event="cancelled or replaced", source=State.PENDING, to=State.CANCELLED),
    "succeeded": Rule(event="returns", source=State.LEASED, to=State.SUCCEEDED, spends=True),
    "failed": Rule(event="raises or times out", source=State.LEASED, to=State.PENDING, spends=True),
    "retried": Rule(event="raises RetryTask", source=State.LEASED, to=State.PENDING, spends=True),
    "worker lost": Rule(event="its worker dies", source=State.LEASED, to=State.PENDING, spends=True),
    "snoozed": Rule(event="raises Snooze", source=State.LEASED, to=State.PENDING),
    "interrupted": Rule(event="given back unstarted", source=State.LEASED, to=State.PENDING),
    "parked": Rule(event="target unknown to the worker", source=State.LEASED, to=State.PENDING),
    "permanent": Rule(event="raises PermanentTaskFailure", source=State.LEASED, to=State.DEAD, spends=True),
    "attempts spent": Rule(event="fails for the last time", source=State.LEASED, to=State.DEAD, spends=True),
    "corrupt": Rule(event="cannot be decoded or verified", source=State.LEASED, to=State.DEAD, spends=True),
    "cancelled": Rule(event="its cancellation takes effect", source=State.LEASED, to=State.CANCELLED),
    "requeued": Rule(event="requeued by a person", source=State.DEAD, to=State.PENDING),
    "requeued again": Rule(event="requeued by a person", source=State.CANCELLED, to=State.PENDING),
}


class Transition(NamedTuple):
    """What an engine writes into the row of a leased task."""

    #: Key in RULES.
    rule: str
    state: State
    #: When it is due again; meaningless for a finished task.
    eta: int
    attempts: int
    parks: int
    #: Whether this lease ran user code; an interrupted one did not.
    started: bool
    reason: str | None
    #: How often its worker died; only a person who requeues the task makes it 0 again.
    crashes: int = 0


def decide(task: Leased, outcome: Outcome, policy: RetryPolicy, now: int, jitter: float) -> Transition:
    """What happens to `task` after `outcome`.

    `now` is in microseconds since the epoch; `jitter` is a random number in [0, 1) that spreads the backoff.
    """
    match outcome:
        case Succeeded():
            return _finish(task, "succeeded", None)
        case Failed(permanent=True):
            return _finish(task, _rule(outcome.reason, State.DEAD, "permanent"), outcome.reason)
        case Failed():
            task = task._replace(crashes=one_more(task.crashes) if outcome.reason == "worker lost" else task.crashes)
            return _again(task, outcome.reason, None, policy, now, jitter, outcome.detail)
        case Retried():
            return _again(task, "retried", outcome.after_s, policy, now, jitter)
        case Snoozed():
            return _back(task, "snoozed", now + _us(outcome.after_s), outcome.reason or "snoozed")
        case Interrupted():
            eta = now + _us(outcome.after_s) if outcome.after_s else task.eta
            return _back(task, "interrupted", eta, outcome.reason or None, parks=task.parks)
        case Cancelled():
            return _finish(task, "cancelled", outcome.reason)
        case Parked():
            wait_s = min(PARK_MAX_S, PARK_MIN_S * 2.0 ** min(task.parks, 16))
            return _back(task, "parked", now + _us(wait_s), outcome.reason, parks=one_more(task.parks))
        case _:
            assert_never(outcome)


def _again(
    task: Leased, reason: str, after_s: float | None, policy: RetryPolicy, now: int, jitter: float, detail: str = ""
) -> Transition:
    """Another attempt after the backoff, or the end: an attempt is spent either way."""
    attempts = one_more(task.attempts)
    rule = _rule(reason, State.PENDING, "failed")
    if task.cancel_requested:
        return _finish(task, "cancelled", "cancelled")
    if policy.gives_up(attempts, (now - task.first_due) / US):
        return _finish(task, "attempts spent", f"attempts spent, last: {_in_words(reason, detail)}")
    if after_s is None:
        after_s = policy.backoff_s(attempts)
        if policy.jitter:
            after_s *= 1.0 - jitter / 2
    return Transition(
        rule, State.PENDING, now + _us(after_s), attempts, 0, True, _in_words(reason, detail), task.crashes
    )


def _rule(reason: str, to: State, otherwise: str) -> str:
    """The rule of this name, if it spends an attempt and leads there: an answer to a push may give any reason."""
    rule = RULES.get(reason)
    return reason if rule is not None and rule.spends and rule.to is to else otherwise


def _finish(task: Leased, rule: str, reason: str | None) -> Transition:
    spent = one_more(task.attempts) if RULES[rule].spends else task.attempts
    return Transition(rule, RULES[rule].to, task.eta, spent, 0, rule != "cancelled", reason, task.crashes)


def _back(task: Leased, rule: str, eta: int, reason: str | None, parks: int = 0) -> Transition:
    """Pending again with no attempt spent; a requested cancellation takes effect instead."""
    if task.cancel_requested:
        return _finish(task, "cancelled", "cancelled")
    return Transition(rule, State.PENDING, eta, task.attempts, parks, rule == "snoozed", reason, task.crashes)


def _in_words(reason: str, detail: str) -> str:
    return f"{reason} ({detail})" if detail else reason


def _us(seconds: float) -> int:
    return int(max(0.0, seconds) * US)
