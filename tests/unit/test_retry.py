"""How patiently a task is tried again, and when it is given up."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferq.errors import CallError, InvalidOption
from deferq.model.retry import ATTEMPTS_MAX, DEFAULT_RETRY, RetryPolicy


def series(policy: RetryPolicy, length: int) -> list[float]:
    return [policy.backoff_s(retry) for retry in range(1, length + 1)]


def test_three_doublings_then_constant_steps_up_to_the_maximum() -> None:
    policy = RetryPolicy(min_backoff_s=10, max_backoff_s=300, max_doublings=3)
    assert series(policy, 8) == [10, 20, 40, 80, 160, 240, 300, 300]


def test_without_doublings_the_wait_grows_by_the_same_step() -> None:
    assert series(RetryPolicy(min_backoff_s=10, max_backoff_s=3600, max_doublings=0), 4) == [10, 20, 30, 40]


def test_the_default_doubles_from_a_tenth_of_a_second_to_an_hour() -> None:
    waits = series(DEFAULT_RETRY, 25)
    assert waits[:16] == pytest.approx([0.1 * 2**doublings for doublings in range(16)])
    assert waits[15] == pytest.approx(3276.8)
    assert waits[16:] == [3600.0] * 9


def test_the_default_tries_twenty_five_times() -> None:
    assert not DEFAULT_RETRY.gives_up(24, 10**9)
    assert DEFAULT_RETRY.gives_up(25, 0)


def test_no_backoff_means_at_once_again() -> None:
    assert series(RetryPolicy(min_backoff_s=0, max_backoff_s=0), 3) == [0, 0, 0]


def test_equal_bounds_make_every_wait_the_same() -> None:
    assert series(RetryPolicy(min_backoff_s=30, max_backoff_s=30), 3) == [30, 30, 30]


@given(
    low=st.floats(0, 1e6),
    more=st.floats(0, 1e6),
    doublings=st.integers(0, 64),
    retry=st.integers(1, ATTEMPTS_MAX),
)
def test_a_wait_stays_within_its_bounds_and_never_shrinks(low: float, more: float, doublings: int, retry: int) -> None:
    policy = RetryPolicy(min_backoff_s=low, max_backoff_s=low + more, max_doublings=doublings)
    wait = policy.backoff_s(retry)
    assert low <= wait <= low + more
    assert policy.backoff_s(retry + 1) >= wait


def test_an_attempt_limit_alone_gives_up_when_attempts_are_spent() -> None:
    policy = RetryPolicy(max_attempts=3)
    assert [policy.gives_up(attempts, 1e9) for attempts in (1, 2, 3, 4)] == [False, False, True, True]


def test_an_age_limit_alone_gives_up_when_the_task_is_too_old() -> None:
    policy = RetryPolicy(max_attempts=None, max_age_s=60)
    assert [policy.gives_up(10**6, age_s) for age_s in (0, 60, 60.1)] == [False, False, True]


@pytest.mark.parametrize(
    ("attempts", "age_s", "gives_up"),
    [(1, 10, False), (5, 10, False), (1, 100, False), (5, 100, True), (3, 60.1, True), (3, 60, False)],
)
def test_with_both_limits_a_task_is_given_up_only_when_both_are_spent(
    attempts: int, age_s: float, gives_up: bool
) -> None:
    assert RetryPolicy(max_attempts=3, max_age_s=60).gives_up(attempts, age_s) is gives_up


def test_without_limits_a_task_is_never_given_up() -> None:
    assert not RetryPolicy(max_attempts=None).gives_up(10**6, 1e12)


@pytest.mark.parametrize(
    ("policy", "at_most_once"),
    [
        (RetryPolicy(max_attempts=1), True),
        (RetryPolicy(max_attempts=2), False),
        (RetryPolicy(max_attempts=None), False),
        (RetryPolicy(max_attempts=1, max_age_s=60), False),
    ],
)
def test_a_single_attempt_without_an_age_limit_is_at_most_once(policy: RetryPolicy, at_most_once: bool) -> None:
    assert policy.at_most_once is at_most_once


BAD: list[tuple[str, Any]] = [
    *(("max_attempts", value) for value in (0, -1, 10**9, ATTEMPTS_MAX + 1, 2.0, "3", True, math.nan)),
    *(("max_doublings", value) for value in (-1, 65, 1.5, "2", False, None)),
    *(("min_backoff_s", value) for value in (-0.1, math.nan, math.inf, "1", True, None)),
    *(("max_backoff_s", value) for value in (-1, math.nan, math.inf, "60", False, None)),
    *(("max_age_s", value) for value in (-1, math.nan, -math.inf, "60", True)),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_value_that_makes_no_sense_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidOption, match=field) as caught:
        RetryPolicy(**{field: value})
    assert caught.value.field == field
    assert isinstance(caught.value, CallError)
    assert isinstance(caught.value, ValueError)


def test_a_first_wait_longer_than_the_longest_is_refused() -> None:
    with pytest.raises(InvalidOption, match="min_backoff_s") as caught:
        RetryPolicy(min_backoff_s=10, max_backoff_s=5)
    assert caught.value.field == "min_backoff_s"


@pytest.mark.parametrize("limit", [1, ATTEMPTS_MAX, None])
def test_the_bounds_of_the_attempt_limit_are_allowed(limit: int | None) -> None:
    assert RetryPolicy(max_attempts=limit).max_attempts == limit


def test_a_policy_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        RetryPolicy(3)  # type: ignore[misc]


def test_policies_with_equal_values_are_equal_and_can_be_keys() -> None:
    assert len({RetryPolicy(), RetryPolicy(max_attempts=25), DEFAULT_RETRY}) == 1
