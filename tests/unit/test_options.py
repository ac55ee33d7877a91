"""Options of a call: what they come to, and what is refused with the field named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferq.errors import InvalidName, InvalidOption, NaiveDatetime, ScheduleError
from deferq.model.retry import RetryPolicy
from deferq.options import (
    ETA_MAX_US,
    OPTION_NAMES,
    UNDERSCORE_NAMES,
    check_headers,
    check_name,
    check_options,
    check_retry,
    check_route,
    check_tags,
    check_timeout,
    due_at,
    expires_at,
    own_url,
    split_keywords,
    translate_underscore,
)
from tests.support import START, US

HUGE = 10**400


class Nowhere(tzinfo):
    """A time zone that does not say what it is."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None


# ---- when


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 0),
        ({"countdown": None}, 0),
        ({"countdown": 60}, 60),
        ({"countdown": 0.5}, 0.5),
        ({"countdown": timedelta(minutes=1)}, 60),
        ({"countdown": -5}, 0),
        ({"countdown": timedelta(days=-1)}, 0),
        ({"countdown": -1e300}, 0),
    ],
)
def test_a_countdown_counts_from_now_and_a_negative_one_means_now(options: dict[str, Any], seconds: float) -> None:
    assert due_at(options, START) == START + round(seconds * US)


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=-8)), ZoneInfo("Europe/Berlin"), ZoneInfo("EST5EDT")], ids=str
)
def test_an_eta_is_an_instant_whatever_its_zone(zone: tzinfo) -> None:
    instant = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)
    assert due_at({"eta": instant.astimezone(zone)}, START) == START + 123456


def test_the_two_readings_of_an_ambiguous_hour_are_an_hour_apart() -> None:
    hour = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert due_at({"eta": hour.replace(fold=1)}, START) - due_at({"eta": hour}, START) == 3600 * US


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), True, "60", b"60", 1e300, 1.7e308, HUGE, timedelta.max], ids=str
)
def test_a_countdown_that_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ScheduleError, match="countdown") as caught:
        due_at({"countdown": value}, START)
    assert caught.value.field == "countdown"


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=Nowhere())])
def test_an_eta_without_a_zone_is_refused(value: datetime) -> None:
    with pytest.raises(NaiveDatetime, match="eta") as caught:
        due_at({"eta": value}, START)
    assert caught.value.field == "eta"


@pytest.mark.parametrize(
    "value",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-14))),
        1_700_000_000,
        "2026-01-01T00:00:00Z",
        datetime(2026, 1, 1, tzinfo=UTC).date(),
    ],
    ids=str,
)
def test_an_eta_out_of_range_or_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(ScheduleError, match="eta") as caught:
        due_at({"eta": value}, START)
    assert caught.value.field == "eta"


@given(st.floats() | st.integers() | st.timedeltas() | st.datetimes(timezones=st.timezones() | st.none()))
def test_any_time_is_taken_within_bounds_or_refused_as_such(value: Any) -> None:
    field = "eta" if isinstance(value, datetime) else "countdown"
    try:
        due = due_at({field: value}, START)
    except ScheduleError:
        return
    assert 0 <= due <= ETA_MAX_US


def test_eta_and_countdown_contradict_each_other() -> None:
    with pytest.raises(ScheduleError, match="eta and countdown"):
        check_options({"eta": datetime.now(UTC), "countdown": 5})
    check_options({"eta": datetime.now(UTC), "countdown": None})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (60, START + 60 * US),
        (timedelta(hours=1), START + 3600 * US),
        (datetime(2026, 3, 2, 13, tzinfo=UTC), START + 3600 * US),
        (1e300, ETA_MAX_US),
        (1.7e308, ETA_MAX_US),
        (timedelta.max, ETA_MAX_US),
    ],
)
def test_a_task_expires_after_seconds_or_at_an_instant(value: object, expected: int | None) -> None:
    assert expires_at(value, START) == expected


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), HUGE, True, "60", datetime(2026, 1, 1)], ids=repr)
def test_an_expiry_that_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ScheduleError, match="expires") as caught:
        expires_at(value, START)
    assert caught.value.field == "expires"


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "5", HUGE, datetime(2026, 1, 1)], ids=str)
def test_a_timeout_that_leaves_no_time_is_refused(value: object) -> None:
    with pytest.raises(InvalidOption, match="timeout") as caught:
        check_timeout(value)
    assert caught.value.field == "timeout"


def test_a_timeout_is_seconds_or_a_timedelta_or_none() -> None:
    assert [check_timeout(value) for value in (None, 5, 0.5, timedelta(minutes=1))] == [None, 5.0, 0.5, 60.0]


# ---- names, tags, headers


@pytest.mark.parametrize("name", ["a", "A-b_9", "x" * 500])
def test_a_task_name_has_letters_digits_dashes_and_underscores(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "x" * 501, "\N{GRINNING FACE}", "trailing\n", "a b", 5, b"a", "é"])
def test_another_task_name_is_refused_and_not_echoed(name: Any) -> None:
    with pytest.raises(InvalidName, match="name") as caught:
        check_name(name)
    assert caught.value.field == "name"
    assert len(str(caught.value)) < 200


def test_a_route_is_a_short_word() -> None:
    assert check_route("eu-west.1") == "eu-west.1"
    assert check_route(None) is None
    for route in ("", "a\n", "a b", "x" * 101, 5, b"a"):
        with pytest.raises(InvalidName, match="route") as caught:
            check_route(route)
        assert caught.value.field == "route"


def test_tags_are_texts() -> None:
    assert check_tags(["a", "b c"]) == ("a", "b c")
    assert check_tags(()) == ()
    assert check_tags(tag for tag in ("a",)) == ("a",)


@pytest.mark.parametrize(
    "tags", ["signup", b"ab", [""], ["x" * 201], ["a\n"], [5], ["a"] * 51, range(1 << 70), 5, None], ids=repr
)
def test_other_tags_are_refused(tags: Any) -> None:
    with pytest.raises(InvalidOption, match="tags") as caught:
        check_tags(tags)
    assert caught.value.field == "tags"


def test_headers_are_kept_in_order() -> None:
    assert check_headers({"X-One": "1", "x-two": "a b"}) == (("X-One", "1"), ("x-two", "a b"))
    assert check_headers({"X-AppEngine-FailFast": "1"}) == (("X-AppEngine-FailFast", "1"),)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "a"},
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"X-AppEngine-Cron": "true"},
        {"X-CloudTasks-TaskName": "a"},
        {"X-Deferq-Task": "a"},
        {"Authorization": "hunter2"},
        {"a b": "1"},
        {"a:b": "1"},
        {"": "1"},
        {"é": "1"},
        {"a\n": "1"},
        {"X-A": "hunter2\r\nX: y"},
        {"X-A": "hunter2\n"},
        {"X-A": "hunter2\0"},
        {"X-A": "x" * 9000},
        {"X-A": 5},
        {5: "x"},
        ["X-A"],
        "X-A: 1",
    ],
    ids=repr,
)
def test_other_headers_are_refused_without_their_value(headers: Any) -> None:
    with pytest.raises(InvalidOption, match="headers") as caught:
        check_headers(headers)
    assert caught.value.field == "headers"
    assert "hunter2" not in str(caught.value)


def test_a_retry_policy_is_a_retry_policy() -> None:
    policy = RetryPolicy(max_attempts=2)
    assert check_retry(policy) is policy
    assert check_retry(None) is None
    for value in (5, {"max_attempts": 5}, RetryPolicy, False):
        with pytest.raises(InvalidOption, match="retry"):
            check_retry(value)


# ---- which options there are


def test_an_unknown_option_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidOption, match="Did you mean 'countdown'") as caught:
        check_options({"contdown": 5})
    assert caught.value.field == "contdown"


def test_an_option_like_no_other_is_refused_with_the_list() -> None:
    with pytest.raises(InvalidOption, match="There are: queue, countdown, eta"):
        check_options({"zzz": 5})


@pytest.mark.parametrize("value", ["skip", None, True, 5, ""])
def test_if_exists_is_one_of_three_words(value: object) -> None:
    with pytest.raises(InvalidOption, match="raise, return, replace") as caught:
        check_options({"if_exists": value, "name": "a"})
    assert caught.value.field == "if_exists"


def test_only_a_named_task_can_exist_already() -> None:
    with pytest.raises(InvalidOption, match="give it a name"):
        check_options({"if_exists": "return"})
    check_options({"if_exists": "raise"})


def test_every_underscore_option_of_app_engine_is_known() -> None:
    assert set(UNDERSCORE_NAMES) == {
        "_countdown", "_eta", "_name", "_queue", "_target", "_url", "_headers", "_transactional", "_retry_options",
    }  # fmt: skip
    assert set(UNDERSCORE_NAMES.values()) - {"url", "transactional"} <= set(OPTION_NAMES)


def test_underscore_options_are_parted_from_the_functions_own_keywords() -> None:
    options, own = split_keywords({"_countdown": 5, "_target": "v1", "a": 1}, frozenset({"a"}))
    assert (options, own) == ({"countdown": 5, "route": "v1"}, {"a": 1})


def test_a_keyword_that_the_function_takes_belongs_to_the_function() -> None:
    assert split_keywords({"_queue": "x"}, frozenset({"_queue"})) == ({}, {"_queue": "x"})


def test_a_function_that_takes_any_keyword_gets_those_that_are_no_options() -> None:
    assert split_keywords({"_eta": None, "_other": 1, "b": 2}, None) == ({}, {"_other": 1, "b": 2})


@pytest.mark.parametrize(
    ("keyword", "meant"),
    [
        ("_contdown", "_countdown"),
        ("countdown", "_countdown"),
        ("eta", "_eta"),
        ("amuont", "amount"),
        ("_nam", "_name"),
    ],
)
def test_a_misspelt_keyword_is_a_type_error_with_the_one_that_was_meant(keyword: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"{keyword!r}.*Did you mean {meant!r}"):
        split_keywords({keyword: 1}, frozenset({"amount"}))


@pytest.mark.parametrize("url", [None, "/_ah/queue/deferred", "/_ah/queue/mail"])
def test_app_engines_own_urls_mean_a_call(url: str | None) -> None:
    assert own_url(url, "mail") is None


def test_the_default_url_of_another_queue_is_a_path_like_any_other() -> None:
    assert own_url("/_ah/queue/other", "mail") == "/_ah/queue/other"


def test_app_engines_url_is_taken_and_an_empty_one_is_none() -> None:
    assert translate_underscore({"_url": "/jobs", "_queue": "mail"}) == {"url": "/jobs", "queue": "mail"}
    assert translate_underscore({"_url": ""}) == translate_underscore({"_url": None}) == {}


def test_transactional_says_that_there_has_to_be_a_transaction_or_that_there_is_none() -> None:
    assert translate_underscore({"_transactional": True}) == {"within": True}
    assert translate_underscore({"_transactional": False, "_name": None}) == {"within": False}
    assert translate_underscore({"_transactional": None}) == {}
    with pytest.raises(InvalidOption, match="_transactional"):
        translate_underscore({"_transactional": "no"})


Checker = Callable[[Any], Any]


@pytest.mark.parametrize("check", [check_name, check_route, check_tags, check_headers, check_retry, check_timeout])
@given(value=st.text() | st.integers() | st.floats() | st.binary() | st.lists(st.text() | st.none()) | st.none())
def test_any_value_is_taken_or_refused_as_an_option(check: Checker, value: Any) -> None:
    fields = {check_name: "name", check_route: "route", check_tags: "tags", check_headers: "headers"}
    try:
        check(value)
    except InvalidOption as error:
        refused = error.field
    else:
        return
    assert refused == fields.get(check, refused) != ""
