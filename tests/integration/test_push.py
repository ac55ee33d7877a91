"""`deferq push` against servers that do what the test says: by both clients, over real sockets."""

from __future__ import annotations

import gzip
import itertools
import shutil
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq
from deferq.codec import wire
from deferq.errors import StoreUnavailable
from deferq.http.push.exchange import BODY_BYTES_MAX
from deferq.model.outcome import (
    SUCCEEDED,
    Cancelled,
    ErrorText,
    Failed,
    Interrupted,
    Outcome,
    Parked,
    Retried,
    Snoozed,
    Succeeded,
)
from deferq.model.state import State
from deferq.model.task import Leased
from tests.support.leases import settle
from tests.support.pushing import Office, kinds, until
from tests.support.scripted import Scripted, Seen, answer

BROKE = ErrorText(error_type="ValueError", message="it broke", traceback="Traceback: it broke")
DONE = (wire.OUTCOME, wire.pack_header(SUCCEEDED))


@pytest.fixture(params=["aiohttp", pytest.param("threads", marks=pytest.mark.slow)])
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp", reason="pip install '.[push]' brings it")
    office = Office(tmp_path, request.param)
    yield office
    office.deferq.close()


def says(*answers: bytes) -> Any:
    """A script that gives these answers in turn, the last one again and again."""
    left = itertools.chain(answers, itertools.repeat(answers[-1]))
    return lambda seen, connection: connection.sendall(next(left))


# ---- what arrives, and what comes back


def test_a_task_arrives_as_it_is_stored_signed_and_says_how_long_we_wait(office: Office) -> None:
    handle = office.put(2, name="one", queue="mail", headers={"X-Trace": "7"})
    payload = handle.details().payload
    with Scripted(office.handler(lambda task: SUCCEEDED)) as server, office.pushing(server.url, deadline_s=60.0):
        (task,) = office.ended(handle)
    (seen,) = server.seen
    delivered = office.opened(seen)
    assert (seen.method, seen.path, seen.body) == ("POST", "/_deferq/run", payload)
    assert (delivered.task.id, delivered.task.name, delivered.task.queue) == (handle.id, "one", "mail")
    assert delivered.wait_s == 60.0
    assert seen.headers["host"] == f"127.0.0.1:{server.port}"
    assert (task.state, task.attempts) == (State.SUCCEEDED, 1)


def test_the_wait_is_no_longer_than_the_timeout_of_the_task_allows(office: Office) -> None:
    handle = office.put(timeout=7)
    with Scripted(office.handler(lambda task: SUCCEEDED)) as server, office.pushing(server.url):
        office.ended(handle)
    assert office.opened(server.seen[0]).wait_s == 12.0


def test_a_task_with_an_url_goes_to_that_path_with_the_headers_of_both_families(office: Office) -> None:
    handle = office.put_url("/jobs/a%20b?c=d")
    with Scripted(office.handler(lambda task: SUCCEEDED)) as server, office.pushing(f"{server.url}/app"):
        server.script = says(answer())
        (task,) = office.ended(handle)
    (seen,) = server.seen
    assert seen.path == "/app/jobs/a%20b?c=d"
    assert seen.headers["x-appengine-taskretrycount"] == "0"
    assert seen.headers["x-cloudtasks-queuename"] == "default"
    signed = seen._replace(path="/jobs/a%20b?c=d")
    assert office.opened(signed).task.id == handle.id
    assert task.state is State.SUCCEEDED


def test_a_store_that_cannot_tell_of_failed_attempts_does_not_keep_the_next_one_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = office.put_url("/jobs")
    engine, details = office.deferq.engine, office.deferq.engine.details

    def away(task_id: int) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(engine, "details", away)
    with Scripted(says(answer(500), answer())) as server, office.pushing(server.url):
        (task,) = office.ended(handle)
    monkeypatch.setattr(engine, "details", details)
    assert (task.state, task.attempts, len(server.seen)) == (State.SUCCEEDED, 2, 2)


OUTCOMES: list[tuple[Outcome, State, list[str]]] = [
    (SUCCEEDED, State.SUCCEEDED, []),
    (Failed(error=BROKE, permanent=True, reason="permanent"), State.DEAD, ["permanent"]),
    (Failed(error=BROKE), State.DEAD, ["failed"] * 3),
    (Retried(reason="later"), State.DEAD, ["retried"] * 3),
    (Cancelled(reason="expired"), State.CANCELLED, []),
]


@pytest.mark.parametrize(("outcome", "state", "failures"), OUTCOMES, ids=lambda value: type(value).__name__)
def test_the_outcome_that_the_handler_says_is_the_outcome(
    office: Office, outcome: Outcome, state: State, failures: list[str]
) -> None:
    handle = office.put(attempts=3)
    with Scripted(office.handler(lambda task: outcome)) as server, office.pushing(server.url):
        (task,) = office.ended(handle)
    assert (task.state, kinds(handle)) == (state, failures)
    if isinstance(outcome, Failed):
        assert [one.traceback for one in handle.details().failures] == [BROKE.traceback] * len(failures)


@pytest.mark.parametrize(
    ("outcome", "reading"),
    [
        (Snoozed(after_s=600), "scheduled"),
        (Parked(error=BROKE), "parked"),
        (Interrupted(after_s=600, reason="not now"), "scheduled"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_to_come_later_waits_and_has_spent_nothing(office: Office, outcome: Outcome, reading: str) -> None:
    handle = office.put()
    with Scripted(office.handler(lambda task: outcome)) as server, office.pushing(server.url):
        until(lambda: server.seen and office.task(handle).state is State.PENDING, "it has not come back")
    task = office.task(handle)
    assert (task.reading(office.deferq.engine.now()), task.attempts) == (reading, 0)


def test_a_result_comes_in_the_body_if_it_is_too_large_for_a_header(office: Office) -> None:
    handle = office.put()
    value = b"x" * (3 * BODY_BYTES_MAX)

    def script(seen: Seen, connection: socket.socket) -> None:
        task = office.opened(seen).task
        result = Succeeded(office.deferq.codec.seal_result(task.id, task.target, value))
        connection.sendall(answer(200, (wire.OUTCOME, wire.IN_BODY), body=wire.pack_body(result)))

    with Scripted(script) as server, office.pushing(server.url):
        assert handle.wait(timeout=30) == value


@pytest.mark.slow
def test_a_thousand_tasks_are_delivered_exactly_once(office: Office) -> None:
    handles = [office.put() for _ in range(1000)]
    with Scripted(office.handler(lambda task: SUCCEEDED)) as server, office.pushing(server.url, concurrency=32):
        tasks = office.ended(*handles)
    assert Counter(office.opened(seen).task.id for seen in server.seen) == dict.fromkeys(
        (handle.id for handle in handles), 1
    )
    assert {(task.state, task.attempts) for task in tasks} == {(State.SUCCEEDED, 1)}
    assert server.connections <= 32 + 8  # they are kept


def test_it_works_on_every_engine_from_which_workers_lease(office: Office) -> None:
    office.deferq.close()
    office.deferq = Deferq("memory://")
    handles = [office.put() for _ in range(20)]
    with Scripted(office.handler(lambda task: SUCCEEDED)) as server, office.pushing(server.url):
        assert {task.state for task in office.ended(*handles)} == {State.SUCCEEDED}


# ---- answers of others


def test_what_is_held_elsewhere_is_left_to_whoever_holds_it(office: Office) -> None:
    handle = office.put()
    with Scripted(says(answer(409, (wire.HELD, "1")))) as server, office.pushing(server.url):
        until(lambda: server.seen, "nothing came")
        time.sleep(0.5)
        task = office.task(handle)
        assert (task.state, task.attempts, len(server.seen)) == (State.LEASED, 0, 1)


@pytest.mark.slow
def test_what_is_held_elsewhere_and_never_settled_counts_as_lost_when_its_lease_is_over(office: Office) -> None:
    handle = office.put(attempts=1)
    with Scripted(says(answer(409, (wire.HELD, "1")))) as server, office.pushing(server.url, lease_s=0.8):
        (task,) = office.ended(handle)
    assert (task.state, task.reason, len(server.seen)) == (State.DEAD, "attempts spent, last: worker lost", 1)
    (failure,) = handle.details().failures
    assert server.url in failure.message


def test_what_ran_and_could_not_be_stored_by_its_handler_is_left_to_it(office: Office) -> None:
    handle = office.put()
    with Scripted(says(answer(503, ("Retry-After", "5"), (wire.HELD, "1")))) as server, office.pushing(server.url):
        until(lambda: server.seen, "nothing came")
        time.sleep(0.3)
        assert (office.task(handle).state, len(server.seen)) == (State.LEASED, 1)


def test_what_the_handler_has_settled_is_left_alone(office: Office) -> None:
    handle = office.put()
    with Scripted(says(answer(200, (wire.OUTCOME, wire.SETTLED)))) as server, office.pushing(server.url):
        until(lambda: server.seen, "nothing came")
        time.sleep(0.3)
        assert office.task(handle).attempts == 0
    assert len(server.seen) == 1


def test_a_redirect_is_not_followed_and_the_error_says_where_it_pointed(office: Office) -> None:
    handle = office.put_url("/jobs")
    with Scripted(says(answer())) as inside:
        location = ("Location", f"http://user:pass@localhost:{inside.port}/secret?token=1")
        with Scripted(says(answer(302, location), answer())) as server, office.pushing(server.url):
            office.ended(handle)
    assert (inside.seen, len(server.seen)) == ([], 2)
    (failure,) = handle.details().failures
    assert "points to localhost" in failure.message
    assert "secret" not in failure.message
    assert "token" not in failure.message


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 503])
def test_a_base_that_is_busy_gets_its_rest_and_no_attempt_is_spent(office: Office, status: int) -> None:
    handles = [office.put() for _ in range(20)]
    first = threading.Event()

    def script(seen: Seen, connection: socket.socket) -> object:
        if not first.is_set():
            first.set()
            return connection.sendall(answer(status, ("Retry-After", "1")))
        return good(seen, connection)

    good = office.handler(lambda task: SUCCEEDED)
    with Scripted(script) as server, office.pushing(server.url, concurrency=1):
        until(first.is_set, "nothing came")
        until(lambda: len(server.seen) >= 1, "nothing came")
        rests_from = time.monotonic()
        tasks = office.ended(*handles)
    assert time.monotonic() - rests_from > 0.9
    assert {task.attempts for task in tasks} == {1}
    assert len(server.seen) == 21


def test_where_another_application_answers_nothing_is_taken_for_done(office: Office) -> None:
    handle = office.put()
    with Scripted(says(answer(200, body=b"Welcome"))) as server, office.pushing(server.url):
        until(lambda: kinds(handle), "nothing was noted")
    assert office.task(handle).state is not State.SUCCEEDED
    assert "wrap_wsgi" in handle.details().failures[0].message


def test_an_endless_body_is_cut_off(office: Office) -> None:
    handle = office.put()
    sent = [0]

    def script(seen: Seen, connection: socket.socket) -> bool:
        head = f"HTTP/1.1 200 OK\r\n{DONE[0]}: {DONE[1]}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        try:
            while sent[0] < 100_000_000:
                connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                sent[0] += 0x10000
        except OSError:
            return False
        return False

    with Scripted(script) as server, office.pushing(server.url):
        (task,) = office.ended(handle)
        until(lambda: not server._open, "the connection is still there")
    assert task.state is State.SUCCEEDED
    assert sent[0] < 50_000_000


def test_a_body_of_a_gigabyte_is_not_waited_for(office: Office) -> None:
    handle = office.put()

    def script(seen: Seen, connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\n{DONE[0]}: {DONE[1]}\r\nContent-Length: 1000000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * (2 * BODY_BYTES_MAX))

    with Scripted(script) as server, office.pushing(server.url):
        (task,) = office.ended(handle)
    assert task.state is State.SUCCEEDED


def test_a_compressed_answer_is_not_unpacked(office: Office) -> None:
    handle = office.put_url("/jobs")
    bomb = gzip.compress(b"x" * 50_000_000)
    body = answer(500, ("Content-Encoding", "gzip"), ("Content-Type", "text/plain"), body=bomb)
    with Scripted(says(body, answer())) as server, office.pushing(server.url):
        office.ended(handle)
    (failure,) = handle.details().failures
    assert failure.message.startswith("HTTP 500 from /jobs")
    assert "xxxx" not in failure.message


@pytest.mark.parametrize(
    "nonsense",
    [b"\x00\x01\x02\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"SSH-2.0\r\n",
     b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n"],
    ids=["bytes", "no-status", "no-length", "ssh", "long-header"],
)  # fmt: skip
def test_who_speaks_no_http_holds_nothing_up(office: Office, nonsense: bytes) -> None:
    handle = office.put()
    calls = itertools.count()
    good = office.handler(lambda task: SUCCEEDED)

    def script(seen: Seen, connection: socket.socket) -> object:
        if next(calls):
            return good(seen, connection)
        connection.sendall(nonsense)
        return False

    with Scripted(script) as server, office.pushing(server.url):
        (task,) = office.ended(handle)
    assert task.state is State.SUCCEEDED


# ---- connections that break


@pytest.mark.slow
def test_a_server_that_is_down_costs_no_attempt_and_one_line_in_the_log(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    handles = [office.put() for _ in range(30)]
    server = Scripted(office.handler(lambda task: SUCCEEDED))
    with caplog.at_level("INFO", logger="deferq"), office.pushing(server.url):
        until(lambda: "is in trouble" in caplog.text, "nothing was logged")
        time.sleep(0.5)
        assert {office.task(handle).attempts for handle in handles} == {0}
        with server:
            tasks = office.ended(*handles)
            until(lambda: "answers again" in caplog.text, "nothing was logged")
    assert {(task.state, task.attempts) for task in tasks} == {(State.SUCCEEDED, 1)}
    lines = [record.message for record in caplog.records if server.url in record.message]
    assert len(lines) == 2


@pytest.mark.slow
def test_a_connection_that_breaks_in_the_middle_is_asked_again_and_runs_nothing_twice(office: Office) -> None:
    """The handler has taken the lease up and runs, but its answer is lost: it settles by itself."""
    handle = office.put(attempts=1)
    good = office.handler(lambda task: SUCCEEDED)

    def script(seen: Seen, connection: socket.socket) -> object:
        if len(server.seen) == 1:
            task = office.opened(seen).task
            office.deferq.engine.take_up([(task.id, task.lease_id)])
            return False
        return good(seen, connection)

    with Scripted(script) as server, office.pushing(server.url, lease_s=1.5):
        (task,) = office.ended(handle)
    assert [office.opened(seen).task.lease_id for seen in server.seen] == [
        office.opened(server.seen[0]).task.lease_id
    ] * 2
    assert task.reason == "attempts spent, last: worker lost"


def test_what_never_began_before_its_connection_broke_begins_at_the_second_delivery(office: Office) -> None:
    handle = office.put(attempts=1)
    good = office.handler(lambda task: SUCCEEDED)

    def script(seen: Seen, connection: socket.socket) -> object:
        return False if len(server.seen) < 3 else good(seen, connection)

    with Scripted(script) as server, office.pushing(server.url):
        (task,) = office.ended(handle)
    assert (task.state, task.attempts, len(server.seen)) == (State.SUCCEEDED, 1, 3)


@pytest.mark.slow
def test_a_single_start_is_not_sent_twice_to_a_path_of_its_own(office: Office) -> None:
    handle = office.put_url("/jobs", options='{"retry":{"max_attempts":1}}', at_most_once=True)
    with Scripted(lambda seen, connection: False) as server, office.pushing(server.url, lease_s=0.8):
        (task,) = office.ended(handle)
    assert (task.state, len(server.seen)) == (State.DEAD, 1)


@pytest.mark.slow
def test_a_connection_that_the_server_closes_between_two_requests_harms_nothing(office: Office) -> None:
    good = office.handler(lambda task: SUCCEEDED)

    def script(seen: Seen, connection: socket.socket) -> bool:
        good(seen, connection)
        return False

    with Scripted(script) as server, office.pushing(server.url):
        for _ in range(20):
            (task,) = office.ended(office.put(attempts=1))
            assert task.state is State.SUCCEEDED


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_and_comes_back_finishes_everything(office: Office) -> None:
    handles = [office.put() for _ in range(200)]
    good = office.handler(lambda task: SUCCEEDED)
    stuck = threading.Event()

    def script(seen: Seen, connection: socket.socket) -> object:
        if len(server.seen) == 50:
            threading.Thread(target=server.go).start()
            stuck.wait(10)
        return good(seen, connection)

    with Scripted(script) as server, office.pushing(server.url):
        until(lambda: len(server.seen) >= 50, "nothing came")
        time.sleep(0.3)
        stuck.set()
        time.sleep(0.3)
        server.come()
        tasks = office.ended(*handles)
    assert {task.state for task in tasks} == {State.SUCCEEDED}


@pytest.mark.slow
def test_nobody_waits_longer_than_the_deadline_and_the_handler_settles(office: Office) -> None:
    handle = office.put(attempts=1)
    let_go, settled = threading.Event(), threading.Event()

    def script(seen: Seen, connection: socket.socket) -> bool:
        task = office.opened(seen).task
        office.deferq.engine.take_up([(task.id, task.lease_id)])
        let_go.wait(20)
        office.deferq.engine.renew([task], office.deferq.engine.now() + 10_000_000)
        assert settle(office.deferq.engine, task, SUCCEEDED).lost == ()
        settled.set()
        return False

    with Scripted(script) as server, office.pushing(server.url, deadline_s=0.2, lease_s=5.0):
        until(lambda: server.seen, "nothing came")
        time.sleep(2.0)
        assert office.task(handle).state is State.LEASED
        let_go.set()
        (task,) = office.ended(handle)
    assert settled.is_set()
    assert (task.state, len(server.seen)) == (State.SUCCEEDED, 1)


# ---- where it may lead


def resolver(*answers: str) -> Any:
    left = itertools.chain(answers, itertools.repeat(answers[-1]))

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(left), port))]

    return resolve


def test_the_connection_goes_to_the_address_that_was_looked_at(office: Office) -> None:
    handle = office.put()
    with Scripted(office.handler(lambda task: SUCCEEDED)) as server:
        base = f"http://shop.example:{server.port}"
        with office.pushing(base, resolve=resolver("127.0.0.1")):
            office.ended(handle)
    assert server.seen[0].headers["host"] == f"shop.example:{server.port}"


@pytest.mark.slow
def test_a_name_that_is_bound_anew_to_another_kind_of_address_gets_nothing(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    good = office.handler(lambda task: SUCCEEDED)

    def script(seen: Seen, connection: socket.socket) -> bool:
        good(seen, connection)
        return False

    resolve = resolver("127.0.0.1", "169.254.169.254", "10.255.255.1", "93.184.216.34", "127.0.0.1")
    with Scripted(script) as server, office.pushing(f"http://shop.example:{server.port}", resolve=resolve):
        office.ended(office.put())
        office.ended(office.put())
    assert "--allow-host shop.example" in caplog.text
    assert len(server.seen) == 2


def test_a_stored_url_that_was_tampered_with_goes_nowhere(office: Office) -> None:
    evil = [office.put_url(url) for url in ("//evil/x", "/\\evil", "/a/%2e%2e/b", "http://evil/", "/x\r\nHost: evil")]
    forged = office.put_url("/fine")
    path = office.deferq.engine.path  # type: ignore[attr-defined]
    with sqlite3.connect(path) as connection:
        connection.execute("update deferq_task set url = '/admin' where id = ?", (forged.id,))
    with Scripted(says(answer())) as server, office.pushing(server.url):
        tasks = office.ended(*evil, forged)
    assert {(task.state, task.reason) for task in tasks} == {(State.DEAD, "corrupt")}
    assert server.seen == []


def test_proxies_of_the_environment_are_not_used(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Scripted(office.handler(lambda task: SUCCEEDED)) as server, office.pushing(server.url):
        assert office.ended(office.put())[0].state is State.SUCCEEDED


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for shop.example that nobody trusts, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.example",
         "-addext", "subjectAltName=DNS:shop.example", "-keyout", path.with_name("key.pem"), "-out", path],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@pytest.mark.slow
def test_a_certificate_must_be_trusted_and_be_for_that_name(
    office: Office, certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handle = office.put()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    trusting = ssl.create_default_context(cafile=str(certificate))
    home = resolver("127.0.0.1")
    with Scripted(office.handler(lambda task: SUCCEEDED), context) as server:
        base = f"https://shop.example:{server.port}"
        with office.pushing(base, resolve=home):
            until(lambda: "certificate is not accepted" in caplog.text, "it was accepted")
        with office.pushing(f"https://other.example:{server.port}", resolve=home, context=trusting):
            until(lambda: caplog.text.count("certificate is not accepted") == 2, "it was accepted")
        assert (server.seen, office.task(handle).attempts) == ([], 0)
        with office.pushing(base, resolve=home, context=trusting):
            assert office.ended(handle)[0].state is State.SUCCEEDED


# ---- routes and stopping


def test_each_route_goes_to_its_base_and_others_stay(office: Office) -> None:
    plain, eu, us = office.put(), office.put(route="eu"), office.put(route="us")
    good = office.handler(lambda task: SUCCEEDED)
    with (
        Scripted(good) as here, Scripted(good) as there,
        office.pushing(here.url, routes=(None,)), office.pushing(there.url, routes=("eu",)),
    ):  # fmt: skip
        office.ended(plain, eu)
    assert [office.opened(seen).task.id for seen in here.seen] == [plain.id]
    assert [office.opened(seen).task.id for seen in there.seen] == [eu.id]
    assert office.task(us).state is State.PENDING


def test_a_base_in_trouble_holds_up_no_other(office: Office) -> None:
    lost = [office.put(route="eu") for _ in range(20)]
    good = office.handler(lambda task: SUCCEEDED)
    away = Scripted(good)
    with Scripted(good) as here, office.pushing(away.url, routes=("eu",)), office.pushing(here.url, routes=(None,)):
        office.ended(*[office.put() for _ in range(20)])
        assert {office.task(handle).attempts for handle in lost} == {0}


def test_a_stopping_pusher_waits_for_answers_and_sends_nothing_more(office: Office) -> None:
    handles = [office.put() for _ in range(10)]
    go_on = threading.Event()
    good = office.handler(lambda task: SUCCEEDED)

    def script(seen: Seen, connection: socket.socket) -> None:
        go_on.wait(20)
        good(seen, connection)

    with Scripted(script) as server, office.pushing(server.url, concurrency=4) as pusher:
        until(lambda: len(server.seen) == 4, "they have not come")
        pusher.request_stop(10.0)
        time.sleep(0.3)
        go_on.set()
        until(lambda: not pusher.running, "it has not stopped")
    states = Counter(office.task(handle).state for handle in handles)
    assert states == {State.SUCCEEDED: 4, State.PENDING: 6}
    assert len(server.seen) == 4


@pytest.mark.slow
def test_what_is_not_answered_when_draining_is_over_is_let_go(office: Office) -> None:
    handle = office.put()
    go_on = threading.Event()

    def script(seen: Seen, connection: socket.socket) -> bool:
        task: Leased = office.opened(seen).task
        office.deferq.engine.take_up([(task.id, task.lease_id)])
        go_on.wait(20)
        return False

    with Scripted(script) as server, office.pushing(server.url) as pusher:
        until(lambda: server.seen, "it has not come")
        pusher.stop(0.0)
        task = office.task(handle)
        go_on.set()
    assert (task.state, task.attempts) == (State.LEASED, 0)
