"""Limits that an application declares, from `Queue(...)` to a running worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from deferq import Deferq, Queue
from deferq.engines.base import Filter
from deferq.engines.sqlite import SqliteEngine
from deferq.model.limits import Limits
from deferq.model.settings import QueueSettings, ResetLimits, SetLimits
from deferq.runtime.worker import Worker
from tests.support import sample_tasks
from tests.support.sample_tasks import note

MakeApp = Callable[..., Deferq]
PATIENCE_S = 20

arrived = threading.Semaphore(0)
gate = threading.Event()
running: list[int] = []
most = [0]
_lock = threading.Lock()


@pytest.fixture(autouse=True)
def _afresh() -> None:
    sample_tasks.forget()
    gate.clear()
    running.clear()
    most[0] = 0
    while arrived.acquire(blocking=False):
        pass


def come_and_wait(number: int) -> None:
    with _lock:
        running.append(number)
        most[0] = max(most[0], len(running))
    arrived.release()
    try:
        assert gate.wait(PATIENCE_S)
    finally:
        with _lock:
            running.remove(number)


def stamp() -> float:
    return time.time()


def settings_of(app: Deferq, name: str) -> QueueSettings:
    return next(queue for queue in app.engine.queues() if queue.name == name)


def writes(app: Deferq, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the queues that are changed from now on."""
    names: list[str] = []
    change = app.engine.change_queues
    monkeypatch.setattr(
        app.engine, "change_queues", lambda changes: names.extend(name for name, _ in changes) or change(changes)
    )
    return names


def test_a_worker_runs_no_more_at_a_time_than_the_queue_allows(
    make_app: MakeApp, start_worker: Callable[..., Worker]
) -> None:
    app = make_app(queues={"mail": Queue(max_concurrent=2), "index": Queue()})
    handles = [app.call(come_and_wait, number).defer(queue="mail") for number in range(6)]
    start_worker(app, threads=8)
    assert arrived.acquire(timeout=PATIENCE_S)
    assert arrived.acquire(timeout=PATIENCE_S)
    app.call(note, "others go on").defer(queue="index").wait(PATIENCE_S)
    gate.set()
    for handle in handles:
        handle.wait(PATIENCE_S)
    assert most == [2]


def test_a_worker_starts_no_more_in_a_time_than_the_rate_allows(
    make_app: MakeApp, start_worker: Callable[..., Worker]
) -> None:
    app = make_app(queues={"mail": Queue(rate="20/s", bucket_size=1)})
    began = time.time()
    handles = [app.call(stamp).defer(queue="mail") for _ in range(5)]
    start_worker(app, threads=8)
    stamps = [handle.wait(PATIENCE_S) for handle in handles]
    assert max(stamps) - began >= 4 / 20


def test_an_operators_change_reaches_a_running_worker(
    make_app: MakeApp, start_worker: Callable[..., Worker], database: Path
) -> None:
    app = make_app(queues={"mail": Queue(max_concurrent=1)})
    for number in range(3):
        app.call(come_and_wait, number).defer(queue="mail")
    start_worker(app, threads=8)
    assert arrived.acquire(timeout=PATIENCE_S)
    with closing(SqliteEngine(database)) as operator:
        operator.change_queues([("mail", SetLimits({"max_concurrent": 2}))])
        assert arrived.acquire(timeout=PATIENCE_S)
        assert len(running) == 2
        operator.change_queues([("mail", SetLimits({"max_concurrent": None}))])
        assert arrived.acquire(timeout=PATIENCE_S)
    gate.set()


def test_a_freed_place_goes_to_a_worker_that_waits_for_it(
    make_app: MakeApp, start_worker: Callable[..., Worker]
) -> None:
    """The one that frees it is about to stop, and leases nothing more."""
    app = make_app(queues={"mail": Queue(max_concurrent=1), "index": Queue()})
    holder = start_worker(app, threads=1)
    app.call(come_and_wait, 1).defer(queue="mail")
    assert arrived.acquire(timeout=PATIENCE_S)
    start_worker(app, threads=1, queues=("mail",))
    second = app.call(note, "second").defer(queue="mail")
    holder.request_stop()
    gate.set()
    second.wait(PATIENCE_S)


# ---- when the store learns of what is declared


def test_the_first_task_of_a_queue_brings_its_limits_to_the_store(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(queues={"mail": Queue(rate="5/s"), "index": Queue(max_concurrent=2), "free": Queue()})
    written = writes(app, monkeypatch)
    app.call(note).defer(queue="mail")
    app.call(note).defer(queue="mail")
    assert written == ["mail"]
    app.call(note).defer(queue="free")
    assert written == ["mail"]
    assert settings_of(app, "mail").limits == Limits(rate="5/s")


def test_a_bulk_brings_the_limits_of_all_its_queues(make_app: MakeApp) -> None:
    app = make_app(queues={"mail": Queue(rate="5/s"), "index": Queue(max_concurrent=2)})
    app.defer_many([app.call(sample_tasks.send, 1)])
    assert settings_of(app, "mail").limits == Limits(rate="5/s")


def test_a_worker_brings_the_limits_of_every_queue(make_app: MakeApp) -> None:
    app = make_app(queues={"mail": Queue(rate="5/s"), "index": Queue(max_concurrent=2), "free": Queue()})
    app.worker(until_idle=True).run()
    assert {queue.name: queue.limits for queue in app.engine.queues()} == {
        "mail": Limits(rate="5/s"),
        "index": Limits(max_concurrent=2),
    }


@pytest.mark.slow
def test_a_process_that_declares_the_same_writes_nothing(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    queues = {"mail": Queue(rate="5/s"), "index": Queue()}
    make_app(queues=queues).worker(until_idle=True).run()
    again = make_app(queues=queues)
    written = writes(again, monkeypatch)
    again.worker(until_idle=True).run()
    again.call(note).defer(queue="mail")
    assert written == []


def test_a_new_release_changes_what_is_declared_and_not_what_an_operator_has_set(make_app: MakeApp) -> None:
    make_app(queues={"mail": Queue(rate="5/s", max_concurrent=1)}).worker(until_idle=True).run()
    app = make_app(queues={"mail": Queue(rate="9/s")})
    app.engine.change_queues([("mail", SetLimits({"rate": "1/m"}))])
    app.call(note).defer(queue="mail")
    assert settings_of(app, "mail").limits == Limits(rate="1/m")
    app.engine.change_queues([("mail", ResetLimits())])
    assert settings_of(app, "mail").limits == Limits(rate="9/s")


def test_a_store_that_is_opened_again_is_told_again(make_app: MakeApp) -> None:
    app = make_app("memory://", queues={"mail": Queue(rate="5/s")})
    app.call(note).defer(queue="mail")
    app.close()
    app.call(note).defer(queue="mail")
    assert settings_of(app, "mail").limits == Limits(rate="5/s")


def test_a_call_that_is_refused_declares_nothing(make_app: MakeApp) -> None:
    app = make_app(queues={"mail": Queue(rate="5/s")})
    with pytest.raises(TypeError):
        app.call(lambda: None).defer(queue="mail")
    assert app.engine.queues() == []


def test_a_worker_that_ends_when_nothing_is_left_does_not_wait_for_what_a_limit_holds_back(make_app: MakeApp) -> None:
    app = make_app(queues={"mail": Queue(rate="1/h", bucket_size=2)})
    for _ in range(5):
        app.call(note).defer(queue="mail")
    app.worker(until_idle=True).run()
    assert len(sample_tasks.seen) == 2
    assert sum(task.finished_at is None for task in app.engine.find(Filter()).tasks) == 3
