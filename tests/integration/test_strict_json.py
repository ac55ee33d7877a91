"""`payload="json"` from the call to the result, on both engines, and on the way from pickle to JSON."""

from __future__ import annotations

import datetime
import enum
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import deferq
from deferq import ConfigError, Deferq, NotSerializable, PayloadTooDeep, PayloadTooLargeError, State, TaskFailed
from deferq.codec.signing import codec_of
from deferq.engines.base import Filter
from deferq.errors import CodecNotAllowed
from deferq.registry import registry as default_registry
from deferq.runtime.worker import Worker
from deferq.testing import recording
from tests.support import lease, sample_tasks
from tests.support.sample_tasks import Account, Touching, add, add_async, language, returns, tell_language, touch

WAIT_S = 10


class Color(enum.Enum):
    RED = 1


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, database: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{database}?synchronous=OFF"


@pytest.fixture
def strict(make_app: Callable[..., Deferq], url: str) -> Deferq:
    sample_tasks.forget()
    return make_app(url, payload="json")


@pytest.fixture
def color(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered, and forgotten after the test."""
    monkeypatch.setattr(default_registry, "_tags", {})
    monkeypatch.setattr(default_registry, "_type_codecs", {})
    deferq.register_codec(Color, "color")


def test_a_call_and_its_result_are_stored_as_json_and_come_back(
    strict: Deferq, start_worker: Callable[..., Worker], color: None
) -> None:
    value = {
        "when": datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
        "$sum": (Decimal("1.50"), {1, 2}),
        "c": Color.RED,
    }
    handle = strict.defer(returns, value)
    payload = handle.details().payload
    assert codec_of(payload) == "json"
    assert payload.endswith(b'"c",{"@color":"RED"}]}],{}]')
    start_worker(strict)
    result = handle.wait(WAIT_S)
    assert result == value
    assert type(result["$sum"]) is tuple
    assert codec_of(handle.details().result) == "json"


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        (add, (1, 2), 3),
        (add_async, (1, 2), 3),
        (partial(add, 1), (2,), 3),
        (Account.create, (5,), "Account 5"),
        (Account.fee, (50,), 5),
        ("a".upper, (), "A"),
        (len, ([1, 2],), 2),
    ],
)
def test_what_can_be_called_with_pickle_can_be_called(
    strict: Deferq, start_worker: Callable[..., Worker], fn: Any, args: tuple[Any, ...], expected: object
) -> None:
    start_worker(strict)
    assert strict.defer(fn, *args).wait(WAIT_S) == expected


def test_an_instance_is_an_argument_and_has_to_be_registered(
    strict: Deferq, start_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotSerializable, match=r"^bound\[0\] cannot be stored: .*register_codec\(Account,") as caught:
        strict.defer(Account(100).pay, 5)
    assert caught.value.path == "bound[0]"
    monkeypatch.setattr(default_registry, "_tags", {})
    monkeypatch.setattr(default_registry, "_type_codecs", {})
    deferq.register_codec(Account, "account", lambda account: account.number, Account)
    start_worker(strict)
    assert strict.defer(Account(100).pay, 5).wait(WAIT_S) == 105


def test_what_is_carried_is_json_too(
    make_app: Callable[..., Deferq], url: str, start_worker: Callable[..., Worker]
) -> None:
    odd: ContextVar[object] = ContextVar("odd")
    app = make_app(url, payload="json", carry=[language, odd])

    def defer(**values: object) -> Any:
        language.set(str(values["language"]))
        if "odd" in values:
            odd.set(values["odd"])
        return app.defer(tell_language)

    start_worker(app)
    assert copy_context().run(defer, language="de").wait(WAIT_S) == "de"
    with pytest.raises(NotSerializable, match=r"^carry\['odd'\] cannot be stored"):
        copy_context().run(defer, language="de", odd=object())


def test_a_call_that_is_refused_stores_nothing(make_app: Callable[..., Deferq], url: str) -> None:
    app = make_app(url, payload="json", payload_limit=1000)
    deep: Any = 0
    for _ in range(65):
        deep = [deep]
    for value, error in [(object(), NotSerializable), (deep, PayloadTooDeep), ("x" * 1001, PayloadTooLargeError)]:
        with pytest.raises(error):
            app.defer(returns, value)
        with pytest.raises(error):
            app.defer_many([app.call(add, 1), app.call(returns, value)])
    assert app.engine.find(Filter()).tasks == []


def test_a_result_that_is_not_stored_fails_the_task_for_good(
    strict: Deferq, start_worker: Callable[..., Worker]
) -> None:
    start_worker(strict)
    handle = strict.defer(Account, 7)
    with pytest.raises(TaskFailed, match="result cannot be stored"):
        handle.wait(WAIT_S)
    assert "register_codec(Account, tag, encode, decode)" in handle.details().failures[0].message


# ---- which codecs are read


def test_an_application_with_json_runs_no_pickle(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    handle = make_app().defer(touch, Touching(str(canary)))
    canary.unlink()  # the pickle was tried once
    strict = make_app(payload="json")
    start_worker(strict)
    with pytest.raises(TaskFailed):
        strict.task(handle.id).wait(WAIT_S)
    task = handle.refresh()
    assert (task.state, task.reason) == (State.DEAD, "corrupt")
    (failure,) = handle.details().failures
    assert failure.error_type == "deferq.errors.CodecNotAllowed"
    assert "is stored as pickle, and this application accepts json" in failure.message
    assert "set payload_accept to json,pickle" in failure.message
    assert not canary.exists()


def test_from_pickle_to_json_and_no_task_is_lost(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker]
) -> None:
    """As the page about it says: all read both, then all write JSON and still read both, then JSON alone."""
    before = make_app()
    first = before.defer(add, 1, 1)
    between = make_app(payload="json", payload_accept=["json", "pickle"])
    second = between.defer(add, 2, 2)
    assert [codec_of(handle.details().payload) for handle in (first, second)] == ["pickle", "json"]
    worker = start_worker(between)
    assert [handle.wait(WAIT_S) for handle in (first, second)] == [2, 4]
    worker.stop(2)
    after = make_app(payload="json")
    start_worker(after)
    assert after.task(second.id).wait(WAIT_S) == 4
    assert after.defer(add, 3, 3).wait(WAIT_S) == 6


def test_an_application_with_pickle_reads_both_unless_it_is_told(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker]
) -> None:
    only, both, strict = make_app(payload_accept=["pickle"]), make_app(), make_app(payload="json")
    leased = _leased(only, strict.defer(add, 1, 2).id)
    with pytest.raises(CodecNotAllowed, match="stored as json, and this application accepts pickle"):
        only.codec.decode(leased)
    start_worker(both)
    assert both.task(strict.defer(add, 1, 2).id).wait(WAIT_S) == 3


def test_a_result_in_a_codec_that_is_not_accepted_is_not_restored(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker]
) -> None:
    strict = make_app(payload="json")
    handle = strict.defer(add, 1, 2)
    start_worker(make_app())  # it is set up in another way, and stores results as pickle
    assert make_app().task(handle.id).wait(WAIT_S) == 3
    with pytest.raises(CodecNotAllowed, match="The result is stored as pickle"):
        handle.wait(WAIT_S)


def test_the_codec_of_a_genuine_payload_cannot_be_exchanged(make_app: Callable[..., Deferq]) -> None:
    strict = make_app(payload="json", payload_accept=["json", "pickle"])
    handle = strict.defer(add, 1, 2)
    leased = _leased(strict, handle.id)
    changed = leased._replace(payload=leased.payload[:3] + b"p" + leased.payload[4:])
    with pytest.raises(deferq.errors.PayloadSignatureError):
        strict.codec.decode(changed)


def _leased(app: Deferq, task_id: int) -> Any:
    (leased,) = lease(app.engine, 1)
    assert leased.id == task_id
    return leased


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"payload": "yaml"}, "payload: expected 'pickle'"),
        ({"payload": 7}, "payload: expected 'pickle'"),
        ({"payload_accept": []}, "payload_accept: expected 'json', 'pickle' or both"),
        ({"payload_accept": "json,xml"}, "payload_accept: expected"),
        ({"payload": "json", "payload_accept": ["pickle"]}, "payload_accept: it leaves out 'json'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Deferq("memory://", **wrong)


def test_the_environment_chooses_as_well(tmp_path: Path) -> None:
    program = (
        "import deferq, sys; app = deferq.Deferq('memory://'); app.defer(print, (1,));"
        "print(app.settings['payload'], app.settings['payload_accept'], 'deferq.codec.strictjson.calls' in sys.modules)"
    )
    said = []
    for environment in ({}, {"DEFERQ_PAYLOAD": "json", "DEFERQ_PAYLOAD_ACCEPT": "json, pickle"}):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={"PYTHONPATH": ":".join(path for path in sys.path if path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        said.append(done.stdout.strip())
    assert said == ["pickle None False", "json ('json', 'pickle') True"]


def test_pickle_is_still_what_is_stored_by_default(app: Deferq) -> None:
    payload = app.defer(add, 1, 2).details().payload
    assert codec_of(payload) == "pickle"
    assert pickle.loads(payload[40:]) == ((1, 2), {})


def test_tests_of_an_application_get_its_codec() -> None:
    app = Deferq("sqlite:///never.db", payload="json")
    with recording() as tasks:
        handle = app.defer(returns, (1, [2]))
        assert codec_of(handle.details().payload) == "json"
        with pytest.raises(NotSerializable):
            app.defer(returns, object())
        tasks.drain()
        assert handle.wait(WAIT_S) == (1, [2])
