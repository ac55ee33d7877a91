"""What is stored with a task, how people read it, and which names and priorities there are."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deferq.errors import InvalidName, InvalidOption
from deferq.model.checks import check_priority, check_task_name
from deferq.model.queue import check_queue_name
from deferq.model.retry import RetryPolicy
from deferq.model.state import State
from deferq.model.task import DEFAULT_OPTIONS, EPOCH_2020_US, ID_RANDOM_BITS, Options, Task, decode_options
from tests.support import START, US

SECONDS = st.floats(0, 1e9, allow_nan=False)
POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.none() | st.integers(1, 1_000_000),
    min_backoff_s=st.floats(0, 1_000),
    max_backoff_s=st.floats(1_000, 1e9),
    max_doublings=st.integers(0, 64),
    max_age_s=st.none() | SECONDS,
    jitter=st.booleans(),
)
OPTIONS = st.builds(
    Options,
    retry=POLICIES | st.just(RetryPolicy()),
    timeout_s=st.none() | SECONDS,
    tags=st.lists(st.text(), max_size=4).map(tuple),
    headers=st.lists(st.tuples(st.text(), st.text()), max_size=4).map(tuple),
)
TASK = Task(
    id=(START - EPOCH_2020_US) << ID_RANDOM_BITS | 99,
    queue="default",
    target="app:work",
    state=State.PENDING,
    priority=0,
    eta=START,
    leasable_at=START,
    first_due=START,
    attempts=0,
    starts=0,
    parks=0,
    expires_at=None,
    name=None,
    route=None,
    url=None,
    options=DEFAULT_OPTIONS,
    lease_id=None,
    cancel_requested=False,
    finished_at=None,
    reason=None,
    payload_bytes=0,
)


@given(OPTIONS)
def test_options_come_back_from_the_store_as_they_were(options: Options) -> None:
    assert decode_options(options.encode()) == options


@given(OPTIONS)
def test_only_what_differs_from_the_defaults_is_stored(options: Options) -> None:
    assume(options != DEFAULT_OPTIONS)
    text = options.encode()
    assert text is not None
    document = json.loads(text)
    assert {field for field in Options.__slots__ if getattr(options, field) != getattr(DEFAULT_OPTIONS, field)} == set(
        document
    )


def test_the_default_options_cost_nothing() -> None:
    assert Options().encode() is None
    assert decode_options(None) == Options()


def test_an_explicit_none_is_not_mistaken_for_the_default() -> None:
    retry = RetryPolicy(max_attempts=None, max_age_s=60)
    assert decode_options(Options(retry=retry).encode()).retry.max_attempts is None


def test_fields_of_a_newer_deferq_are_passed_over() -> None:
    text = '{"retry":{"max_attempts":3,"from_the_future":1},"timeout_s":5,"also_new":[1,2]}'
    assert decode_options(text) == Options(retry=RetryPolicy(max_attempts=3), timeout_s=5)


# ---- names and priorities (B68, B69, B72)

BAD_EVERYWHERE: list[object] = [
    "",
    "a\n",
    "\na",
    "a b",
    "../x",
    "a/b",
    "a.b",
    "ｄｅｆａｕｌｔ",
    "ümlaut",
    "a;drop table",
    "'",
    '"',
    "%s",
    "{}",
    "\x00",
    "a\x00",
    "\U0001f600",
    "٣",
    None,
    7,
    b"default",
    ["default"],
]


@pytest.mark.parametrize("name", ["default", "a", "A-b_9", "-", "0", "x" * 100])
def test_a_queue_name_of_letters_digits_dashes_and_underscores_is_fine(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize("name", [*BAD_EVERYWHERE, "x" * 101])
def test_any_other_queue_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidName) as caught:
        check_queue_name(name)
    assert caught.value.field == "queue"


@pytest.mark.parametrize("name", ["welcome-42", "a", "-", "x" * 500])
def test_a_task_name_of_letters_digits_dashes_and_underscores_is_fine(name: str) -> None:
    assert check_task_name(name) == name


@pytest.mark.parametrize("name", [*BAD_EVERYWHERE, "x" * 501])
def test_any_other_task_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidName) as caught:
        check_task_name(name)
    assert caught.value.field == "name"


@pytest.mark.parametrize("check", [check_queue_name, check_task_name])
def test_a_refused_name_is_not_echoed(check: type) -> None:
    with pytest.raises(InvalidName) as caught:
        check("secret token")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("priority", [-100, -1, 0, 1, 100])
def test_a_priority_is_a_whole_number_from_minus_to_plus_a_hundred(priority: int) -> None:
    assert check_priority(priority) == priority


@pytest.mark.parametrize("priority", ["high", "1", 2**40, -101, 101, math.nan, 1.0, True, False, None])
def test_any_other_priority_is_refused(priority: object) -> None:
    with pytest.raises(InvalidOption, match="priority") as caught:
        check_priority(priority)
    assert caught.value.field == "priority"


# ---- reading a task


def test_the_time_a_task_was_made_is_read_from_its_id() -> None:
    assert TASK.created_at == START


@pytest.mark.parametrize(
    ("changes", "reading"),
    [
        ({}, "ready"),
        ({"attempts": 2}, "ready"),
        ({"leasable_at": START + US}, "scheduled"),
        ({"leasable_at": START + US, "attempts": 1}, "retrying"),
        ({"leasable_at": START + US, "parks": 1}, "parked"),
        ({"parks": 1}, "parked"),
        ({"state": State.LEASED, "leasable_at": START + US}, "leased"),
        ({"state": State.LEASED}, "stalled"),
        ({"state": State.SUCCEEDED}, "succeeded"),
        ({"state": State.DEAD}, "dead"),
        ({"state": State.CANCELLED}, "cancelled"),
    ],
)
def test_a_state_is_read_as_people_say_it(changes: dict[str, object], reading: str) -> None:
    assert replace(TASK, **changes).reading(START) == reading


def test_finished_are_the_states_from_which_nothing_moves_by_itself() -> None:
    assert {state for state in State if state.finished} == {State.SUCCEEDED, State.DEAD, State.CANCELLED}
