"""The token bucket, and what a limited queue allows at a moment."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferq.model.limits import Limits, Rate, rate_of
from deferq.model.standing import Bucket, Standing

S = 1_000_000
NOW = 1_772_452_800 * S

rates = st.sampled_from(
    ["5/s", "3/s", "0.7/s", "7/m", "1/h", "999/s", "70000/s", "1000000/s", "0.000244140625/s", "11/d"]
)
sizes = st.integers(1, 40)


def standing(rate: str | None = "5/s", size: int | None = None, most: int | None = None, held: int = 0) -> Standing:
    return Standing(Limits(rate=rate, bucket_size=size, max_concurrent=most), Bucket(), held)


def test_a_bucket_that_was_never_used_is_full() -> None:
    assert standing().allowance(NOW) == 5


def test_an_empty_bucket_fills_at_its_rate_and_no_further_than_its_size() -> None:
    empty = standing().taken(5, NOW)
    assert [empty.allowance(NOW + wait) for wait in (0, 199_999, 200_000, 999_999, S, 3600 * S)] == [0, 0, 1, 4, 5, 5]


def test_what_is_left_in_a_bucket_stays_there() -> None:
    assert standing().taken(2, NOW).allowance(NOW) == 3
    assert standing().taken(2, NOW).taken(3, NOW + 100_000).allowance(NOW + 100_000) == 0


def test_it_is_due_when_the_next_token_comes_if_only_the_rate_holds_it_back() -> None:
    empty = standing().taken(5, NOW)
    assert empty.due(NOW) == NOW + 200_000
    assert empty.due(NOW + 200_000) is None
    assert empty._replace(limits=Limits(rate="5/s", max_concurrent=1)).due(NOW) is None
    assert standing(None, most=1, held=1).due(NOW) is None


def test_a_fast_queue_is_not_looked_at_for_every_token() -> None:
    empty = standing("1000/s").taken(100, NOW)
    assert empty.due(NOW) == NOW + 10_000
    assert empty.allowance(NOW + 10_000) == 10


def test_a_fast_queue_with_a_small_bucket_is_looked_at_before_it_runs_over() -> None:
    assert standing("1000/s", 1).taken(1, NOW).due(NOW) == NOW + 1_000
    assert standing("1000/s", 8).taken(8, NOW).due(NOW) == NOW + 4_000


@pytest.mark.parametrize(("held", "allowed"), [(0, 3), (2, 1), (3, 0), (7, 0)])
def test_no_more_are_leased_at_a_time_than_there_are_places(held: int, allowed: int) -> None:
    """More may be held than allowed: the limit has been lowered since."""
    assert standing(None, most=3, held=held).allowance(NOW) == allowed


def test_the_narrower_of_two_limits_holds() -> None:
    assert standing(most=2).allowance(NOW) == 2
    assert standing(most=9).allowance(NOW) == 5
    assert standing(most=9).taken(3, NOW).allowance(NOW) == 2


def test_a_clock_that_was_set_back_finds_an_empty_bucket_and_not_a_closed_one() -> None:
    used = standing().taken(3, NOW)
    before = NOW - 3600 * S
    assert used.allowance(before) == 0
    corrected = used.corrected(before)
    assert corrected != used
    assert corrected.due(before) == before + 200_000
    assert corrected.allowance(before + S) == 5


def test_a_rate_that_was_raised_begins_with_an_empty_bucket_at_worst() -> None:
    slow = standing("1/h").taken(5, NOW)
    fast = slow._replace(limits=Limits(rate="100/s")).corrected(NOW)
    assert fast.due(NOW) == NOW + 10_000
    assert fast.allowance(NOW + S) == 10


def test_a_bucket_that_can_be_true_is_left_alone() -> None:
    used = standing().taken(5, NOW)
    assert used.corrected(NOW) == used
    assert used.corrected(NOW + 10 * S) == used


@given(rates, sizes, st.lists(st.tuples(st.integers(0, 3 * S), st.integers(0, 50)), max_size=60))
def test_in_no_window_start_more_than_the_bucket_and_the_rate_allow(
    rate: str, size: int, wishes: list[tuple[int, int]]
) -> None:
    """And none of it is lost to rounding: what is asked for all the time is had to the last token."""
    queue, now = standing(rate, size), NOW
    tokens, period_us = rate_of(rate)
    model, filled_at = Fraction(size), NOW  # the bucket as everybody draws it
    for wait, wish in wishes:
        now += wait
        model, filled_at = min(Fraction(size), model + Fraction((now - filled_at) * tokens, period_us)), now
        taken = min(wish, queue.allowance(now))
        assert taken == min(wish, int(model))
        model -= taken
        queue = queue.taken(taken, now)
        assert queue.corrected(now) == queue


@given(rates, sizes, st.integers(0, 10 * S), st.integers(1, 40))
def test_it_holds_so_many_tokens_from_that_moment_on_and_not_before(
    rate: str, size: int, later: int, count: int
) -> None:
    numbers = rate_of(rate)
    bucket = Bucket().without(size, numbers, NOW).without(0, numbers, NOW + later)
    count = min(count, size)
    at = bucket.holds_at(count, numbers, size)
    assert bucket.tokens(numbers, size, at) >= count
    assert bucket.tokens(numbers, size, at - 1) < count


@given(rates, sizes, st.integers(1, 5 * S))
def test_whoever_asks_all_the_time_gets_the_rate_and_never_more(rate: str, size: int, step: int) -> None:
    queue, now, taken = standing(rate, size), NOW, 0
    for _ in range(200):
        free = queue.allowance(now)
        queue, taken, now = queue.taken(free, now), taken + free, now + step
    tokens, period_us = rate_of(rate)
    passed = 199 * step
    assert taken <= size + passed * tokens // period_us
    if step * tokens <= (size - 1) * period_us:  # with a part of a token in it, it never runs over in between
        assert taken == size + passed * tokens // period_us


@given(rates, rates, sizes, st.integers(-3600 * S, 3600 * S), st.integers(0, 10**18))
def test_whatever_the_clock_and_the_operator_do_a_corrected_bucket_goes_on_in_time(
    before: str, after: str, size: int, leap: int, parts: int
) -> None:
    used = standing(before, size).taken(size, NOW)
    used = used._replace(bucket=used.bucket._replace(parts=parts))
    now = NOW + leap
    queue = used._replace(limits=Limits(rate=after, bucket_size=size)).corrected(now)
    assert queue.corrected(now) == queue
    tokens, period_us = rate_of(after)
    assert queue.bucket.holds_at(1, Rate(tokens, period_us), size) <= now + -(-period_us // tokens) + 1
    assert queue.allowance(now + -(-size * period_us // tokens) + 1) == size
