"""What errors say: each message on the page of errors is one that was really raised, here."""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq, Queue, RetryPolicy, current_task, errors
from deferq.codec.finding import find_target
from deferq.codec.payload import decode_call
from deferq.codec.signing import JSON, Keyring
from deferq.codec.strictjson.reading import Reader
from deferq.compat.appengine.queueyaml import parse
from deferq.config import gather
from deferq.current import CurrentTask
from deferq.engines.base import Want
from deferq.engines.memory import MemoryEngine
from deferq.engines.sqlite import SqliteEngine
from deferq.registry import Registry
from deferq.transactions.settling import Settler
from tests.support import sample_tasks

SECRET = "correct horse battery staple"
#: What differs from one run to the next, and what stands on the page instead.
_ID, _SHOWN_ID = re.compile(r"\b\d{18}\b"), "890406159019308306"
_SHOWN_PATH = "/srv/shop"


class Shop:
    """A store in a folder of its own, and one in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "jobs.db"
        self.memory = Deferq(
            "memory://", queues={"mail": Queue(), "index": Queue()}, payload_limit=1000, secrets=[SECRET]
        )

    def strict(self) -> Deferq:
        return Deferq("memory://", payload="json", secrets=[SECRET])

    def call(self, **options: Any) -> None:
        self.memory.call(sample_tasks.add, 1, 2).defer(**options)

    def died(self) -> None:
        handle = self.memory.call(sample_tasks.fail, "no such user").defer(retry=RetryPolicy(max_attempts=1))
        self.memory.worker(until_idle=True, listeners=()).run()
        handle.wait(0)

    def cancelled(self) -> None:
        handle = self.memory.defer(sample_tasks.add, 1, 2)
        handle.cancel()
        handle.wait(0)

    def named_twice(self) -> None:
        self.call(name="welcome-ann")
        self.call(name="welcome-ann")

    def tombstoned(self) -> None:
        handle = self.memory.call(sample_tasks.add, 1, 2).defer(name="welcome-bob")
        handle.cancel()
        self.call(name="welcome-bob")

    def sealed(self) -> bytes:
        return Keyring([SECRET]).seal("payload", 1, "shop.mail:send", b"body")

    def open(self, envelope: bytes, task_id: int = 1, codecs: frozenset[int] = frozenset({ord("p")})) -> None:
        Keyring([SECRET]).open("payload", task_id, "shop.mail:send", envelope, codecs=codecs)

    def store(self, path: Path) -> None:
        with closing(SqliteEngine(path)) as engine:
            engine.open()

    def store_of_a_newer_release(self) -> None:
        self.store(self.file)
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute("update deferq_meta set value = '99' where key = 'schema'")
        self.store(self.file)

    def store_of_another_program(self) -> None:
        path = self.folder / "notes.txt"
        path.write_text("not a database\n" * 100)
        path.chmod(0o600)
        self.store(path)

    def store_behind_a_link(self) -> None:
        link = self.folder / "link.db"
        link.symlink_to(self.file)
        self.store(link)

    @contextmanager
    def own_file(self) -> Iterator[tuple[Deferq, sqlite3.Connection]]:
        """An application on the file of its store, in a transaction that has written."""
        with Deferq(f"sqlite:///{self.file}") as app:
            app.engine.counts()
            with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
                connection.execute("create table if not exists orders (state text)")
                yield app, connection

    def within(self, **options: Any) -> None:
        with self.own_file() as (app, _):
            app.call(sample_tasks.add, 1, 2).defer(**options)

    def within_nothing(self) -> None:
        with self.own_file() as (app, connection):
            app.call(sample_tasks.add, 1, 2).defer(within=connection)

    def within_memory(self) -> None:
        with closing(sqlite3.connect(":memory:")) as other:
            self.within(within=other)

    def within_what_is_old(self) -> None:
        with self.own_file() as (app, connection):
            connection.execute("begin")
            connection.execute("select count(*) from orders").fetchall()
            app.defer(sample_tasks.add, 1, 2)
            app.call(sample_tasks.add, 1, 2).defer(within=connection)

    def beside(self) -> None:
        with self.own_file() as (app, connection):
            connection.execute("begin immediate")
            app.engine.within.check_free()  # type: ignore[union-attr]

    def within_before_its_tables(self) -> None:
        path = self.folder / "new.db"
        with closing(sqlite3.connect(path)) as connection, Deferq(f"sqlite:///{path}") as app:
            path.chmod(0o600)
            connection.execute("create table orders (state text)")
            connection.execute("insert into orders values ('new')")
            app.call(sample_tasks.add, 1, 2).defer(within=connection)

    def within_what_is_async(self) -> None:
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        session = AsyncSession(create_async_engine(f"sqlite+aiosqlite:///{self.file}"))
        self.within(within=session)

    def settled_too_late(self) -> None:
        with self.own_file() as (app, connection):
            app.defer(sample_tasks.add, 1, 2)
            (leased,) = app.engine.turn((), Want(free=1, ahead=0, lease_id=7, lease_us=1_000_000)).leased
            connection.execute("begin immediate")
            late = CurrentTask(leased._replace(lease_id=6), settler=Settler(app.engine, app.codec))
            late.settle_within(connection)

    def engine_after_a_fork(self) -> None:
        engine = MemoryEngine()
        engine._pid = os.getpid() + 1
        engine.counts()


def _inner() -> Callable[[], None]:
    def send() -> None: ...

    return send


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def settings(**given: Any) -> None:
    gather(given, environ={}, folder=Path("/"))


#: By the class of the error: what raises it.
PROVOKED: dict[str, list[Callable[[Shop], object]]] = {
    "NotDeferrable": [
        lambda shop: shop.memory.defer(lambda: None),
        lambda shop: shop.memory.defer(_inner()),
    ],
    "NotSerializable": [
        lambda shop: shop.memory.defer(print, {"user": threading.Lock()}),
        lambda shop: shop.memory.defer(print, [lambda: None]),
    ],
    "PayloadTooLargeError": [lambda shop: shop.memory.defer(print, "x" * 2000)],
    "PayloadTooDeep": [lambda shop: shop.strict().defer(print, nested(100))],
    "PayloadTooComplex": [lambda shop: shop.strict().defer(print, [0] * 100_001)],
    "InvalidOption": [
        lambda shop: shop.call(priorty=5),
        lambda shop: shop.call(priority=1000),
        lambda shop: Queue(rate="fast"),
        lambda shop: RetryPolicy(max_attempts=0),
    ],
    "InvalidUrl": [lambda shop: shop.call(url="//evil.example/"), lambda shop: shop.call(url="tasks/mail")],
    "InvalidName": [lambda shop: shop.call(queue="my mail"), lambda shop: shop.call(name="für Ann")],
    "ScheduleError": [
        lambda shop: shop.call(countdown="soon"),
        lambda shop: shop.call(countdown=60, eta=datetime(2030, 1, 1)),
        lambda shop: shop.call(countdown=timedelta(days=40_000)),
    ],
    "NaiveDatetime": [lambda shop: shop.call(eta=datetime(2030, 1, 1))],
    "UnknownQueueError": [lambda shop: shop.call(queue="mial")],
    "TaskAlreadyExistsError": [Shop.named_twice],
    "TombstonedTaskError": [Shop.tombstoned],
    "NoTransaction": [lambda shop: shop.within(within=True), Shop.within_nothing],
    "NotTransactional": [
        lambda shop: shop.within(within=shop),
        lambda shop: shop.call(within=True),
        lambda shop: CurrentTask(None).settle_within(True),  # type: ignore[arg-type]
    ],
    "OtherDatabase": [Shop.within_memory],
    "StoreNotPrepared": [Shop.within_before_its_tables],
    "AsyncTransaction": [Shop.within_what_is_async],
    "CannotUpgrade": [Shop.within_what_is_old],
    "WriteBesideTransaction": [Shop.beside],
    "LeaseLost": [Shop.settled_too_late],
    "PayloadCorrupt": [lambda shop: shop.open(b"junk"), lambda shop: decode_call(b"\x80\x05")],
    "PayloadFormatError": [lambda shop: Reader("[[1, NaN], {}]", Registry()).document()],
    "PayloadSignatureError": [lambda shop: shop.open(shop.sealed(), task_id=2)],
    "UnknownKey": [
        lambda shop: shop.open(Keyring(["quite another secret"]).seal("payload", 1, "shop.mail:send", b"body"))
    ],
    "UnsupportedEnvelope": [lambda shop: shop.open(b"DQ\x02" + shop.sealed()[3:])],
    "CodecNotAllowed": [lambda shop: shop.open(shop.sealed(), codecs=frozenset({JSON}))],
    "TargetNotAllowed": [
        lambda shop: find_target("os:system", Registry(), ("shop.",)),
        lambda shop: find_target("shop", Registry()),
    ],
    "TargetUnknown": [
        lambda shop: find_target("bakery.mail:send", Registry()),
        lambda shop: find_target("@mailer:send", Registry()),
    ],
    "TaskNotFound": [lambda shop: shop.memory.task("seven"), lambda shop: shop.memory.task(7).state],
    "TaskNotFinished": [lambda shop: shop.memory.defer(sample_tasks.add, 1, 2).wait(0)],
    "TaskFailed": [Shop.died],
    "TaskCancelled": [Shop.cancelled],
    "NoCurrentTask": [lambda shop: current_task()],
    "ConfigError": [
        lambda shop: settings(threds=4),
        lambda shop: settings(threads=0),
        lambda shop: settings(secrets=["short"]),
        lambda shop: Deferq("sqlit:///jobs.db").engine,
    ],
    "QueueYamlError": [lambda shop: parse(b"queue:\n- name: mail\n  rate: 600/s\n  bukcet_size: 40\n")],
    "StoreUnavailable": [lambda shop: shop.store(shop.folder / "missing" / "jobs.db")],
    "StoreCorrupt": [Shop.store_of_another_program],
    "SchemaTooNew": [Shop.store_of_a_newer_release],
    "InsecurePath": [Shop.store_behind_a_link],
    "ForkedEngineError": [Shop.engine_after_a_fork],
}


def messages(name: str) -> list[str]:
    """What errors of this class said when they were provoked."""
    with _shop() as shop:
        return [_stable(_said(name, provoke, shop), shop) for provoke in PROVOKED.get(name, ())]


@contextmanager
def _shop() -> Iterator[Shop]:
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder))
        try:
            yield shop
        finally:
            shop.memory.close()


def _said(name: str, provoke: Callable[[Shop], object], shop: Shop) -> str:
    with pytest.raises(getattr(errors, name)) as raised:
        provoke(shop)
    assert raised.type.__name__ == name
    return str(raised.value)


def _stable(message: str, shop: Shop) -> str:
    return _ID.sub(_SHOWN_ID, message.replace(str(shop.folder), _SHOWN_PATH))
