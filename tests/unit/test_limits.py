"""What an application, or an operator, may say about the limits of a queue."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deferq import InvalidOption, Queue, RetryPolicy
from deferq.model.limits import NO_LIMITS, Limits, Rate, rate_of, seconds_between
from deferq.model.settings import Declare, Pause, QueueSettings, ResetLimits, Resume, SetLimits, changed

S = 1_000_000


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("5/s", "5/s"),
        (" 05.50 / m ", "5.5/m"),
        ("100/h", "100/h"),
        ("1/d", "1/d"),
        ("0.5/s", "0.5/s"),
        ("3./m", "3/m"),
        (5, "5/s"),
        (0.5, "0.5/s"),
        (1 / 4096, "0.000244140625/s"),
        (1_000_000, "1000000/s"),
    ],
)
def test_a_rate_is_kept_in_its_shortest_form(said: str | float, kept: str) -> None:
    queue = Queue(rate=said)
    assert queue.rate == kept
    assert Queue(rate=queue.rate) == queue


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("5/s", Rate(1, S // 5)),
        ("3/s", Rate(3, S)),
        ("0.7/s", Rate(7, 10 * S)),
        ("90/m", Rate(3, 2 * S)),
        ("1/h", Rate(1, 3_600 * S)),
        ("1/d", Rate(1, 86_400 * S)),
    ],
)
def test_a_rate_means_whole_tokens_in_a_time(text: str, rate: Rate) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"rate": "fast"}, "5/s"),
        ({"rate": "5"}, "5/s"),
        ({"rate": "5/y"}, "5/s"),
        ({"rate": "-5/s"}, "5/s"),
        ({"rate": True}, "5/s"),
        ({"rate": float("nan")}, "5/s"),
        ({"rate": float("inf")}, "5/s"),
        ({"rate": []}, "5/s"),
        ({"rate": "0"}, "pause the queue"),
        ({"rate": "0/s"}, "pause the queue"),
        ({"rate": "0.0/h"}, "pause the queue"),
        ({"rate": 0}, "pause the queue"),
        ({"rate": "1000001/s"}, "1,000,000 a second"),
        ({"rate": "0.001/d"}, "one in a year"),
        ({"rate": "86399999999.000000000001/d"}, "too many digits"),
        ({"rate": "5/s", "bucket_size": 0}, "from 1 to 100,000"),
        ({"rate": "5/s", "bucket_size": 1.5}, "from 1 to 100,000"),
        ({"rate": "5/s", "bucket_size": 100_001}, "from 1 to 100,000"),
        ({"bucket_size": 5}, "goes with a rate"),
        ({"max_concurrent": 0}, "pause the queue"),
        ({"max_concurrent": -1}, "from 1 to 1,000,000"),
        ({"max_concurrent": True}, "from 1 to 1,000,000"),
        ({"max_concurrent": "4"}, "from 1 to 1,000,000"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_by_its_name(limits: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidOption, match=words) as refused:
        Queue(**limits)
    assert refused.value.field == list(limits)[-1]
    assert str(refused.value).startswith(f"{refused.value.field}: ")


@pytest.mark.parametrize(
    ("limits", "burst"),
    [
        (Limits(rate="5/s"), 5),
        (Limits(rate="1/d"), 5),
        (Limits(rate="50/s"), 5),
        (Limits(rate="51/s"), 6),
        (Limits(rate="1000/s"), 100),
        (Limits(rate="1000000/s"), 100_000),
        (Limits(rate="1000/s", bucket_size=1), 1),
    ],
)
def test_a_bucket_without_a_size_holds_five_or_a_tenth_of_a_second(limits: Limits, burst: int) -> None:
    assert limits.burst == burst


def test_a_queue_travels_as_plain_data() -> None:
    whole = Queue(
        rate=5, bucket_size=9, max_concurrent=2, retry=RetryPolicy(max_attempts=3, max_age_s=None), route="eu.west",
        paused=True, pull=True, source="queue.yaml",
    )  # fmt: skip
    for queue in (Queue(), whole):
        assert Queue.from_dict(json.loads(json.dumps(queue.to_dict()))) == queue
    assert Queue().to_dict() == {}
    assert Queue.from_dict({**whole.to_dict(), "colour": "red", "retry": {"max_attempts": 3, "mood": 1}}) == whole


@pytest.mark.parametrize(
    ("field", "value"), [("route", "für Ann"), ("route", ""), ("paused", "yes"), ("paused", None), ("pull", 1)]
)
def test_whatever_else_is_said_of_a_queue_is_checked_where_it_is_said(field: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"^{field}: ") as refused:
        Queue(**{field: value})
    assert refused.value.field == field


# ---- who says what


def test_what_an_operator_sets_wins_field_by_field_until_it_is_reset() -> None:
    declared = changed(QueueSettings(name="mail"), Declare(Queue(rate="5/s", bucket_size=9, max_concurrent=4)))
    chosen = changed(declared, SetLimits({"rate": "1/m", "max_concurrent": None}))
    assert chosen.limits == Limits(rate="1/m", bucket_size=9)
    assert [chosen.origin(field) for field in ("rate", "bucket_size", "max_concurrent")] == ["set", "declared", "set"]
    again = changed(chosen, SetLimits({"rate": 2}))
    assert again.limits == Limits(rate="2/s", bucket_size=9)
    assert changed(again, Declare(Queue(rate="7/s"))).limits == Limits(rate="2/s")
    assert changed(again, ResetLimits()) == declared


def test_without_a_rate_the_size_of_a_bucket_means_nothing() -> None:
    declared = changed(QueueSettings(name="mail"), Declare(Queue(rate="5/s", bucket_size=9)))
    assert changed(declared, SetLimits({"rate": None})).limits == NO_LIMITS
    assert changed(declared, SetLimits({"rate": None})).origin("bucket_size") == "declared"


def test_an_operator_resumes_what_is_declared_to_be_paused_until_it_is_reset() -> None:
    declared = changed(QueueSettings(name="mail"), Declare(Queue(paused=True)))
    assert declared.paused
    resumed = changed(declared, Resume())
    assert not resumed.paused
    assert not changed(resumed, Declare(Queue(paused=True, rate="1/s"))).paused
    assert changed(resumed, ResetLimits()) == declared


def test_what_an_operator_has_paused_stays_so_whatever_is_declared_or_reset() -> None:
    paused = changed(QueueSettings(name="mail"), Pause())
    assert changed(changed(paused, Declare(Queue(rate="5/s"))), ResetLimits()).paused
    assert changed(paused, Resume()) == QueueSettings(name="mail")


def test_pausing_leaves_the_limits_as_they_are() -> None:
    settings = changed(QueueSettings(name="mail"), SetLimits({"rate": "1/m"}))
    paused = changed(settings, Pause())
    assert (paused.paused, paused.limits) == (True, settings.limits)
    assert changed(paused, ResetLimits()).paused
    assert changed(paused, Resume()) == settings


@pytest.mark.parametrize(("chosen", "field"), [({"rate": "0/s"}, "rate"), ({"speed": 3}, "speed")])
def test_what_an_operator_may_not_set_is_refused_by_its_name(chosen: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        changed(QueueSettings(name="mail"), SetLimits(chosen))
    assert refused.value.field == field


def test_limits_are_true_if_anything_is_limited() -> None:
    assert Limits(rate="1/s")
    assert Limits(max_concurrent=1)
    assert not Limits()


@pytest.mark.parametrize(("text", "seconds"), [("5/s", 0.2), ("1/s", 1.0), ("90/h", 40.0), ("1/d", 86_400.0)])
def test_between_two_starts_lie_so_many_seconds(text: str, seconds: float) -> None:
    assert seconds_between(text) == pytest.approx(seconds)
