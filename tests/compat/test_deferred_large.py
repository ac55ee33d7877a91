"""Calls that are too large for a task: kept beside it, gone with it (section 1.5 of the facts)."""

from __future__ import annotations

import json
import pickle
import re
import sqlite3
from collections.abc import Callable as Making
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import deferq
from deferq import Deferq, State, StoreUnavailable
from deferq.cli.main import main
from deferq.compat.appengine import deferred, taskqueue
from deferq.compat.appengine.deferred import deferred as module
from deferq.engines.base import Delete, Filter, LeasingEngine
from deferq.errors import PayloadTooLargeError, Snooze
from deferq.model.outcome import SUCCEEDED, Failed, Snoozed
from deferq.testing import assert_deferred, drain, recording
from tests.compat import counting
from tests.compat.conftest import every_store
from tests.compat.counting import Counter
from tests.compat.deferring import run_due, stored, stored_alone

LARGE = b"much " * 40_000
on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    counting.forget()
    for name in ("HTTP_HOST", "DEFAULT_VERSION_HOSTNAME", "DEFERRED_USE_CROSS_COMPATIBLE_PICKLE_PROTOCOL"):
        monkeypatch.delenv(name, raising=False)


def spills(engine: LeasingEngine) -> list[bytes | None]:
    """What is kept beside each task that there is."""
    return [engine.spill(task.id) for task in engine.find(Filter()).tasks]


def filling(size: int) -> bytes:
    """An argument with which the pickle of `note` has so many bytes."""
    rest = len(deferred.serialize(counting.note, b"x" * 100_000)) - 100_000
    return b"x" * (size - rest)


# ---- the limit


@every_store
@pytest.mark.parametrize(("host", "most"), [("", 102_304), ("testbed.example.com", 102_277)])
def test_a_call_is_kept_beside_its_task_from_the_byte_on_that_app_engine_refuses(
    app: Deferq, monkeypatch: pytest.MonkeyPatch, host: str, most: int
) -> None:
    """The numbers are those of Google's library, with and without a name of its host among the headers."""
    if host:
        monkeypatch.setenv("HTTP_HOST", host)
        monkeypatch.setenv("DEFAULT_VERSION_HOSTNAME", host)
    inline = deferred.defer(counting.note, filling(most))
    assert (len(inline.payload or b""), inline.size) == (most, 102_400)
    assert app.engine.spill(stored(app, inline).id) is None
    beside = deferred.defer(counting.note, filling(most + 1))
    assert beside.size < 1_000
    assert app.engine.spill(stored(app, beside).id) is not None
    assert run_due(app) == [SUCCEEDED] * 2
    assert [len(args[0]) for args in counting.seen] == [len(filling(most)), len(filling(most + 1))]


def test_the_task_of_a_large_call_fetches_it_by_its_key(app: Deferq) -> None:
    task = deferred.defer(counting.note, LARGE)
    key = str(stored(app, task).id)
    assert pickle.loads(task.payload or b"") == (deferred.run_from_datastore, (key,), {})  # type: ignore[arg-type]
    entity = module._DeferredTaskEntity.get(key)
    assert entity is not None
    assert (entity.key(), entity.data) == (key, deferred.serialize(counting.note, LARGE))


def test_a_task_of_the_task_queue_itself_raises(app: Deferq) -> None:
    body = deferred.serialize(counting.note, LARGE)
    with pytest.raises(taskqueue.TaskTooLargeError):
        taskqueue.Task(url="/_ah/queue/deferred", payload=body)


def test_headers_that_are_too_large_are_no_large_call(app: Deferq) -> None:
    with pytest.raises(taskqueue.TaskTooLargeError):
        deferred.defer(counting.note, 1, _headers={f"X-{number}": "x" * 1_000 for number in range(110)})
    assert spills(app.engine) == []


def test_a_call_beyond_the_stores_own_limit_is_refused_with_both_sizes(configured: Making[..., Deferq]) -> None:
    app = configured(payload_limit=300_000)
    deferred.defer(counting.note, b"x" * 200_000)
    with pytest.raises(taskqueue.TaskTooLargeError) as caught:
        deferred.defer(counting.note, b"x" * 300_000)
    assert isinstance(caught.value, PayloadTooLargeError)
    assert caught.value.size > caught.value.limit == 300_000
    assert "300,000" in str(caught.value)
    assert len(spills(app.engine)) == 1


# ---- running


@pytest.mark.parametrize(
    ("fn", "target", "expected"),
    [
        (counting.note, "tests.compat.counting:note", (LARGE,)),
        (counting.note_later, "tests.compat.counting:note_later", ("coroutine", LARGE)),
        (Counter.make, "tests.compat.counting:Counter.make", ("make", "Counter", LARGE)),
    ],
)
def test_a_large_call_runs_and_people_see_what_it_calls(app: Deferq, fn: Any, target: str, expected: Any) -> None:
    task = deferred.defer(fn, LARGE)
    assert stored(app, task).target == target
    assert run_due(app) == [SUCCEEDED]
    assert counting.seen == [expected]


def test_run_from_datastore_returns_what_the_callable_returns(app: Deferq) -> None:
    """Google's says so and returns None."""
    key = str(stored(app, deferred.defer(counting.note, LARGE)).id)
    assert deferred.run_from_datastore(key) == "noted"
    assert deferred.run(deferred.serialize(deferred.run_from_datastore, key)) == "noted"


def test_what_it_fetches_may_be_fetched_again(app: Deferq) -> None:
    """An attempt that fails is repeated, and a task that has died may be put back."""
    key = str(stored(app, deferred.defer(Counter(1).add, 1, twice=LARGE)).id)
    for _ in range(2):
        deferred.run_from_datastore(key)
    entity = module._DeferredTaskEntity.get(key)
    assert entity is not None
    entity.delete()
    assert module._DeferredTaskEntity.get(key) is not None


@pytest.mark.parametrize(
    "key", ["", "123456", "no key", "ahFkZXZ-YXBwchsLEhNfRGVmZXJyZWRUYXNrRW50aXR5GAEM", "9" * 30, -1]
)
def test_a_large_call_that_is_not_there_is_a_permanent_failure(app: Deferq, key: Any) -> None:
    with pytest.raises(deferred.PermanentTaskFailure):
        deferred.run_from_datastore(key)
    assert module._DeferredTaskEntity.get(key) is None


def test_the_callables_own_errors_pass_through(app: Deferq) -> None:
    large = Counter()
    large.value = LARGE  # type: ignore[assignment]
    key = str(stored(app, deferred.defer(large.add, 1)).id)
    with pytest.raises(TypeError):
        deferred.run_from_datastore(key)
    (outcome,) = run_due(app)
    assert isinstance(outcome, Failed)
    assert not outcome.permanent


def test_a_large_call_that_cannot_be_restored_is_kept_as_dead(app: Deferq) -> None:
    deferred.defer(counting.note, counting.Unrestorable(), LARGE)
    run_due(app)
    task = stored_alone(app)
    assert (task.state, task.reason) == (State.DEAD, "permanent")
    assert app.engine.spill(task.id) is not None


def test_a_large_call_of_another_release_waits_for_it_and_spends_no_attempt(
    app: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(stored(app, deferred.defer(counting.note, LARGE)).id)
    with monkeypatch.context() as older:
        older.delattr(counting, "note")
        with pytest.raises(Snooze):
            deferred.run_from_datastore(key)
        assert [type(one) for one in run_due(app)] == [Snoozed]
    assert stored_alone(app).attempts == 0


def test_a_store_out_of_reach_is_no_permanent_failure(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    key = str(stored(app, deferred.defer(counting.note, LARGE)).id)

    def refuse(task_id: int) -> None:
        raise StoreUnavailable("no disk")

    monkeypatch.setattr(app.engine, "spill", refuse)
    with pytest.raises(StoreUnavailable):
        deferred.run_from_datastore(key)


# ---- signed


@on_sqlite
def test_what_somebody_has_changed_in_the_store_is_not_restored(tmp_path: Path, app: Any) -> None:
    mark = tmp_path / "mark"
    task_id = stored(app, deferred.defer(counting.note, LARGE)).id
    envelope = app.engine.spill(task_id)
    forged = envelope[:40] + pickle.dumps((counting.leave_a_mark, (str(mark),), {}))
    with closing(sqlite3.connect(app.engine.path)) as connection, connection:
        connection.execute("update deferq_spill set body = ? where id = ?", (forged, task_id))
    with pytest.raises(deferred.PermanentTaskFailure):
        deferred.run_from_datastore(str(task_id))
    run_due(app)
    assert (stored_alone(app).state, stored_alone(app).reason) == (State.DEAD, "permanent")
    assert not mark.exists()


def test_what_is_kept_for_one_task_is_no_good_for_another(app: Deferq) -> None:
    first, second = (stored(app, deferred.defer(counting.note, LARGE + bytes([n]))).id for n in (1, 2))
    envelope = app.engine.spill(first)
    assert envelope is not None
    with pytest.raises(deferq.DeferqError):
        app.codec.open_spill(second, envelope)


# ---- with the task


@every_store
def test_a_large_call_goes_when_its_task_is_deleted(app: Deferq) -> None:
    task_id = stored(app, deferred.defer(counting.note, LARGE)).id
    app.engine.change([task_id], Delete())
    assert app.engine.spill(task_id) is None


@every_store
def test_a_large_call_that_has_died_can_be_put_back(app: Deferq) -> None:
    task_id = stored(app, deferred.defer(Large("permanent").fail_once)).id
    run_due(app)
    assert app.engine.get([task_id])[0].state is State.DEAD
    assert app.engine.requeue([task_id]) == [task_id]
    assert run_due(app) == [SUCCEEDED]
    assert counting.seen[-1] == "then"


class Large:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.bulk = LARGE

    def fail_once(self) -> None:
        counting.fail_once(self.kind)


@every_store
def test_a_name_that_is_taken_leaves_nothing_behind(app: Deferq) -> None:
    first = stored(app, deferred.defer(counting.note, 1, _name="once")).id
    with pytest.raises(taskqueue.TaskAlreadyExistsError):
        deferred.defer(counting.note, LARGE, _name="once")
    assert [task.id for task in app.engine.find(Filter()).tasks] == [first]
    if app.engine.url.startswith("sqlite"):
        with closing(sqlite3.connect(app.engine.path)) as connection:  # type: ignore[attr-defined]
            assert connection.execute("select count(*) from deferq_spill").fetchone() == (0,)


@every_store
def test_an_id_that_is_taken_costs_a_new_key_and_nothing_else(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = stored(app, deferred.defer(counting.note, 1)).id
    ids = app.ids.take

    def take(number: int) -> Any:
        monkeypatch.setattr(app.ids, "take", ids)
        return [taken]

    monkeypatch.setattr(app.ids, "take", take)
    task = deferred.defer(counting.note, LARGE)
    assert stored(app, task).id != taken
    assert pickle.loads(task.payload or b"")[1] == (str(stored(app, task).id),)  # type: ignore[arg-type]
    assert app.engine.spill(taken) is None
    assert run_due(app) == [SUCCEEDED] * 2


# ---- looking, and tests


@on_sqlite
def test_the_command_line_shows_the_call_inside(app: Deferq, capsys: pytest.CaptureFixture[str]) -> None:
    large = stored(app, deferred.defer(Counter(10).add, 5, twice=LARGE)).id
    small = stored(app, deferred.defer(Counter(1).add, 5)).id
    app.close()
    shown = show(app, large, capsys)
    assert shown["target"] == "tests.compat.counting:Counter.add"
    assert shown["call"]["args"] == ["<tests.compat.counting.Counter {value: 10}>", "5"]
    assert shown["call"]["kwargs"]["twice"].startswith("b'much much")
    assert shown["beside_bytes"] > len(LARGE)
    assert main(["tasks", "show", str(large), "--url", app.settings["url"], "--no-arguments"]) == 0
    assert re.search(r"arguments .* bytes and .* beside it, pickle, signature fits", capsys.readouterr().out)
    assert show(app, small, capsys)["beside_bytes"] is None
    assert show(app, small, capsys)["call"]["text"] == "Counter.add(<tests.compat.counting.Counter {value: 1}>, 5)"


def show(app: Deferq, task_id: int, capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["tasks", "show", str(task_id), "--url", app.settings["url"], "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_calls_of_every_size_can_be_tested_as_all_others(app: Deferq) -> None:
    with recording():
        deferred.defer(counting.note, "ann")
        deferred.defer(counting.note, LARGE)
        assert_deferred(counting.note, "ann")
        assert [ran.target for ran in drain()] == ["tests.compat.counting:note"] * 2
    assert counting.seen == [("ann",), (LARGE,)]
