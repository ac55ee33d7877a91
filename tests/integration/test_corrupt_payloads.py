"""Corrupt, forged and foreign payloads (B18 to B25), from the altered file to the end of the task.

Each case defers a task that would leave a canary file behind, alters what the SQLite file holds, and runs a worker:
the task dies as corrupt, or is parked where another worker may know better. It is kept, and the canary is not there.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, State, TaskFailed, TaskHandle
from deferq.codec.signing import Keyring
from deferq.model.events import Event, EventName
from deferq.runtime.worker import Worker
from tests.support import sample_tasks
from tests.support.sample_tasks import Touching, add, note, seen, touch

WAIT_S = 10
ENDS = (EventName.TASK_SUCCEEDED, EventName.TASK_FAILED, EventName.TASK_PARKED, EventName.TASK_DIED)
KEY_AT, MAC_AT, BODY_AT = 4, 8, 40
TOUCH = "tests.support.sample_tasks:touch"


class Place:
    """An application whose stored payloads can be altered, and a canary."""

    def __init__(self, app: Deferq, database: Path, canary: Path, start: Callable[..., Worker]) -> None:
        self.app = app
        self.canary = canary
        self._database = database
        self._start = start
        self._ends: dict[int, EventName] = {}
        self._ended = threading.Condition()
        app.listeners.append(self._listen)

    def defer(self) -> TaskHandle:
        return self.app.defer(touch, str(self.canary))

    def envelope(self, handle: TaskHandle) -> bytes:
        return handle.details().payload

    def alter(self, handle: TaskHandle, **columns: object) -> None:
        """Write columns of a stored task, past all of deferq."""
        with closing(sqlite3.connect(self._database)) as connection, connection:
            for column, value in columns.items():
                connection.execute(f"update deferq_task set {column} = ? where id = ?", (value, handle.id))

    def run(self, *handles: TaskHandle) -> list[EventName]:
        """Run a worker until each of the tasks was tried once; how each of those ended."""
        worker = self._start(self.app)
        with self._ended:
            assert self._ended.wait_for(lambda: all(handle.id in self._ends for handle in handles), WAIT_S)
        worker.stop()
        return [self._ends[handle.id] for handle in handles]

    def _listen(self, event: Event) -> None:
        if event.name in ENDS:
            with self._ended:
                self._ends.setdefault(event.task_id, event.name)
                self._ended.notify_all()

    def forged(self, handle: TaskHandle, body: bytes) -> bytes:
        """An envelope with the key's id and a wrong MAC: all that somebody without the secret can make."""
        return self.envelope(handle)[:MAC_AT] + bytes(32) + body


@pytest.fixture
def place(app: Deferq, database: Path, tmp_path: Path, start_worker: Callable[..., Worker]) -> Iterator[Place]:
    place = Place(app, database, tmp_path / "canary", start_worker)
    yield place
    assert not place.canary.exists()


def assert_dead_as_corrupt(handle: TaskHandle, payload: bytes, error_type: str) -> None:
    task = handle.refresh()
    assert (task.state, task.reason, task.attempts) == (State.DEAD, "corrupt", 1)
    details = handle.details()
    assert details.payload == payload
    assert [failure.error_type for failure in details.failures] == [f"deferq.errors.{error_type}"]
    with pytest.raises(TaskFailed, match="corrupt"):
        handle.wait(0)


def assert_parked(place: Place, handle: TaskHandle, payload: bytes, error_type: str) -> None:
    task = handle.refresh()
    assert (task.state, task.attempts, task.parks) == (State.PENDING, 0, 1)
    assert task.reading(place.app.engine.now()) == "parked"
    details = handle.details()
    assert details.payload == payload
    assert [failure.error_type for failure in details.failures] == [f"deferq.errors.{error_type}"]


def test_the_canary_would_sing(app: Deferq, tmp_path: Path, start_worker: Callable[..., Worker]) -> None:
    """Unaltered, the same task leaves its file: the other tests would notice."""
    start_worker(app)
    canaries = [tmp_path / "called", tmp_path / "restored"]
    app.defer(touch, str(canaries[0])).wait(WAIT_S)
    handle = app.defer(note, Touching(str(canaries[1])))
    handle.wait(WAIT_S)
    assert all(canary.exists() for canary in canaries)


# ---- B18


def test_an_envelope_cut_at_any_byte_kills_the_task_and_nothing_runs(place: Place) -> None:
    whole = place.envelope(_cancelled(place))
    lengths = [*range(0, BODY_AT + 4), *range(BODY_AT + 4, len(whole), 7), len(whole) - 1]
    handles = place.app.defer_many(place.app.call(touch, str(place.canary)) for _ in lengths)
    cut = {handle: place.envelope(handle)[:length] for handle, length in zip(handles, lengths, strict=True)}
    for handle, payload in cut.items():
        place.alter(handle, payload=payload)
    assert set(place.run(*handles)) == {EventName.TASK_DIED}
    for handle, length in zip(handles, lengths, strict=True):
        error = "PayloadCorrupt" if length < BODY_AT else "PayloadSignatureError"
        assert_dead_as_corrupt(handle, cut[handle], error)


# ---- B19


def test_an_envelope_with_any_byte_changed_never_runs(place: Place) -> None:
    length = len(place.envelope(place.app.task(_cancelled(place).id)))
    handles = place.app.defer_many(place.app.call(touch, str(place.canary)) for _ in range(length))
    altered = {}
    for at, handle in enumerate(handles):
        changed = bytearray(place.envelope(handle))
        changed[at] ^= 1 << at % 8
        altered[handle] = bytes(changed)
        place.alter(handle, payload=bytes(changed))
    place.run(*handles)
    for at, (handle, payload) in enumerate(altered.items()):
        if at == 2:
            assert_parked(place, handle, payload, "UnsupportedEnvelope")
        elif KEY_AT <= at < MAC_AT:
            assert_parked(place, handle, payload, "UnknownKey")
        else:
            error = "PayloadCorrupt" if at < 2 else "PayloadSignatureError"
            assert_dead_as_corrupt(handle, payload, error)


# ---- B20 to B25


def _signature(change: Callable[[bytes], bytes]) -> Callable[[Place, TaskHandle], bytes]:
    def altered(place: Place, handle: TaskHandle) -> bytes:
        whole = place.envelope(handle)
        return whole[:MAC_AT] + change(whole[MAC_AT:BODY_AT]) + whole[BODY_AT:]

    return altered


def _of_another_task(place: Place, handle: TaskHandle) -> bytes:
    return place.envelope(_cancelled(place))


def _result_as_payload(place: Place, handle: TaskHandle) -> bytes:
    body = place.envelope(handle)[BODY_AT:]
    return place.app.codec.keyring.seal("result", handle.id, TOUCH, body)


def _other_key(place: Place, handle: TaskHandle) -> bytes:
    body = place.envelope(handle)[BODY_AT:]
    return Keyring(["a secret that was retired"]).seal("payload", handle.id, TOUCH, body)


def _version_99(place: Place, handle: TaskHandle) -> bytes:
    whole = place.envelope(handle)
    return whole[:2] + bytes([99]) + whole[3:]


def _codec_changed(place: Place, handle: TaskHandle) -> bytes:
    whole = place.envelope(handle)
    return whole[:3] + b"j" + whole[4:]


def _sealed_with_codec(codec: bytes) -> Callable[[Place, TaskHandle], bytes]:
    def altered(place: Place, handle: TaskHandle) -> bytes:
        body = place.envelope(handle)[BODY_AT:]
        return place.app.codec.keyring.seal("payload", handle.id, TOUCH, body, codec=codec[0])

    return altered


def _unsigned_pickle(place: Place, handle: TaskHandle) -> bytes:
    return pickle.dumps(((Touching(str(place.canary)),), {}))


def _forged_pickle(place: Place, handle: TaskHandle) -> bytes:
    return place.forged(handle, pickle.dumps(((Touching(str(place.canary)),), {})))


def _empty(place: Place, handle: TaskHandle) -> bytes:
    return b""


CORRUPT: list[tuple[str, Callable[[Place, TaskHandle], bytes], str]] = [
    ("B18 nothing", _empty, "PayloadCorrupt"),
    ("B20 zeros as signature", _signature(lambda mac: bytes(32)), "PayloadSignatureError"),
    ("B20 the signature as hex", _signature(lambda mac: mac.hex().upper().encode()), "PayloadSignatureError"),
    ("B20 no signature", _signature(lambda mac: b""), "PayloadSignatureError"),
    ("B20 spaces", _signature(lambda mac: mac[:-8] + b" " * 8), "PayloadSignatureError"),
    ("B20 padding", _signature(lambda mac: mac + b"="), "PayloadSignatureError"),
    ("B21 the body of another task", _of_another_task, "PayloadSignatureError"),
    ("B22 another purpose", _result_as_payload, "PayloadSignatureError"),
    ("B24 another codec written over", _codec_changed, "PayloadSignatureError"),
    ("B24 a genuine envelope of a codec that its body is not", _sealed_with_codec(b"j"), "PayloadFormatError"),
    ("B24 a genuine envelope of an unknown codec", _sealed_with_codec(b"\0"), "CodecNotAllowed"),
    ("B25 a pickle that calls, unsigned", _unsigned_pickle, "PayloadCorrupt"),
    ("B25 a pickle that calls, forged", _forged_pickle, "PayloadSignatureError"),
]
PARKED: list[tuple[str, Callable[[Place, TaskHandle], bytes], str]] = [
    ("B23 a retired key", _other_key, "UnknownKey"),
    ("B24 version 99", _version_99, "UnsupportedEnvelope"),
]


@pytest.mark.parametrize(("alter", "error"), [pytest.param(*case[1:], id=case[0]) for case in CORRUPT])
def test_what_was_altered_dies_as_corrupt_and_is_kept(
    place: Place, alter: Callable[[Place, TaskHandle], bytes], error: str
) -> None:
    handle = place.defer()
    payload = alter(place, handle)
    place.alter(handle, payload=payload)
    assert place.run(handle) == [EventName.TASK_DIED]
    assert_dead_as_corrupt(handle, payload, error)


@pytest.mark.parametrize(("alter", "error"), [pytest.param(*case[1:], id=case[0]) for case in PARKED])
def test_what_another_worker_may_know_is_parked_and_kept(
    place: Place, alter: Callable[[Place, TaskHandle], bytes], error: str
) -> None:
    handle = place.defer()
    payload = alter(place, handle)
    place.alter(handle, payload=payload)
    assert place.run(handle) == [EventName.TASK_PARKED]
    assert_parked(place, handle, payload, error)


def test_the_id_of_an_unknown_key_is_told_and_no_byte_of_the_payload(place: Place) -> None:
    handle = place.defer()
    payload = _other_key(place, handle)
    place.alter(handle, payload=payload)
    place.run(handle)
    message = handle.details().failures[0].message
    assert payload[KEY_AT:MAC_AT].hex() in message
    assert str(place.canary) not in message
    assert "retired" not in message


@pytest.mark.parametrize(
    "target",
    ["os:system", "posix:system", "builtins:eval", "subprocess:run", "tests.support.sample_tasks:takes_nothing"],
)
def test_a_payload_moved_to_another_target_dies_and_nothing_is_imported(place: Place, target: str) -> None:
    handle = place.defer()
    payload = place.envelope(handle)
    place.alter(handle, target=target)
    assert place.run(handle) == [EventName.TASK_DIED]
    assert_dead_as_corrupt(handle, payload, "PayloadSignatureError")
    assert seen == []


def test_a_target_that_was_written_over_is_not_imported(place: Place, tmp_path: Path) -> None:
    (tmp_path / "never_imported.py").write_text(f"open({str(place.canary)!r}, 'w')\n\ndef work(path): ...\n")
    handle = place.defer()
    place.alter(handle, target="never_imported:work")
    sys.path.insert(0, str(tmp_path))
    try:
        place.run(handle)
    finally:
        sys.path.remove(str(tmp_path))
    assert "never_imported" not in sys.modules
    assert handle.state is State.DEAD


@pytest.mark.parametrize(
    "columns", [{"priority": 50}, {"queue": "other"}, {"eta": 5, "leasable_at": 5}, {"name": "moved"}]
)
def test_what_may_change_later_is_not_bound(
    app: Deferq, database: Path, tmp_path: Path, start_worker: Callable[..., Worker], columns: dict[str, Any]
) -> None:
    place = Place(app, database, tmp_path / "canary", start_worker)
    handle = app.defer(add, 1, 2)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("insert into deferq_queue (name) values ('other')")
        changes = ", ".join(f"{column} = ?" for column in columns)
        connection.execute(f"update deferq_task set {changes} where id = ?", (*columns.values(), handle.id))
    place.run(handle)
    assert handle.wait(0) == 3


def test_large_payloads_in_their_own_table_are_verified_too(place: Place, database: Path) -> None:
    handle = place.app.defer(note, "x" * 5000, Touching(str(place.canary)))
    os.unlink(place.canary)  # restored once, when it was deferred
    with closing(sqlite3.connect(database)) as connection, connection:
        (body,) = connection.execute("select body from deferq_payload where id = ?", (handle.id,)).fetchone()
        changed = body[:-1] + bytes([body[-1] ^ 1])
        connection.execute("update deferq_payload set body = ? where id = ?", (changed, handle.id))
    assert place.run(handle) == [EventName.TASK_DIED]
    assert_dead_as_corrupt(handle, changed, "PayloadSignatureError")


def test_a_large_payload_that_is_gone_dies_as_corrupt(place: Place, database: Path) -> None:
    handle = place.app.defer(note, "x" * 5000)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("delete from deferq_payload where id = ?", (handle.id,))
    assert place.run(handle) == [EventName.TASK_DIED]
    assert (handle.refresh().state, handle.task.reason) == (State.DEAD, "corrupt")
    assert seen == []


def test_an_altered_result_is_refused_and_not_restored(place: Place, database: Path) -> None:
    handle = place.app.defer(add, 1, 2)
    place.run(handle)
    with closing(sqlite3.connect(database)) as connection, connection:
        body = pickle.dumps(Touching(str(place.canary)))
        whole = handle.details().result
        assert whole is not None
        forged = whole[:BODY_AT] + body
        connection.execute("update deferq_result set body = ? where id = ?", (forged, handle.id))
    with pytest.raises(Exception, match="signature") as caught:
        handle.wait(0)
    assert type(caught.value).__name__ == "PayloadSignatureError"


def test_good_tasks_run_beside_corrupt_ones(place: Place) -> None:
    bad = [place.defer() for _ in range(20)]
    good = place.app.defer_many(place.app.call(add, number, 1) for number in range(20))
    for handle in bad:
        place.alter(handle, payload=b"junk")
    place.run(*bad, *good)
    assert [handle.wait(0) for handle in good] == list(range(1, 21))
    assert {handle.state for handle in bad} == {State.DEAD}


def test_a_corrupt_task_can_be_put_back_and_dies_again(place: Place) -> None:
    handle = place.defer()
    place.alter(handle, payload=b"junk")
    place.run(handle)
    assert handle.requeue()
    place._ends.clear()
    assert place.run(handle) == [EventName.TASK_DIED]
    assert sample_tasks.seen == []


def test_a_parked_task_runs_once_its_key_is_there(
    place: Place, make_app: Callable[..., Deferq], start_worker: Callable[..., Worker]
) -> None:
    retired, current = "a secret that was retired", "a secret that came after it"
    old, new, both = (make_app(secrets=secrets) for secrets in ([retired], [current], [current, retired]))
    handle = old.defer(add, 1, 2)
    new.listeners.append(place._listen)
    worker = start_worker(new)
    with place._ended:
        assert place._ended.wait_for(lambda: handle.id in place._ends, WAIT_S)
    worker.stop()
    assert handle.state is State.PENDING
    start_worker(both)
    assert both.task(handle.id).wait(WAIT_S) == 3


def _cancelled(place: Place) -> TaskHandle:
    """A task of the same kind that will not run."""
    handle = place.defer()
    handle.cancel()
    return handle
