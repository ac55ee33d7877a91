"""The pool of requests: what it sends, what it sends again, and what it leaves alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deferq.codec import wire
from deferq.http.push.addresses import Guard
from deferq.http.push.bases import parse_base
from deferq.http.push.exchange import Answer, Broken, Request
from deferq.http.push.flow import Flow
from deferq.http.push.letters import Letters
from deferq.http.push.plain import ThreadClient
from deferq.http.push.pool import BROKE_MAX, PushPool
from deferq.model.outcome import Interrupted
from deferq.model.task import Leased
from deferq.runtime.pools import Lease
from tests.support import lease_one, threads_named
from tests.support.pushing import Office

now = [0.0]


def clock() -> float:
    return now[0]


class Silent:
    """A client that carries nothing."""

    def wake(self, count: int) -> None: ...

    def drop(self, request: object) -> None: ...

    def close(self, timeout_s: float) -> None: ...


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    now[0] = 0.0
    office = Office(tmp_path, "threads")
    yield office
    office.deferq.close()


def pool_of(office: Office, most: int = 4) -> PushPool:
    codec = office.deferq.codec
    letters = Letters(
        parse_base("http://127.0.0.1:8000"), codec.keyring, verify=codec.verify, deadline_s=60.0, now_s=time.time
    )
    flow = Flow(most, lambda: 0.0)
    return PushPool("base", letters, flow, lambda take, report: Silent(), wake=lambda: None, monotonic=clock)


def sent(pool: PushPool, office: Office) -> tuple[Leased, Request]:
    """A task that is under way."""
    task = lease_one(office.deferq.engine, delivers=True)
    pool.start([task], Lease(0.0, 1000.0))
    request = pool.take()
    assert request is not None
    return task, request


def test_what_is_to_be_sent_again_and_was_lost_meanwhile_is_not_sent(office: Office) -> None:
    """Somebody else holds the task then, and a view that takes no lease up would run it a second time."""
    handle = office.put_url("/jobs")
    pool = pool_of(office)
    task, request = sent(pool, office)
    pool.report(request, Broken("it went"))
    pool.cancel({handle.id})
    now[0] = 10.0
    assert pool.take() is None
    (finished,) = pool.finished()
    assert (finished.task, finished.let_go) == (task, True)
    assert pool.running() == 0


def test_what_breaks_its_connection_again_and_again_is_let_go(office: Office) -> None:
    office.put()
    pool = pool_of(office)
    task, request = sent(pool, office)
    for _ in range(BROKE_MAX - 1):
        pool.report(request, Broken("it went"))
        assert pool.finished() == []
        now[0] += 10.0
        assert pool.take() is request
    pool.report(request, Broken("it went"))
    (finished,) = pool.finished()
    assert (finished.task, finished.let_go) == (task, True)


@pytest.mark.parametrize("status", [200, 503])
def test_what_the_handler_has_refused_is_given_back_whatever_its_view_answers(office: Office, status: int) -> None:
    """A single start among it: nothing has run."""
    office.put_url("/jobs", options='{"retry":{"max_attempts":1}}', at_most_once=True)
    pool = pool_of(office)
    task, request = sent(pool, office)
    pool.report(request, Answer(status, [(wire.REFUSED, "503"), ("Retry-After", "5")], b"Success"))
    (finished,) = pool.finished()
    assert (finished.task, finished.let_go, type(finished.outcome)) == (task, False, Interrupted)
    assert pool.take() is None
    assert not pool.accepts()


def test_where_no_more_threads_can_be_had_those_that_are_there_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = threading.Semaphore(0)
    start = threading.Thread.start

    def only_one(self: threading.Thread) -> None:
        if threads_named("deferq-push"):
            raise RuntimeError("can't start new thread")
        start(self)

    def take() -> None:
        taken.release()

    monkeypatch.setattr(threading.Thread, "start", only_one)
    base = parse_base("http://127.0.0.1:8000")
    client = ThreadClient(base, Guard(base.host, base.port), take, lambda *_: None, most=4, context=None)
    client.wake(3)
    for _ in range(3):
        assert taken.acquire(timeout=20)
    client.wake(1)
    assert taken.acquire(timeout=20)
    client.close(20)
