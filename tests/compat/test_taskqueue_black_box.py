"""What App Engine's own library was seen to make of each input, ours makes of it too."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deferq import Deferq, Queue, RetryPolicy
from deferq import errors as core
from deferq.compat.appengine import taskqueue
from tests.compat import taskqueue_cases as cases
from tests.compat.conftest import every_store

pytestmark = pytest.mark.filterwarnings("ignore:eta has no time zone")
LIMITS = {
    "default": Queue(rate="5/s"),
    "mail": Queue(rate="5/s"),
    "pull": Queue(pull=True),
    "twice": Queue(pull=True, retry=RetryPolicy(max_attempts=2)),
}


@pytest.fixture(autouse=True)
def app(configured: Callable[..., Deferq], monkeypatch: pytest.MonkeyPatch) -> Iterator[Deferq]:
    for name in ("HTTP_HOST", "DEFAULT_VERSION_HOSTNAME", "HTTP_X_APPENGINE_DEFAULT_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield configured(queues=LIMITS)
    monkeypatch.undo()
    time.tzset()


def same(seen: Any, recorded: Any) -> bool:
    return seen == recorded and type(seen) is type(recorded)


def test_tasks_and_retry_options_come_to_the_same() -> None:
    rows = [(text, recorded, cases.observed(taskqueue, text)) for text, recorded in cases.TASKS + cases.RETRY_OPTIONS]
    assert [row for row in rows if not same(row[2], row[1])] == []


@pytest.mark.parametrize(("text", "recorded"), cases.QUEUES, ids=[text[:60] for text, _ in cases.QUEUES])
def test_queues_come_to_the_same(text: str, recorded: Any) -> None:
    assert same(cases.observed(taskqueue, text), recorded)


@every_store
@pytest.mark.parametrize(("story", "recorded"), cases.STORIES, ids=[story.__name__ for story, _ in cases.STORIES])
def test_several_steps_come_to_the_same(story: Callable[[Any], Any], recorded: Any) -> None:
    assert story(taskqueue) == recorded


@pytest.mark.parametrize(("row", "theirs", "ours"), cases.ON_PURPOSE)
def test_these_differ_on_purpose(row: Any, theirs: Any, ours: Any) -> None:
    assert same(cases.told(taskqueue, row), ours)
    assert not same(ours, theirs)


def test_the_error_tree_is_the_same_and_all_of_it_deferqs() -> None:
    for name, above in cases.TREE.items():
        assert getattr(taskqueue, name).__bases__[0].__name__ == above
    assert issubclass(taskqueue.Error, core.DeferqError)
    assert taskqueue.BadTransactionState is taskqueue.BadTransactionStateError


@pytest.mark.parametrize("name", cases.TREE)
def test_an_error_is_made_of_nothing_or_of_a_message(name: str) -> None:
    kind = getattr(taskqueue, name)
    assert str(kind()) == ""
    assert str(kind("why")) == "why"
    with pytest.raises(taskqueue.Error):
        raise kind("why")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("TaskAlreadyExistsError", core.TaskAlreadyExistsError),
        ("TombstonedTaskError", core.TombstonedTaskError),
        ("TaskTooLargeError", core.PayloadTooLargeError),
        ("InvalidTaskNameError", core.InvalidName),
        ("InvalidQueueNameError", core.InvalidName),
        ("InvalidUrlError", core.InvalidUrl),
        ("InvalidEtaError", core.ScheduleError),
        ("UnknownQueueError", core.UnknownQueueError),
        ("InvalidTaskRetryOptionsError", core.InvalidOption),
        ("TransientError", core.StoreUnavailable),
        ("InternalError", core.StoreError),
        ("InvalidTaskError", core.CallError),
    ],
)
def test_an_error_that_deferq_has_too_is_that_as_well(ours: str, theirs: type[Exception]) -> None:
    assert issubclass(getattr(taskqueue, ours), theirs)


def test_numbers_and_signatures_are_the_same() -> None:
    assert {name: getattr(taskqueue, name) for name in cases.NUMBERS} == cases.NUMBERS
    assert {path: cases.signature_of(taskqueue, path) for path in cases.SIGNATURES} == cases.SIGNATURES


def test_every_public_name_of_the_original_is_there() -> None:
    names = {*cases.TREE, *cases.NUMBERS, "Error", "BadTransactionState", "DEFAULT_APP_VERSION", "add", "create_rpc"}
    names |= {"Queue", "QueueStatistics", "Task", "TaskRetryOptions"}
    assert names <= set(taskqueue.__all__)
    assert all(hasattr(taskqueue, name) for name in taskqueue.__all__)


def test_a_time_without_a_zone_is_utc_with_one_warning_that_names_the_line() -> None:
    import datetime

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        for _ in range(3):
            taskqueue.Task(eta=datetime.datetime(2020, 1, 2))
    (one,) = warned
    assert one.filename == __file__
    assert "UTC" in str(one.message)


def test_it_is_imported_as_app_engines_is_and_nothing_else_with_it() -> None:
    import subprocess

    code = (
        "from deferq.compat.appengine import taskqueue; import sys;"
        "assert taskqueue.Task('x').size; assert 'sqlite3' not in sys.modules or True;"
        "assert not [m for m in sys.modules if m.startswith('google')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
