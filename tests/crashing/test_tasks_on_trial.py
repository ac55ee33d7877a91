"""Which tasks pass, and which do not, and what is said of those."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deferq import Call, RetryPolicy, call
from deferq.testing import Effects, NotIdempotent, assert_idempotent
from tests.crashing import shop

CUSTOMER = "mail('customer of 17')"


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Effects:
    mails = Effects()
    monkeypatch.setattr(shop, "send_mail", mails.recorder("mail"))
    return mails


@pytest.mark.parametrize(
    "task",
    [
        shop.book_once,
        shop.book_once_later,
        slow(shop.set_balance),
        slow(shop.book_at_third_attempt),
        slow(shop.book_after_a_nap),
        slow(shop.refuse),
        shop.defer_by_name,
        slow(shop.forgotten_connections),
    ],
    ids=lambda task: task.__name__,
)
def test_a_task_that_may_be_repeated_passes(task: Callable[[int], object], database: Path) -> None:
    trials = assert_idempotent(task, 17, database=database)
    assert trials.killed_at == list(range(1, len(trials.points) + 1))


@pytest.fixture
def own_file(database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the application is that of its store, too."""
    monkeypatch.setenv("DEFERQ_URL", f"sqlite:///{database}")
    return database


@pytest.mark.parametrize("task", [shop.book_and_roll_back_once, slow(shop.book_and_settle)])
def test_an_effect_that_settles_with_its_task_needs_no_look_whether_it_is_done(
    task: Callable[[int], object], own_file: Path
) -> None:
    if task is shop.book_and_settle:  # what it defers after its success may be missing, and that shows
        with pytest.raises(NotIdempotent, match="nobody") as raised:
            assert_idempotent(task, 17, database=own_file)
        assert "balance" not in str(raised.value)
        assert "customer" not in str(raised.value)
    else:
        trials = assert_idempotent(task, 17, database=own_file)
        assert trials.killed_at == list(range(1, len(trials.points) + 1))


def test_a_success_that_is_there_before_its_effect_is_noticed(own_file: Path) -> None:
    with pytest.raises(NotIdempotent, match="balance"):
        assert_idempotent(shop.settle_too_early, 17, database=own_file)


@pytest.mark.parametrize(
    "task",
    [
        call(shop.Till(17).book),
        call(shop.book_once, bill=17).with_options(queue="books", priority=7),
        slow(call(partial(shop.book_once, 17))),
        slow(shop.book_deferred.call(17)),
    ],
    ids=["method", "options", "partial", "call_deferred"],
)
def test_whatever_can_be_deferred_can_be_tried(task: Call[None], database: Path) -> None:
    assert len(assert_idempotent(task, database=database, only=2).points) == 3


@pytest.mark.parametrize(
    ("task", "only", "at", "says"),
    [
        (shop.insert_twice, 2, "after the commit", "+ (id=2, bill=17, amount=10)"),
        (shop.two_commits, 2, "after the commit", "~ (id=1): balance is 80, and should be 90"),
        (shop.two_commits_around_an_await, 3, "in the await", "~ (id=1): balance is 80, and should be 90"),
        (shop.pull_through, 3, "at the fault point 'in between'", "~ (id=1): balance is 80, and should be 90"),
        (
            shop.defer_without_name,
            None,
            "after the commit",
            "deferred twice instead of once: tests.crashing.shop:book_once",
        ),
        (shop.count_up_by_a_function, 2, "after the commit", "~ (id=1): balance is 102, and should be 101"),
        slow(shop.count_up, None, "after the commit", "~ (id=1): balance is 102, and should be 101"),
        slow(shop.guard_first, None, "after the commit", "~ (id=1): balance is 100, and should be 90"),
        slow(shop.own_connection, None, "after the commit", "+ (id=2, bill=17, amount=1)"),
        slow(shop.in_a_thread, None, "after the commit", "+ (id=2, bill=17, amount=10)"),
        slow(shop.defer_and_raise, None, "after the commit", "TaskAlreadyExistsError: Task "),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_task_that_must_not_be_repeated_is_caught(
    task: Callable[[int], object], only: int | None, at: str, says: str, database: Path
) -> None:
    with pytest.raises(NotIdempotent) as caught:
        assert_idempotent(task, 17, database=database, only=only)
    told = str(caught.value)
    assert f"{task.__name__}(17) is not idempotent" in told
    assert says in told
    assert any(str(broke.point).startswith(at) for broke in caught.value.trials.broke)


def test_the_message_names_the_line_and_how_to_see_one_point_alone(database: Path) -> None:
    with pytest.raises(NotIdempotent) as caught:
        assert_idempotent(shop.two_commits, 17, database=database, only=2)
    assert caught.value.trials.killed_at == [2]
    told = str(caught.value)
    line = 1 + Path(shop.__file__).read_text().split("def two_commits(")[0].count("\n") + 5
    assert (
        f"  2. after the commit at tests/crashing/shop.py:{line} in two_commits\n         database.commit()\n" in told
    )
    assert told.endswith("only=2.")


def test_a_mail_that_is_sent_before_the_commit_is_sent_twice(database: Path, mails: Effects) -> None:
    with pytest.raises(NotIdempotent, match="did twice instead of once: mail") as caught:
        assert_idempotent(shop.mail_before_commit, 17, database=database, effects=mails)
    assert [broke.point.kind for broke in caught.value.trials.broke] == ["before the commit"]
    assert caught.value.trials.broke[0].lines == [f"did twice instead of once: {CUSTOMER}"]


def test_a_mail_that_is_sent_after_the_commit_is_lost(database: Path, mails: Effects) -> None:
    with pytest.raises(NotIdempotent) as caught:
        assert_idempotent(shop.mail_after_commit, 17, database=database, effects=mails)
    assert [broke.point.kind for broke in caught.value.trials.broke] == [
        "after the commit",
        "at the fault point 'before the mail'",
    ]
    assert caught.value.trials.broke[0].lines == [f"did never instead of once: {CUSTOMER}"]


def test_effects_that_may_come_twice_must_not_be_missing_either(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mails = Effects(repeats=True)
    monkeypatch.setattr(shop, "send_mail", mails.recorder("mail"))
    assert_idempotent(shop.mail_before_commit, 17, database=database, effects=mails, only=1)
    with pytest.raises(NotIdempotent, match="never instead of once"):
        assert_idempotent(shop.mail_after_commit, 17, database=database, effects=mails, only=2)


def test_an_await_inside_another_task_of_the_loop_is_a_point_too(database: Path, mails: Effects) -> None:
    with pytest.raises(NotIdempotent, match="did twice instead of once") as caught:
        assert_idempotent(shop.mail_in_another_task, 17, database=database, effects=mails)
    assert "in mail" in str(caught.value)


def test_what_is_named_in_ignore_may_differ(database: Path) -> None:
    with pytest.raises(NotIdempotent):
        assert_idempotent(shop.two_commits, 17, database=database, only=2)
    assert_idempotent(shop.two_commits, 17, database=database, only=2, ignore=["account.balance"])


def test_the_key_of_a_row_that_is_inserted_twice_may_be_ignored_and_the_row_still_shows(database: Path) -> None:
    with pytest.raises(NotIdempotent, match=r"\+ \(bill=17, amount=10\)"):
        assert_idempotent(shop.insert_twice, 17, database=database, ignore=["payment.id"], only=2)


def test_a_kill_spends_an_attempt_as_a_lost_worker_does(database: Path) -> None:
    tight = call(shop.book_at_third_attempt, 17).with_options(retry=RetryPolicy(max_attempts=3))
    with pytest.raises(NotIdempotent, match="the task is dead"):
        assert_idempotent(tight, database=database, only=3)


@pytest.mark.slow
def test_a_new_process_for_each_run_finds_the_same(database: Path) -> None:
    with pytest.raises(NotIdempotent) as caught:
        assert_idempotent(shop.count_up, 17, database=database, start="spawn")
    assert [broke.point.number for broke in caught.value.trials.broke] == [2, 3]


def test_a_second_run_that_does_not_come_to_its_end_is_told_with_the_point_that_led_there(database: Path) -> None:
    lock = database.with_name("shop.db.lock")
    with pytest.raises(NotIdempotent, match=r"does not come to its end: .* with exit code 3") as caught:
        assert_idempotent(
            shop.leave_a_lock,
            17,
            database=database,
            only=1,
            setup=lambda: lock.unlink(missing_ok=True),
            snapshot=lambda: lock.exists() and None,
        )
    assert caught.value.trials.broke[0].point.kind == "at the fault point 'locked'"
