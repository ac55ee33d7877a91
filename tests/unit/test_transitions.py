"""The life of a task: one test for each row of the table in the design, and a few about its edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferq.model.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Cancelled,
    ErrorText,
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
from deferq.model.task import Leased, Options
from deferq.model.transitions import RULES, Transition, decide
from tests.support import START, US

ERROR = ErrorText(error_type="ValueError", message="boom")
FAILED = Failed(error=ERROR)
LOST = Failed(error=ERROR, reason="worker lost")
TIMED_OUT = Failed(error=ERROR, reason="timed out")
PERMANENT = Failed(error=ERROR, permanent=True, reason="permanent")
CORRUPT = Failed(error=ERROR, permanent=True, reason="corrupt")
PARKED = Parked(error=ERROR)
PATIENT = RetryPolicy(max_attempts=3, min_backoff_s=10, jitter=False)
NOW = START + 5 * US
TASK = Leased(
    id=1,
    queue="default",
    target="app:work",
    priority=0,
    eta=START,
    attempts=0,
    starts=1,
    parks=0,
    expires_at=None,
    name=None,
    route=None,
    url=None,
    options=Options(retry=PATIENT).encode(),
    payload=b"envelope",
    first_due=START,
    lease_id=7,
    leased_until=START + 30 * US,
    cancel_requested=False,
)

OUTCOMES: list[Outcome] = [
    SUCCEEDED,
    FAILED,
    LOST,
    TIMED_OUT,
    PERMANENT,
    CORRUPT,
    PARKED,
    INTERRUPTED,
    Retried(after_s=1),
    Retried(),
    Snoozed(after_s=1),
    Cancelled(),
]


def after(outcome: Outcome, *, policy: RetryPolicy = PATIENT, jitter: float = 0.0, **changes: object) -> Transition:
    return decide(TASK._replace(**changes), outcome, policy, NOW, jitter)  # type: ignore[arg-type]


# ---- the table of the design


def test_a_task_that_returns_has_succeeded() -> None:
    assert after(SUCCEEDED) == Transition("succeeded", State.SUCCEEDED, START, 1, 0, True, None)
    assert after(Succeeded(b"result"), attempts=2).attempts == 3


def test_a_permanent_failure_for_a_reason_of_its_own_is_dead_with_that_reason() -> None:
    outcome = Failed(error=ERROR, permanent=True, reason="no such user")
    assert after(outcome) == Transition("permanent", State.DEAD, START, 1, 0, True, "no such user")


def test_a_task_that_raises_permanent_failure_is_dead() -> None:
    assert after(PERMANENT) == Transition("permanent", State.DEAD, START, 1, 0, True, "permanent")


def test_a_task_whose_attempts_are_spent_is_dead_with_its_last_reason() -> None:
    assert after(FAILED, attempts=2) == Transition(
        "attempts spent", State.DEAD, START, 3, 0, True, "attempts spent, last: failed"
    )


def test_a_task_that_raises_is_pending_again_after_backoff_with_an_attempt_spent() -> None:
    assert after(FAILED) == Transition("failed", State.PENDING, NOW + 10 * US, 1, 0, True, "failed")
    assert after(FAILED, attempts=1).eta == NOW + 20 * US


def test_a_task_that_times_out_is_pending_again_and_says_so() -> None:
    assert after(TIMED_OUT) == Transition("failed", State.PENDING, NOW + 10 * US, 1, 0, True, "timed out")


def test_a_task_that_asks_to_run_again_spends_an_attempt_and_comes_when_it_asked_to() -> None:
    assert after(Retried(after_s=90)) == Transition("retried", State.PENDING, NOW + 90 * US, 1, 0, True, "retried")


def test_a_task_that_asks_to_run_again_without_a_time_waits_for_its_backoff() -> None:
    assert after(Retried(), attempts=1).eta == NOW + 20 * US


def test_a_task_that_asks_to_run_again_once_too_often_is_dead() -> None:
    assert after(Retried(after_s=1), attempts=2).state is State.DEAD


def test_a_snoozed_task_comes_later_with_no_attempt_spent() -> None:
    assert after(Snoozed(after_s=60), attempts=2) == Transition(
        "snoozed", State.PENDING, NOW + 60 * US, 2, 0, True, "snoozed"
    )


def test_a_snooze_keeps_the_reason_it_was_given() -> None:
    assert after(Snoozed(after_s=60, reason="rate limited")).reason == "rate limited"


def test_a_task_whose_worker_died_comes_after_backoff_with_an_attempt_spent() -> None:
    assert after(LOST) == Transition("worker lost", State.PENDING, NOW + 10 * US, 1, 0, True, "worker lost", 1)


@pytest.mark.parametrize("policy", [PATIENT, RetryPolicy(max_attempts=1)])
def test_the_death_of_its_worker_is_counted_whatever_becomes_of_the_task(policy: RetryPolicy) -> None:
    assert after(LOST, crashes=4, policy=policy).crashes == 5
    assert after(LOST, crashes=4, policy=policy, cancel_requested=True).crashes == 5


@pytest.mark.parametrize("outcome", [outcome for outcome in OUTCOMES if outcome is not LOST])
@pytest.mark.parametrize("cancel_requested", [False, True])
def test_nothing_else_counts_as_a_death_or_makes_one_forgotten(outcome: Outcome, cancel_requested: bool) -> None:
    assert after(outcome, crashes=2, cancel_requested=cancel_requested).crashes == 2


@pytest.mark.parametrize(("crashes", "suspect"), [(0, False), (1, False), (2, True), (9, True)])
def test_a_task_whose_worker_died_twice_is_suspect(crashes: int, suspect: bool) -> None:
    assert TASK._replace(crashes=crashes).suspect is suspect


def test_the_reason_tells_more_where_more_is_known() -> None:
    lost = replace(LOST, detail="killed by SIGSEGV")
    assert after(lost).reason == "worker lost (killed by SIGSEGV)"
    dead = after(lost, policy=RetryPolicy(max_attempts=1))
    assert dead.reason == "attempts spent, last: worker lost (killed by SIGSEGV)"


def test_a_task_given_back_for_a_while_spends_nothing_and_says_why() -> None:
    back = Interrupted(after_s=3, reason="no place")
    assert after(back, attempts=1, parks=2, crashes=2) == Transition(
        "interrupted", State.PENDING, NOW + 3 * US, 1, 2, False, "no place", 2
    )


def test_a_task_of_a_single_attempt_whose_worker_died_is_dead() -> None:
    transition = after(LOST, policy=RetryPolicy(max_attempts=1))
    assert (transition.rule, transition.state) == ("attempts spent", State.DEAD)
    assert transition.reason == "attempts spent, last: worker lost"


def test_a_task_given_back_unstarted_is_pending_at_once_as_if_nothing_had_been() -> None:
    assert after(INTERRUPTED, attempts=1, parks=2) == Transition("interrupted", State.PENDING, START, 1, 2, False, None)


@pytest.mark.parametrize("reason", ["expired", "cancelled"])
def test_an_expired_or_cancelled_task_keeps_the_reason_and_counts_no_attempt(reason: str) -> None:
    assert after(Cancelled(reason=reason)) == Transition("cancelled", State.CANCELLED, START, 0, 0, False, reason)


@pytest.mark.parametrize(
    "outcome", [FAILED, LOST, TIMED_OUT, Retried(after_s=1), Snoozed(after_s=1), INTERRUPTED, PARKED]
)
def test_a_requested_cancellation_takes_effect_instead_of_another_run(outcome: Outcome) -> None:
    transition = after(outcome, cancel_requested=True)
    assert (transition.rule, transition.state, transition.reason) == ("cancelled", State.CANCELLED, "cancelled")


@pytest.mark.parametrize(
    ("outcome", "state"), [(SUCCEEDED, State.SUCCEEDED), (PERMANENT, State.DEAD), (CORRUPT, State.DEAD)]
)
def test_a_task_that_ended_before_its_cancellation_ends_as_it_did(outcome: Outcome, state: State) -> None:
    assert after(outcome, cancel_requested=True).state is state


def test_a_task_whose_target_is_unknown_is_parked_with_no_attempt_spent() -> None:
    assert after(PARKED, attempts=2) == Transition("parked", State.PENDING, NOW + 10 * US, 2, 1, False, "parked")


@pytest.mark.parametrize(
    ("parks", "wait_s"), [(0, 10), (1, 20), (2, 40), (5, 320), (6, 600), (7, 600), (1_000_000, 600)]
)
def test_a_parked_task_waits_ten_seconds_to_ten_minutes_and_never_dies_of_it(parks: int, wait_s: int) -> None:
    transition = after(PARKED, parks=parks, policy=RetryPolicy(max_attempts=1))
    assert (transition.state, transition.eta, transition.parks) == (State.PENDING, NOW + wait_s * US, parks + 1)


@pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED, Retried(after_s=1), Snoozed(after_s=1), PERMANENT])
def test_a_task_that_ran_is_no_longer_parked(outcome: Outcome) -> None:
    assert after(outcome, parks=4).parks == 0


def test_a_task_that_cannot_be_decoded_is_dead_as_corrupt() -> None:
    assert after(CORRUPT) == Transition("corrupt", State.DEAD, START, 1, 0, True, "corrupt")


# ---- limits, age and jitter


def test_a_task_with_both_limits_goes_on_until_both_are_spent() -> None:
    policy = replace(PATIENT, max_age_s=60)
    assert after(FAILED, attempts=7, policy=policy).state is State.PENDING
    old = NOW - 61 * US
    assert after(FAILED, attempts=1, first_due=old, policy=policy).state is State.PENDING
    assert after(FAILED, attempts=2, first_due=old, policy=policy).state is State.DEAD


def test_the_age_of_a_task_counts_from_when_it_was_first_due() -> None:
    policy = RetryPolicy(max_attempts=None, max_age_s=60)
    assert after(FAILED, first_due=NOW - 60 * US, policy=policy).state is State.PENDING
    assert after(FAILED, first_due=NOW - 60 * US - 1, policy=policy).state is State.DEAD


@given(jitter=st.floats(0, 1, exclude_max=True), attempts=st.integers(0, 23))
def test_jitter_spreads_a_wait_between_half_and_the_whole(jitter: float, attempts: int) -> None:
    policy = RetryPolicy(min_backoff_s=10, max_backoff_s=3600)
    whole_us = policy.backoff_s(attempts + 1) * US
    wait_us = after(FAILED, attempts=attempts, policy=policy, jitter=jitter).eta - NOW
    assert whole_us / 2 - 1 <= wait_us <= whole_us


def test_jitter_reaches_both_ends() -> None:
    policy = RetryPolicy(min_backoff_s=10)
    assert after(FAILED, policy=policy, jitter=0.0).eta == NOW + 10 * US
    assert after(FAILED, policy=policy, jitter=0.999_999_9).eta == pytest.approx(NOW + 5 * US, abs=10)


@given(jitter=st.floats(0, 1, exclude_max=True))
def test_without_jitter_chance_has_no_say(jitter: float) -> None:
    assert after(FAILED, jitter=jitter).eta == NOW + 10 * US


@given(jitter=st.floats(0, 1, exclude_max=True))
def test_a_time_the_task_asked_for_is_not_spread(jitter: float) -> None:
    policy = RetryPolicy(jitter=True)
    assert after(Retried(after_s=30), policy=policy, jitter=jitter).eta == NOW + 30 * US
    assert after(Snoozed(after_s=30), policy=policy, jitter=jitter).eta == NOW + 30 * US


@pytest.mark.parametrize("outcome", [Retried(after_s=-5), Snoozed(after_s=-5)])
def test_a_negative_wait_means_now(outcome: Outcome) -> None:
    assert after(outcome).eta == NOW


# ---- the table itself

#: These are not outcomes of an attempt; the engines apply them, and their conformance suite tests them.
MADE_BY_ENGINES = {"deferred", "leased", "expired", "withdrawn", "requeued", "requeued again"}


def test_every_rule_is_reached_by_an_outcome_or_made_by_an_engine() -> None:
    reached = {
        after(outcome, attempts=attempts, cancel_requested=cancel).rule
        for outcome in OUTCOMES
        for attempts in (0, 2)
        for cancel in (False, True)
    }
    assert reached == RULES.keys() - MADE_BY_ENGINES


def test_outcomes_follow_the_rules_from_leased() -> None:
    assert {rule.source for name, rule in RULES.items() if name not in MADE_BY_ENGINES} == {State.LEASED}


@given(
    outcome=st.sampled_from(OUTCOMES),
    attempts=st.integers(0, 5),
    parks=st.integers(0, 5),
    cancel_requested=st.booleans(),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_every_transition_agrees_with_its_rule(
    outcome: Outcome, attempts: int, parks: int, cancel_requested: bool, jitter: float
) -> None:
    transition = after(outcome, attempts=attempts, parks=parks, cancel_requested=cancel_requested, jitter=jitter)
    rule = RULES[transition.rule]
    assert transition.state is rule.to
    assert transition.attempts == attempts + rule.spends
    assert transition.state is not State.PENDING or transition.eta >= START


def test_every_state_is_reached_and_every_one_but_success_is_left_again() -> None:
    assert {rule.to for rule in RULES.values()} == set(State)
    assert {rule.source for rule in RULES.values()} == {*State, None} - {State.SUCCEEDED}


# ---- reasons that somebody else gives


@pytest.mark.parametrize("reason", [*RULES, "", "no such rule"])
def test_whatever_reason_a_failure_gives_it_is_no_other_end(reason: str) -> None:
    """The answer to a push may give any."""
    failed = Failed(error=ERROR, reason=reason)
    assert after(replace(failed, permanent=True)).state is State.DEAD
    again = after(failed)
    assert (again.state, again.attempts, again.eta) == (State.PENDING, 1, NOW + 10 * US)
    assert RULES[again.rule].to is State.PENDING
