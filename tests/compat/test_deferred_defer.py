"""`defer`: its keywords, and what becomes of a call until it has run (section 1.3 of the facts)."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Callable as Making
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from deferq import Deferq, PermanentTaskFailure, Queue, RetryPolicy, State, StoreUnavailable, call_deferred, deferrable
from deferq import errors as core
from deferq.compat.appengine import deferred, taskqueue
from deferq.compat.appengine.deferred import deferred as module
from deferq.engines.base import Filter
from deferq.model.outcome import SUCCEEDED, Failed, Retried, Snoozed
from tests.compat import counting
from tests.compat.counting import Callable, Counter
from tests.compat.deferring import run_due, stored, stored_alone

Configure = Making[..., Deferq]
US = 1_000_000


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    counting.forget()
    monkeypatch.delenv("DEFERRED_USE_CROSS_COMPATIBLE_PICKLE_PROTOCOL", raising=False)


# ---- what comes back, and what is stored


def test_defer_returns_the_task_that_was_added(app: Deferq) -> None:
    task = deferred.defer(counting.note, 1, key=2)
    assert isinstance(task, taskqueue.Task)
    assert task.was_enqueued
    assert task.name
    assert task.queue_name == "default"
    assert task.url == "/_ah/queue/deferred"
    assert task.method == "POST"
    assert task.headers["Content-Type"] == "application/octet-stream"
    assert isinstance(task.payload, bytes)
    assert pickle.loads(task.payload) == (counting.note, (1,), {"key": 2})
    headers = sum(len(name) + len(value) + 4 for name, value in task.headers.items())
    assert task.size == len("POST") + len("/_ah/queue/deferred") + len(task.payload) + headers
    assert stored(app, task).state is State.PENDING


def test_a_deferred_call_runs_once_with_its_arguments(app: Deferq) -> None:
    deferred.defer(counting.note, 1, "two", key=3)
    assert run_due(app) == [SUCCEEDED]
    assert counting.seen == [((1, "two"), {"key": 3})]
    assert run_due(app) == []


@pytest.mark.parametrize(
    ("fn", "args", "target", "expected"),
    [
        (counting.note, (1,), "tests.compat.counting:note", (1,)),
        (Counter(10).add, (5,), "tests.compat.counting:Counter.add", ("add", 15)),
        (Counter.make, (3,), "tests.compat.counting:Counter.make", ("make", "Counter", 3)),
        (Counter.static, (4,), "tests.compat.counting:Counter.static", ("static", 4)),
        (Counter.Inner, (5,), "tests.compat.counting:Counter.Inner", ("inner", 5)),
        (Callable("called"), (6,), "tests.compat.counting:Callable", ("called", 6)),
        (counting.note_later, (7,), "tests.compat.counting:note_later", ("coroutine", 7)),
        (Counter(1).add_later, (2,), "tests.compat.counting:Counter.add_later", ("add", 3)),
    ],
)
def test_whatever_can_be_deferred_runs_and_people_see_what_it_is(
    app: Deferq, fn: Any, args: tuple[Any, ...], target: str, expected: Any
) -> None:
    task = deferred.defer(fn, *args)
    assert stored(app, task).target == target
    assert run_due(app) == [SUCCEEDED]
    assert counting.seen == [expected]


def test_a_built_in_method_is_seen_by_its_class(app: Deferq) -> None:
    assert stored(app, deferred.defer("abc".upper)).target == "builtins:str.upper"
    assert run_due(app) == [SUCCEEDED]


def test_a_callable_may_return_what_no_store_keeps(app: Deferq) -> None:
    """App Engine never looks at what it returns."""
    deferred.defer(counting.returns_what_no_store_keeps)
    assert run_due(app) == [SUCCEEDED]
    assert stored_alone(app).state is State.SUCCEEDED


def test_what_a_callable_returns_is_not_kept(app: Deferq) -> None:
    deferred.defer(counting.note, 1)
    run_due(app)
    assert app.engine.details(stored_alone(app).id).result is None


def test_the_callable_learns_how_often_it_was_tried(app: Deferq) -> None:
    retry = taskqueue.TaskRetryOptions(min_backoff_seconds=0, max_backoff_seconds=0)
    deferred.defer(counting.note, 1, _queue="mail")
    deferred.defer(counting.fail_once, "any", _retry_options=retry)
    run_due(app)
    assert counting.attempts == [(1, "mail")]


def test_nothing_is_stored_that_cannot_be_pickled(app: Deferq) -> None:
    with pytest.raises(TypeError):
        deferred.defer(counting.note, (number for number in ()))
    assert app.engine.find(Filter()).tasks == []


def test_pickles_that_somebody_adds_to_the_task_queue_are_called_as_well(app: Deferq) -> None:
    """A common way to defer many calls at once."""
    tasks = [
        taskqueue.Task(url=module._DEFAULT_URL, payload=deferred.serialize(Counter(number).add, 1))
        for number in range(3)
    ]
    taskqueue.Queue().add(tasks)
    assert stored(app, tasks[0]).target == "tests.compat.counting:Counter.add"
    assert run_due(app) == [SUCCEEDED] * 3
    assert sorted(counting.seen) == [("add", 1), ("add", 2), ("add", 3)]


# ---- keywords


def test_countdown_is_in_seconds(app: Deferq) -> None:
    before = app.engine.now()
    assert 60 * US <= stored(app, deferred.defer(counting.note, _countdown=60)).eta - before <= 70 * US


@pytest.mark.parametrize("countdown", [-1, -1e9, 0, -0.5])
def test_a_negative_countdown_is_now(app: Deferq, countdown: float) -> None:
    before = app.engine.now()
    assert stored(app, deferred.defer(counting.note, _countdown=countdown)).eta >= before
    assert run_due(app) == [SUCCEEDED]


def test_an_aware_eta_is_that_instant(app: Deferq) -> None:
    at = datetime.now(timezone(timedelta(hours=-5))) + timedelta(hours=1)
    assert stored(app, deferred.defer(counting.note, _eta=at)).eta == round(at.timestamp() * US)


def test_a_naive_eta_is_utc_with_one_warning_wherever_the_machine_stands(
    app: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        at = datetime.now(UTC).replace(microsecond=0, tzinfo=None) + timedelta(hours=1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            task = deferred.defer(counting.note, _eta=at)
        assert stored(app, task).eta == round(at.replace(tzinfo=UTC).timestamp() * US)
        (warning,) = caught
        assert "UTC" in str(warning.message)
        assert warning.filename == __file__
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_large_call_with_a_naive_eta_warns_once_as_well(app: Deferq) -> None:
    at = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        deferred.defer(counting.note, b"x" * 200_000, _eta=at)
    assert len(caught) == 1


def test_a_name_is_the_tasks_name_and_a_task_without_one_gets_one(app: Deferq) -> None:
    named, nameless = deferred.defer(counting.note, _name="welcome-1"), deferred.defer(counting.note)
    assert (named.name, stored(app, named).name) == ("welcome-1", "welcome-1")
    assert nameless.name
    assert stored(app, nameless).name is None


def test_a_queue_is_the_tasks_queue(app: Deferq) -> None:
    task = deferred.defer(counting.note, _queue="mail")
    assert (task.queue_name, stored(app, task).queue) == ("mail", "mail")


def test_a_target_is_the_tasks_route(app: Deferq) -> None:
    assert stored(app, deferred.defer(counting.note, _target="backend")).route == "backend"
    assert stored(app, deferred.defer(counting.note)).route is None


def test_headers_are_merged_over_the_default_and_the_callers_win(app: Deferq) -> None:
    plain, own = (
        deferred.defer(counting.note, _headers=headers) for headers in ({"X-Shop": "7"}, {"Content-Type": "text/x"})
    )
    assert plain.headers["Content-Type"] == "application/octet-stream"
    assert dict(stored(app, plain).options.headers) == {"X-Shop": "7"}
    assert own.headers["Content-Type"] == "text/x"
    assert dict(stored(app, own).options.headers) == {"Content-Type": "text/x"}


def test_retry_options_become_the_tasks_policy(app: Deferq) -> None:
    options = taskqueue.TaskRetryOptions(task_retry_limit=4, min_backoff_seconds=2, max_backoff_seconds=9)
    retry = stored(app, deferred.defer(counting.note, _retry_options=options)).options.retry
    assert (retry.max_attempts, retry.min_backoff_s, retry.max_backoff_s) == (5, 2, 9)
    ours = RetryPolicy(max_attempts=2)
    assert stored(app, deferred.defer(counting.note, _retry_options=ours)).options.retry == ours


def test_without_retry_options_it_is_tried_25_times_and_then_kept_as_dead(app: Deferq) -> None:
    assert stored(app, deferred.defer(counting.note)).options.retry.max_attempts == 25


@pytest.mark.parametrize("url", [None, "", "/_ah/queue/deferred", "/_ah/queue/mail"])
def test_the_default_urls_mean_that_it_is_called(app: Deferq, url: str | None) -> None:
    task = deferred.defer(counting.note, _url=url, _queue="mail")
    assert stored(app, task).url is None
    assert run_due(app) == [SUCCEEDED]


def test_another_url_is_a_path_to_which_it_is_delivered(app: Deferq) -> None:
    task = deferred.defer(counting.note, 1, _url="/custom/path")
    assert (task.url, stored(app, task).url) == ("/custom/path", "/custom/path")


def test_every_other_keyword_goes_to_the_callable(app: Deferq) -> None:
    deferred.defer(counting.note, countdown=3, queue="q", method="GET", name="n", obj_=1)
    deferred.defer(counting.note, _foo=3, _method="GET", _dispatch_deadline_usec=1)
    deferred.defer(counting.note_one, 1, _foo=3)
    assert run_due(app) == [SUCCEEDED] * 3
    assert counting.seen == [
        ((), {"countdown": 3, "queue": "q", "method": "GET", "name": "n", "obj_": 1}),
        ((), {"_foo": 3, "_method": "GET", "_dispatch_deadline_usec": 1}),
        (1, 3),
    ]


@pytest.mark.parametrize(
    ("fn", "keyword", "meant"),
    [
        (counting.note_one, "_contdown", "_countdown"),
        (counting.note_one, "_queu", "_queue"),
        (counting.note_one, "_transactionl", "_transactional"),
        (counting.note, "_contdown", "_countdown"),
        (counting.note, "_retry_option", "_retry_options"),
        (Counter(1).add, "_etaa", "_eta"),
    ],
)
def test_a_misspelt_option_is_refused_with_the_one_that_was_meant(
    app: Deferq, fn: Any, keyword: str, meant: str
) -> None:
    with pytest.raises(TypeError, match=f"'{keyword}'.*Did you mean '{meant}'"):
        deferred.defer(fn, 1, **{keyword: 60})
    assert app.engine.find(Filter()).tasks == []


def test_an_underscore_that_the_callable_does_not_take_is_refused(app: Deferq) -> None:
    with pytest.raises(TypeError, match=r"'_nonsense'.*There are: _countdown"):
        deferred.defer(counting.note_one, 1, _nonsense=60)


def test_a_plain_keyword_that_the_callable_does_not_take_shows_when_it_runs(app: Deferq) -> None:
    deferred.defer(counting.note_one, 1, countdown=3)
    (outcome,) = run_due(app)
    assert isinstance(outcome, Failed)
    assert not outcome.permanent
    assert outcome.error.error_type == "TypeError"


# ---- options that make no sense


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"_countdown": 1, "_eta": datetime(2030, 1, 1, tzinfo=UTC)}, taskqueue.InvalidTaskError),
        ({"_countdown": 31 * 86_400}, taskqueue.InvalidEtaError),
        ({"_countdown": "soon"}, taskqueue.InvalidTaskError),
        ({"_eta": "tomorrow"}, taskqueue.InvalidTaskError),
        ({"_queue": "no such queue!"}, taskqueue.InvalidQueueNameError),
        ({"_name": "no such name!"}, taskqueue.InvalidTaskNameError),
        ({"_url": "https://elsewhere.example/"}, taskqueue.InvalidUrlError),
        ({"_url": "/a?b=c"}, taskqueue.InvalidTaskError),
        ({"_transactional": True}, taskqueue.BadTransactionStateError),
        ({"_target": "v1", "_headers": {"Host": "v2.example"}}, taskqueue.InvalidTaskError),
    ],
)
def test_options_that_make_no_sense_are_the_task_queues_errors(
    app: Deferq, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        deferred.defer(counting.note, **options)
    assert type(caught.value) is error
    assert app.engine.find(Filter()).tasks == []


def test_a_queue_is_unknown_only_where_queues_are_declared(configured: Configure) -> None:
    configured()
    deferred.defer(counting.note, _queue="mail")
    configured(queues={"other": Queue()})
    with pytest.raises(taskqueue.UnknownQueueError):
        deferred.defer(counting.note, _queue="mail")
    deferred.defer(counting.note, _queue="other")
    deferred.defer(counting.note)


def test_a_name_is_taken_while_its_task_lives_and_afterwards(app: Deferq) -> None:
    deferred.defer(counting.note, _name="once")
    with pytest.raises(taskqueue.TaskAlreadyExistsError):
        deferred.defer(counting.note, _name="once")
    run_due(app)
    with pytest.raises(taskqueue.TombstonedTaskError):
        deferred.defer(counting.note, _name="once")
    assert len(app.engine.find(Filter()).tasks) == 1


def test_a_store_that_cannot_be_written_is_a_transient_error(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(tasks: object) -> None:
        raise StoreUnavailable("no disk")

    monkeypatch.setattr(app.engine, "put", refuse)
    with pytest.raises(taskqueue.TransientError):
        deferred.defer(counting.note)


# ---- how a task ends


@pytest.mark.parametrize("kind", ["permanent", "core permanent"])
def test_a_permanent_failure_ends_the_task_and_it_is_kept_as_dead(app: Deferq, kind: str) -> None:
    deferred.defer(counting.fail, kind)
    run_due(app)
    task = stored_alone(app)
    assert (task.state, task.reason) == (State.DEAD, "permanent")
    assert app.engine.details(task.id).failures[0].message == "no such user"


@pytest.mark.parametrize(("kind", "outcome"), [("singular", Retried), ("core retry", Retried), ("snooze", Snoozed)])
def test_a_singular_failure_is_tried_again_quietly(app: Deferq, kind: str, outcome: type) -> None:
    deferred.defer(counting.fail, kind)
    assert [type(one) for one in run_due(app)] == [outcome]
    assert stored_alone(app).state is State.PENDING


def test_any_other_error_is_tried_again_with_its_traceback_kept(app: Deferq) -> None:
    deferred.defer(counting.fail, "any")
    run_due(app)
    task = stored_alone(app)
    assert task.state is State.PENDING
    assert "ZeroDivisionError" in app.engine.details(task.id).failures[0].traceback


@pytest.mark.parametrize("body", [b"", b"garbage", pickle.dumps(7)])
def test_a_body_that_cannot_be_restored_is_kept_as_dead(app: Deferq, body: bytes) -> None:
    taskqueue.add(url="/_ah/queue/deferred", payload=body)
    run_due(app)
    task = stored_alone(app)
    assert (task.state, task.reason) == (State.DEAD, "corrupt")
    assert task.target == "deferq.compat.appengine.deferred.deferred:run"


def test_an_argument_that_cannot_be_restored_is_kept_as_dead(app: Deferq) -> None:
    deferred.defer(counting.note, counting.Unrestorable())
    run_due(app)
    assert (stored_alone(app).state, stored_alone(app).reason) == (State.DEAD, "corrupt")


def test_a_function_that_this_release_has_not_is_left_to_one_that_has(
    app: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    """App Engine's library would lose it."""
    deferred.defer(counting.note, 1)
    with monkeypatch.context() as older:
        older.delattr(counting, "note")
        run_due(app)
        task = stored_alone(app)
        assert (task.state, task.parks, task.attempts) == (State.PENDING, 1, 0)
    app.engine.wake()
    assert run_due(app) == [SUCCEEDED]


# ---- beside the rest of deferq


@deferrable(queue="declared", retry=RetryPolicy(max_attempts=3), timeout=30, tags=("signup",))
def declared(value: int) -> None:
    counting.seen.append(value)


@call_deferred(queue="declared")
def deferring(value: int) -> None:
    counting.seen.append(value)


def test_what_was_declared_for_the_callable_counts_unless_the_call_says_more(app: Deferq) -> None:
    task = stored(app, deferred.defer(declared, 1))
    options = task.options
    assert (task.queue, options.retry.max_attempts, options.timeout_s, options.tags) == ("declared", 3, 30, ("signup",))
    once = taskqueue.TaskRetryOptions(task_retry_limit=0)
    task = stored(app, deferred.defer(declared, 1, _queue="mail", _retry_options=once))
    assert (task.queue, task.options.retry.max_attempts) == ("mail", 1)


def test_a_function_whose_call_defers_it_is_run_and_not_deferred_for_ever(app: Deferq) -> None:
    deferred.defer(deferring, 7)
    assert run_due(app) == [SUCCEEDED]
    assert counting.seen == [7]
    assert run_due(app) == []


def test_context_that_is_carried_travels_along(configured: Configure) -> None:
    from contextvars import ContextVar

    language: ContextVar[str] = ContextVar("language")
    seen: list[str] = []
    app = configured(carry=[_Carried(language, seen)])
    language.set("fr")
    deferred.defer(counting.note, 1)
    deferred.defer(counting.note, b"x" * 200_000)
    language.set("de")
    assert run_due(app) == [SUCCEEDED] * 2
    assert seen == ["fr", "fr"]


def _Carried(language: Any, seen: list[str]) -> Any:
    from deferq import Carried

    return Carried("language", language.get, seen.append)


def test_the_allow_list_holds(configured: Configure) -> None:
    configured(allow=["somewhere.else."])
    with pytest.raises(taskqueue.InvalidTaskError, match="allow-list") as caught:
        deferred.defer(counting.note, 1)
    assert type(caught.value) is taskqueue.InvalidTaskError
    app = configured(allow=["tests.", "deferq.compat."])
    deferred.defer(Counter(1).add, 1)
    deferred.defer(counting.note, b"x" * 200_000)
    assert run_due(app) == [SUCCEEDED] * 2


def test_an_application_that_reads_json_alone_is_told_so(configured: Configure) -> None:
    configured(payload="json")
    with pytest.raises(core.CodecNotAllowed, match="payload_accept"):
        deferred.defer(counting.note, 1)
    app = configured(payload="json", payload_accept=["json", "pickle"])
    deferred.defer(counting.note, 1)
    assert run_due(app) == [SUCCEEDED]


def test_permanent_failures_are_one_class_for_both() -> None:
    with pytest.raises(PermanentTaskFailure):
        counting.fail("permanent")
