"""Tasks in transactions of Django: by `within=`, and because an atomic block is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

from django.conf import settings
from django.db import DatabaseError, connection, connections, transaction

from deferq import Deferq, TaskHandle, current_task
from deferq.errors import NoTransaction, NotTransactional, OtherDatabase, WriteBesideTransaction
from deferq.runtime.worker import Worker
from tests.support import sample_tasks

ALIAS = "shop"


pytestmark = pytest.mark.filterwarnings("ignore:Accessing the database during app initialization")


@pytest.fixture
def shop(app: Deferq, database: Path) -> Iterator[Any]:
    """Django's connection to the file of the store, under an alias of its own."""
    app.engine.counts()
    if not settings.configured:
        settings.configure()
    database_settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database)}
    connections.settings[ALIAS] = connections.configure_settings({"default": {}, ALIAS: database_settings})[ALIAS]
    made = connections[ALIAS]
    with made.cursor() as cursor:
        cursor.execute("create table customer (name text)")
    yield made
    made.close()
    del connections[ALIAS]
    del connections.settings[ALIAS]


def exists(app: Deferq, *handles: TaskHandle) -> list[bool]:
    there = {task.id for task in app.engine.get([handle.id for handle in handles])}
    return [handle.id in there for handle in handles]


def add(name: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("insert into customer values (%s)", [name])


def names() -> list[str]:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("select name from customer order by name")
        return [row[0] for row in cursor.fetchall()]


def test_a_task_shares_the_fate_of_an_atomic_block(app: Deferq, shop: Any) -> None:
    with transaction.atomic(using=ALIAS):
        add("ann")
        kept = [app.call(sample_tasks.add, 1).defer(within=within) for within in (shop, ALIAS, True, None)]
        assert exists(app, *kept) == [False] * 4
    with suppress(ValueError), transaction.atomic(using=ALIAS):
        add("bob")
        dropped = [app.call(sample_tasks.add, 1).defer(within=within) for within in (shop, ALIAS, True, None)]
        raise ValueError
    assert exists(app, *kept, *dropped) == [*[True] * 4, *[False] * 4]
    assert names() == ["ann"]


def test_inner_blocks_are_savepoints_and_take_their_tasks_with_them(app: Deferq, shop: Any) -> None:
    with transaction.atomic(using=ALIAS):
        outer = app.defer(sample_tasks.add, 1)
        with transaction.atomic(using=ALIAS):
            add("kept")
            kept = app.defer(sample_tasks.add, 2)
        with suppress(ValueError), transaction.atomic(using=ALIAS):
            add("dropped")
            dropped = app.defer(sample_tasks.add, 3)
            raise ValueError
    assert exists(app, outer, kept, dropped) == [True, True, False]
    assert names() == ["kept"]


def test_outside_of_a_block_a_task_is_stored_at_once_unless_one_is_asked_for(app: Deferq, shop: Any) -> None:
    assert exists(app, app.defer(sample_tasks.add, 1)) == [True]
    for within in (shop, ALIAS, True):
        with pytest.raises(NoTransaction):
            app.call(sample_tasks.add, 1).defer(within=within)
    later = []
    with transaction.atomic(using=ALIAS):
        transaction.on_commit(lambda: later.append(app.defer(sample_tasks.add, 1)), using=ALIAS)
    assert exists(app, *later) == [True]


def test_a_block_that_can_only_be_rolled_back_takes_nothing(app: Deferq, shop: Any) -> None:
    with transaction.atomic(using=ALIAS):
        with pytest.raises(DatabaseError), transaction.atomic(using=ALIAS, savepoint=False), shop.cursor() as cursor:
            cursor.execute("insert into no_such_table values (1)")
        with pytest.raises(NoTransaction, match="rolled back"):
            app.defer(sample_tasks.add, 1)
        with pytest.raises(NoTransaction):
            app.call(sample_tasks.add, 1).defer(within=shop)


def test_transactions_that_the_application_manages_itself_count_as_well(app: Deferq, shop: Any) -> None:
    transaction.set_autocommit(False, using=ALIAS)
    try:
        add("ann")
        dropped = app.defer(sample_tasks.add, 1)
        transaction.rollback(using=ALIAS)
        kept = app.call(sample_tasks.add, 1).defer(within=shop)
        transaction.commit(using=ALIAS)
    finally:
        transaction.set_autocommit(True, using=ALIAS)
    assert exists(app, dropped, kept) == [False, True]


def test_false_stores_beside_it_or_says_that_it_cannot(app: Deferq, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction.atomic(using=ALIAS):
        assert exists(app, app.call(sample_tasks.add, 1).defer(within=False)) == [True]
    monkeypatch.setattr("deferq.engines.sqlite.within.PATIENCE_MS", 20)
    with transaction.atomic(using=ALIAS):
        add("ann")
        with pytest.raises(WriteBesideTransaction):
            app.call(sample_tasks.add, 1).defer(within=False)


def test_another_database_of_django_s_is_none_of_ours(app: Deferq, shop: Any, tmp_path: Path) -> None:
    with Deferq(f"sqlite:///{tmp_path}/elsewhere.db") as other, transaction.atomic(using=ALIAS):
        assert exists(other, other.defer(sample_tasks.add, 1)) == [True]
        with pytest.raises(OtherDatabase):
            other.call(sample_tasks.add, 1).defer(within=ALIAS)
    for within in ("no_such_alias", transaction.Atomic):
        with pytest.raises(NotTransactional):
            app.call(sample_tasks.add, 1).defer(within=within)
    if "default" not in connections.settings or "dummy" in connections.settings["default"]["ENGINE"]:
        with pytest.raises((NotTransactional, NoTransaction)):
            app.call(sample_tasks.add, 1).defer(within=connection)


def test_a_block_that_has_failed_on_another_database_is_none_of_ours(app: Deferq, shop: Any, tmp_path: Path) -> None:
    with Deferq(f"sqlite:///{tmp_path}/elsewhere.db") as other, transaction.atomic(using=ALIAS):
        transaction.set_rollback(True, using=ALIAS)
        assert exists(other, other.defer(sample_tasks.add, 1)) == [True]
        with pytest.raises(NoTransaction):
            app.defer(sample_tasks.add, 1)


def test_a_coroutine_is_in_no_block_of_a_thread(app: Deferq, shop: Any) -> None:
    async def work() -> TaskHandle:
        return await app.defer_async(sample_tasks.add, 1)

    assert exists(app, asyncio.run(work())) == [True]


def test_a_worker_wakes_after_the_commit(app: Deferq, shop: Any, start_worker: Callable[..., Worker]) -> None:
    start_worker(app, poll_s=40)
    assert app.defer(sample_tasks.add, 0).wait(20) == 0
    with transaction.atomic(using=ALIAS), transaction.atomic(using=ALIAS):
        handle = app.defer(sample_tasks.add, 1)
    assert handle.wait(20) == 1


def test_a_callback_of_the_application_that_raises_silences_no_bell(
    app: Deferq, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[object] = []
    monkeypatch.setattr(app.engine.within, "ring", rung.append)

    def fail() -> None:
        raise LookupError

    with suppress(LookupError), transaction.atomic(using=ALIAS):
        transaction.on_commit(fail, using=ALIAS)
        handle = app.defer(sample_tasks.add, 1)
    assert rung == [[handle.id]]


def test_somebody_looks_for_a_commit_that_the_application_makes_itself(
    app: Deferq, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django calls what waits for a commit once autocommit is back, and with AUTOCOMMIT = False it never is."""
    sought: list[object] = []
    monkeypatch.setattr("deferq.contrib.django.joining.look_for", lambda within, ids: sought.append(ids))
    transaction.set_autocommit(False, using=ALIAS)
    try:
        outside = app.defer(sample_tasks.add, 1)
        with transaction.atomic(using=ALIAS):
            inside = app.defer(sample_tasks.add, 1)
        transaction.commit(using=ALIAS)
    finally:
        transaction.set_autocommit(True, using=ALIAS)
    assert sought == [[outside.id], [inside.id]]


def test_nobody_is_woken_for_a_savepoint_that_was_rolled_back(
    app: Deferq, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[object] = []
    monkeypatch.setattr(app.engine.within, "ring", rung.append)
    with transaction.atomic(using=ALIAS):
        with suppress(ValueError), transaction.atomic(using=ALIAS):
            app.defer(sample_tasks.add, 1)
            raise ValueError
        kept = app.defer(sample_tasks.add, 2)
    assert rung == [[kept.id]]


def ship(name: str) -> str:
    try:
        with transaction.atomic(using=ALIAS):
            add(name)
            current_task().settle_within(ALIAS, result="settled")
            if name == "bob":
                raise ValueError
    except ValueError:
        return "returned"
    finally:
        connections[ALIAS].close()
    raise LookupError("too late to matter")


def test_a_task_settles_within_an_atomic_block(app: Deferq, shop: Any, worker: Worker) -> None:
    committed, rolled_back = app.defer(ship, "ann"), app.defer(ship, "bob")
    assert [committed.wait(30), rolled_back.wait(30)] == ["settled", "returned"]
    assert names() == ["ann"]
