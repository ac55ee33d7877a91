"""Bad input at the call: one clear error each, which names the field and echoes nothing; and nothing is stored.

The letters are those of the list of bad inputs (B1, B7, B13, B49 to B52, B68 to B73); B16 and B17 follow the table.
"""

from __future__ import annotations

import math
import socket
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import deferq
from deferq import (
    Deferq,
    DeferqError,
    InvalidName,
    InvalidOption,
    InvalidUrl,
    NaiveDatetime,
    NotDeferrable,
    NotSerializable,
    PayloadTooLargeError,
    PermanentTaskFailure,
    Queue,
    RetryPolicy,
    ScheduleError,
    TaskAlreadyExistsError,
    TaskFailed,
    TombstonedTaskError,
    UnknownQueueError,
    deferrable,
)
from deferq.errors import NoTransaction, NotTransactional, TargetNotAllowed
from deferq.runtime.worker import Worker
from tests.support import sample_tasks
from tests.support.sample_tasks import Account, Hostile, add, note

WAIT_S = 10
#: Stands in bad values, and must not stand in messages.
SECRET = "hunter2"
LIMIT = 1024 * 1024


class Silent(tzinfo):
    """A zone that does not say what it is."""

    def utcoffset(self, when: datetime | None) -> None:
        return None


class Broken(tzinfo):
    """A zone whose data is missing."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        raise LookupError(SECRET)


def nested() -> Any:
    def inner() -> None: ...

    class Inner:
        def method(self) -> None: ...

    return inner, Inner, Inner().method


def counting() -> Iterator[int]:
    yield 1


def row() -> sqlite3.Row:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    found: sqlite3.Row = connection.execute("select ? as password", (SECRET,)).fetchone()
    return found


class Bad(NamedTuple):
    """One bad input."""

    #: Does it, with an application that has a payload limit and a queue `mail`.
    do: Callable[[Deferq], object]
    error: type[Exception]
    #: What the message says: the field, the path or the name.
    says: str
    #: The `field`, `path` or other attribute of the error.
    attributes: dict[str, object] = {}  # noqa: RUF012


def called(fn: Any, says: str) -> Bad:
    return Bad(lambda app: app.defer(fn), NotDeferrable, says)


def argument(make: Callable[[], Any], type_name: str) -> list[Bad]:
    """The same value in two places, each named."""
    return [
        Bad(
            lambda app: app.defer(note, 1, make()),
            NotSerializable,
            r"args\[1\]",
            {"path": "args[1]", "type_name": type_name},
        ),
        Bad(
            lambda app: app.defer(note, key={"a": [0, make()]}),
            NotSerializable,
            r"kwargs\['key'\]",
            {"path": "kwargs['key']['a'][1]", "type_name": type_name},
        ),
    ]


def option(error: type[Exception], field: str, value: object, says: str = "", **more: object) -> list[Bad]:
    """A value of an option through every door that takes it."""
    options: Any = {field: value, **more}
    attributes = {"field": field} if issubclass(error, InvalidOption) else {}
    says = says or field
    return [
        Bad(lambda app: app.call(note, 1).defer(**options), error, says, attributes),
        Bad(
            lambda app: app.defer_many([app.call(note, 1), app.call(note, 1).with_options(**options)]),
            error,
            says,
            attributes,
        ),
    ]


def underscore(error: type[Exception], keyword: str, value: object) -> Bad:
    says = {"_queue": "queue", "_name": "name", "_countdown": "countdown", "_eta": "eta", "_target": "route"}[keyword]
    return Bad(lambda app: app.defer(note, 1, **{keyword: value}), error, says, {"field": says})


NOW = datetime.now(UTC)
QUEUES = [
    "a\n",
    "",
    "x" * 101,
    "../x",
    "ｄｅｆａｕｌｔ",
    "a;drop table",
    "'",
    '"',
    "%s",
    "{}",
    f"{SECRET} ",
    5,
    b"mail",
    True,
]
NAMES = ["a/b", "x" * 501, "\N{GRINNING FACE}", "trailing\n", "", "a b", f"{SECRET}!", 5, b"a", "é", "a\0"]

TABLE: dict[str, list[Bad]] = {
    "B1 what no other process can find": [
        called(lambda: None, "lambda"),
        called(nested()[0], "inner is defined inside the function nested"),
        called(nested()[1], "Inner is defined inside"),
        called(nested()[2], "defined inside"),
        called(partial(lambda: None), "lambda"),
        called(partial(nested()[0], 1), "defined inside"),
        called(counting, "generator function"),
        called(counting(), "generator"),
        called(None, "None cannot be called"),
        called(5, "int cannot be called"),
        called(SECRET, "str cannot be called"),
        called(sys, "module"),
        called([add], "list cannot be called"),
    ],
    "B7 what exists in this process only": [
        *argument(tempfile.TemporaryFile, "_io.BufferedRandom"),
        *argument(socket.socket, "socket.socket"),
        *argument(threading.Lock, "_thread.lock"),
        *argument(counting, "generator"),
        *argument(row, "sqlite3.Row"),
        *argument(lambda: sys, "module"),
        *argument(lambda: lambda: None, "function"),
        Bad(lambda app: app.defer(note, nested()[1]()), NotSerializable, r"args\[0\].*defined inside a function"),
    ],
    "B13 a byte too much": [
        Bad(lambda app: app.defer(note, SECRET + "x" * LIMIT), PayloadTooLargeError, "1,048,576", {"limit": LIMIT}),
        Bad(
            lambda app: app.defer_many([app.call(note, 1), app.call(note, b"x" * LIMIT)]),
            PayloadTooLargeError,
            "arguments",
        ),
    ],
    "the wrong arguments": [
        Bad(lambda app: app.defer(add), TypeError, "add"),
        Bad(lambda app: app.defer(add, 1, 2, SECRET), TypeError, "add"),
        Bad(lambda app: app.defer(add, 1, c=SECRET), TypeError, "'c'"),
        Bad(lambda app: app.defer(add, 1, _contdown=SECRET), TypeError, "Did you mean '_countdown'"),
        Bad(lambda app: app.defer(add, 1, countdown=SECRET), TypeError, "Did you mean '_countdown'"),
        Bad(lambda app: app.call(add).defer(), TypeError, "add"),
        Bad(lambda app: app.defer_many([app.call(add, 1), app.call(add)]), TypeError, "add"),
    ],
    "B49 a time without a zone": [
        *option(NaiveDatetime, "eta", datetime(2030, 1, 1)),
        *option(NaiveDatetime, "eta", datetime(2030, 1, 1, tzinfo=Silent())),
        *option(NaiveDatetime, "expires", datetime(2030, 1, 1)),
        underscore(NaiveDatetime, "_eta", datetime(2030, 1, 1)),
    ],
    "B50 two times, or no time": [
        *option(ScheduleError, "eta", NOW, "eta and countdown", countdown=5),
        *(
            bad
            for value in (math.nan, math.inf, -math.inf, True, "60", SECRET, 10**400)
            for bad in option(ScheduleError, "countdown", value)
        ),
        *(bad for value in (math.nan, True, "60", -1) for bad in option(ScheduleError, "expires", value)),
        *(bad for value in (math.nan, True, "60", -1) for bad in option(ScheduleError, "timeout", value)),
        *option(InvalidOption, "timeout", 0),
        *(underscore(ScheduleError, "_countdown", value) for value in (math.nan, True, "60")),
    ],
    "B51 times that cannot be stored": [
        *option(ScheduleError, "eta", datetime(1, 1, 1, tzinfo=UTC)),
        *option(ScheduleError, "eta", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        *option(ScheduleError, "eta", "2030-01-01"),
        *option(ScheduleError, "countdown", 1e300),
        *option(ScheduleError, "countdown", timedelta.max),
    ],
    "B52 a zone without data": [*option(ScheduleError, "eta", datetime(2030, 1, 1, tzinfo=Broken()))],
    "B68 queue names": [
        *(bad for value in QUEUES for bad in option(InvalidName, "queue", value)),
        *(underscore(InvalidName, "_queue", value) for value in QUEUES),
        *(
            Bad(lambda app, value=value: Deferq("memory://", queues={value: Queue()}), InvalidName, "queue")
            for value in QUEUES
        ),
        *(Bad(lambda app, value=value: app.worker(queues=(value,)), InvalidName, "queue") for value in QUEUES),
    ],
    "B69 task names": [
        *(bad for value in NAMES for bad in option(InvalidName, "name", value)),
        *(underscore(InvalidName, "_name", value) for value in NAMES),
    ],
    "B71 an undeclared queue": [
        *option(UnknownQueueError, "queue", "mial", "Did you mean 'mail'"),
        *option(UnknownQueueError, "queue", "zzz", "use one of: mail"),
        Bad(lambda app: app.defer(Account(1).close, "moved"), UnknownQueueError, "'index' is not declared"),
    ],
    "B72 priorities": [
        bad
        for value in ("high", 2**40, math.nan, True, 101, -101, 1.0, SECRET)
        for bad in option(InvalidOption, "priority", value)
    ],
    "B73 policies and workers": [
        *(
            Bad(
                lambda app, given=given: RetryPolicy(**given),
                InvalidOption,
                next(iter(given)),
                {"field": next(iter(given))},
            )
            for given in (
                {"max_attempts": 0},
                {"max_attempts": -1},
                {"max_attempts": 10**9},
                {"max_attempts": True},
                {"max_attempts": "5"},
                {"min_backoff_s": -1},
                {"min_backoff_s": math.nan},
                {"max_backoff_s": math.inf},
                {"max_doublings": -1},
                {"max_age_s": -1},
                {"min_backoff_s": 9, "max_backoff_s": 5},
            )
        ),
        *(
            Bad(
                lambda app, given=given: app.worker(**given),
                InvalidOption,
                next(iter(given)),
                {"field": next(iter(given))},
            )
            for given in (
                {"lease_s": 0},
                {"lease_s": -1},
                {"lease_s": math.nan},
                {"poll_s": 10, "lease_s": 10},
                {"poll_s": 0},
                {"threads": 0},
                {"threads": "many"},
                {"async_slots": True},
                {"drain_s": -1},
                {"queues": ()},
            )
        ),
        *option(InvalidOption, "retry", 5),
        *option(InvalidOption, "retry", {"max_attempts": 5}),
        Bad(
            lambda app: Deferq("memory://", queues={"mail": Queue(retry=5)}), InvalidOption, "retry", {"field": "retry"}
        ),  # type: ignore[arg-type]
    ],
    "the other options": [
        *option(InvalidOption, "if_exists", SECRET, name="a"),
        *option(InvalidOption, "if_exists", "replace"),
        *option(InvalidOption, "tags", SECRET),
        *option(InvalidOption, "tags", [5]),
        *option(InvalidOption, "tags", 5),
        *option(InvalidOption, "tags", [SECRET + "\n"]),
        *option(InvalidOption, "headers", {"Authorization": SECRET}),
        *option(InvalidOption, "headers", {"X-A": f"{SECRET}\r\n"}),
        *option(InvalidOption, "headers", [SECRET]),
        *option(InvalidOption, "headers", ""),
        *option(InvalidName, "route", f"{SECRET} "),
        underscore(InvalidName, "_target", f"{SECRET} "),
        *option(InvalidOption, "contdown", 5, "Did you mean 'countdown'"),
        Bad(lambda app: app.defer(note, _url=f"http://{SECRET}/"), TargetNotAllowed, "absolute url"),
        Bad(lambda app: app.defer(note, _url=f"//{SECRET}/"), InvalidUrl, "url", {"field": "url"}),
        *option(InvalidUrl, "url", f"{SECRET}"),
        *option(InvalidUrl, "url", 5),
        Bad(lambda app: deferrable(url=SECRET), InvalidUrl, "url", {"field": "url"}),
        Bad(lambda app: app.defer(note, _transactional=True), NoTransaction, "_transactional"),
        Bad(lambda app: app.call(note).defer(within=SECRET), NotTransactional, "within"),
        Bad(lambda app: app.call(note).defer(within=[SECRET]), NotTransactional, "within"),
    ],
}

CASES = [pytest.param(bad, id=f"{kind}-{number}") for kind, bads in TABLE.items() for number, bad in enumerate(bads)]


@pytest.fixture
def small_app(make_app: Callable[..., Deferq]) -> Deferq:
    """Takes a megabyte, and declares the queue `mail`."""
    return make_app(payload_limit=LIMIT, queues={"mail": Queue()})


@pytest.mark.parametrize("bad", CASES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_bad_input_is_one_clear_error_and_nothing_is_stored(small_app: Deferq, bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.says) as caught:
        bad.do(small_app)
    error = caught.value
    assert isinstance(error, DeferqError | TypeError)
    assert {name: getattr(error, name) for name in bad.attributes} == bad.attributes
    assert SECRET not in str(error)
    assert len(str(error)) < 500
    assert str(error).endswith((".", "?", "…"))
    assert small_app.engine.queues() == []


# ---- B1: what is allowed


@pytest.mark.usefixtures("worker")
def test_a_partial_of_what_can_be_deferred_is_taken(app: Deferq) -> None:
    assert app.defer(partial(partial(add, 1), b=2)).wait(WAIT_S) == 3


# ---- B13: exactly the limit


def test_arguments_of_just_the_limit_are_taken_and_one_byte_more_is_told_with_both_sizes(small_app: Deferq) -> None:
    with pytest.raises(PayloadTooLargeError) as caught:
        small_app.defer(note, b"x" * LIMIT)
    overhead = caught.value.size - LIMIT
    small_app.defer(note, b"x" * (LIMIT - overhead))
    with pytest.raises(PayloadTooLargeError) as caught:
        small_app.defer(note, b"x" * (LIMIT - overhead + 1))
    assert (caught.value.size, caught.value.limit) == (LIMIT + 1, LIMIT)
    assert "arguments" in str(caught.value)


# ---- B16: failures without end


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("fn", "argument", "says"),
    [
        (sample_tasks.raise_chain, 10_000, "link 9999"),
        (sample_tasks.raise_long_message, 100_000_000, "xxx"),
    ],
)
def test_an_error_without_end_is_stored_cut_and_marked(
    app: Deferq, fn: Callable[[int], None], argument: int, says: str
) -> None:
    handle = app.call(fn, argument).defer(retry=RetryPolicy(max_attempts=1))
    with pytest.raises(TaskFailed, match=says):
        handle.wait(WAIT_S)
    (failure,) = handle.details().failures
    assert failure.error_type == "ValueError"
    assert "cut ...]" in failure.traceback
    assert len(failure.traceback) + len(failure.message) < 32 * 1024


@pytest.mark.usefixtures("worker")
def test_an_error_that_cannot_be_printed_is_stored_by_its_kind(app: Deferq) -> None:
    handle = app.call(sample_tasks.raise_unprintable).defer(retry=RetryPolicy(max_attempts=1))
    with pytest.raises(TaskFailed, match="Unprintable"):
        handle.wait(WAIT_S)


# ---- B17: arguments that fight back


@pytest.mark.usefixtures("worker")
def test_an_argument_that_raises_from_repr_eq_and_hash_is_deferred_and_returned(app: Deferq) -> None:
    assert type(app.defer(sample_tasks.returns, Hostile()).wait(WAIT_S)) is Hostile
    assert type(app.call(sample_tasks.returns, Hostile()).defer(tags=("a",)).wait(WAIT_S)) is Hostile
    assert type(app.defer_many([app.call(sample_tasks.returns, Hostile())])[0].wait(WAIT_S)) is Hostile


def test_such_an_argument_spoils_no_error_message(app: Deferq) -> None:
    with pytest.raises(TypeError, match="add"):
        app.defer(add, Hostile(), Hostile(), Hostile())
    with pytest.raises(NotSerializable, match=r"args\[1\]"):
        app.defer(note, Hostile(), threading.Lock())
    with pytest.raises(NotDeferrable, match="Hostile"):
        app.defer(Hostile())
    with pytest.raises(TypeError, match="with_hostile_default"):
        app.defer(sample_tasks.with_hostile_default)
    assert app.engine.queues() == []


@pytest.mark.usefixtures("worker")
def test_a_failure_with_such_an_argument_is_recorded(app: Deferq) -> None:
    handle = app.defer(sample_tasks.fail, Hostile())
    with pytest.raises(TaskFailed, match="PermanentTaskFailure"):
        handle.wait(WAIT_S)
    assert PermanentTaskFailure.__name__ in handle.details().failures[0].error_type


# ---- B70: taken names


def test_a_taken_name_is_told_with_its_task_and_nothing_more_is_stored(
    app: Deferq, start_worker: Callable[..., Worker]
) -> None:
    first = app.call(note, 1).defer(name="once")
    with pytest.raises(TaskAlreadyExistsError, match="if_exists") as taken:
        app.call(note, SECRET).defer(name="once")
    assert app.engine.counts().queues[0].ready == 1
    start_worker(app)
    first.wait(WAIT_S)
    with pytest.raises(TombstonedTaskError, match="if_exists") as buried:
        app.call(note, SECRET).defer(name="once")
    assert taken.value.task_id == buried.value.task_id == first.id
    assert SECRET not in str(taken.value) + str(buried.value)
    counts = app.engine.counts()
    assert (counts.queues[0].ready, counts.succeeded) == (0, 1)


# ---- every way in


def test_a_coroutine_gets_the_same_errors(app: Deferq) -> None:
    import asyncio

    with pytest.raises(NotDeferrable):
        asyncio.run(app.defer_async(lambda: None))
    with pytest.raises(InvalidName):
        asyncio.run(app.call(note).defer_async(queue="a b"))
    assert app.engine.queues() == []


def test_the_functions_of_the_module_give_the_same_errors(default_app: Deferq, tmp_path: Path) -> None:
    with pytest.raises(NotDeferrable):
        deferq.defer(lambda: None)
    with pytest.raises(InvalidName):
        deferq.call(note).defer(name="a b")
    with pytest.raises(NotSerializable):
        deferq.defer_many([deferq.call(note, threading.Lock())])
    assert default_app.engine.queues() == []
