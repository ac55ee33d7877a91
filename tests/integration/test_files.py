"""The files of a store (B82 to B84): who may open them, what is refused, and that nothing is ever written over."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from deferq import Deferq, State, StoreError
from deferq.engines.base import Filter
from deferq.errors import InsecurePath, SchemaTooNew, StoreCorrupt, StoreUnavailable
from deferq.model.events import Event, EventName
from deferq.runtime.worker import Worker
from tests.support.sample_tasks import add, note, seen

WAIT_S = 10
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fingerprint(path: Path) -> tuple[str, int, int]:
    status = path.lstat()
    return hashlib.sha256(path.read_bytes()).hexdigest(), status.st_mtime_ns, status.st_ino


def assert_refused(app: Deferq, error: type[StoreError], says: str) -> None:
    """Deferring and looking are both refused, with the name of the file or folder."""
    for use in (lambda: app.defer(note, 1), lambda: app.task(1).refresh(), lambda: app.defer_many([app.call(note, 1)])):
        with pytest.raises(error, match=says) as caught:
            use()
        assert str(app.engine.path.parent) in str(caught.value)  # type: ignore[attr-defined]


# ---- B82: who may open them


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_every_file_is_for_its_owner_alone(app: Deferq, database: Path, start_worker: Callable[..., Worker]) -> None:
    handle = app.defer(add, 1, 2)
    start_worker(app)
    handle.wait(WAIT_S)
    found = {path.name: mode(path) for path in database.parent.iterdir()}
    assert {"jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db-gate", "jobs.db-secret"} <= set(found)
    bells = found.pop("jobs.db-bells")
    assert set(found.values()) == {0o600}
    assert bells == 0o700
    for bell in (database.parent / "jobs.db-bells").iterdir():
        assert mode(bell) & 0o077 == 0


def test_a_file_that_others_may_read_is_used_with_a_warning_and_the_command(
    make_app: Callable[..., Deferq], database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_app().defer(note, 1)
    os.chmod(database, 0o644)
    with caplog.at_level(logging.WARNING):
        make_app().defer(note, 2)
    assert f"chmod 600 '{database}'" in caplog.text


@pytest.mark.usefixtures("open_umask")
def test_a_folder_that_everybody_may_write_is_refused_and_stays_empty(app: Deferq, database: Path) -> None:
    os.chmod(database.parent, 0o777)
    assert_refused(app, InsecurePath, "chmod o-w")
    assert list(database.parent.iterdir()) == []
    os.chmod(database.parent, 0o1777)  # as /tmp: nobody can replace the files of others
    assert app.defer(note, 1).state is State.PENDING


def test_a_symbolic_link_is_refused_and_what_it_leads_to_is_not_touched(app: Deferq, database: Path) -> None:
    target = database.with_name("precious.txt")
    target.write_text("precious")
    before = fingerprint(target)
    database.symlink_to(target)
    assert_refused(app, InsecurePath, "symbolic link")
    assert fingerprint(target) == before
    assert sorted(path.name for path in database.parent.iterdir()) == ["jobs.db", "precious.txt"]


def test_a_symbolic_link_to_nowhere_creates_nothing(app: Deferq, database: Path) -> None:
    database.symlink_to(database.with_name("nowhere"))
    assert_refused(app, InsecurePath, "symbolic link")
    assert not database.exists()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_what_is_no_file_is_refused_at_once(app: Deferq, database: Path, make: Callable[[Path], None]) -> None:
    make(database)
    assert_refused(app, StoreCorrupt, "not a regular file")


def test_a_folder_that_is_not_there_is_told(make_app: Callable[..., Deferq], tmp_path: Path) -> None:
    assert_refused(make_app(f"sqlite:///{tmp_path}/nowhere/jobs.db"), StoreUnavailable, "Make it")


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user may enter; those of pytest are closed."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def deferring_as_nobody(database: Path) -> str:
    """What comes of deferring as another user: the class and the message of the error, or nothing."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            Deferq(f"sqlite:///{database}").defer(note, 1)
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, encoding="utf-8") as pipe:
        return pipe.read()


@as_root
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_file_of_another_user_is_refused(make_app: Callable[..., Deferq], shared_folder: Path) -> None:
    database = shared_folder / "jobs.db"
    app = make_app(f"sqlite:///{database}")
    app.defer(note, 1)
    app.close()
    before = fingerprint(database)
    said = deferring_as_nobody(database)
    assert said.startswith("InsecurePath: ")
    assert "belongs to another user" in said
    assert fingerprint(database) == before


@as_root
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_secret_of_another_user_cannot_be_read_and_that_is_told(shared_folder: Path) -> None:
    os.chown(shared_folder, NOBODY, NOBODY)
    secret = shared_folder / "jobs.db-secret"
    secret.write_text("a secret of thirty-two characters\n")
    os.chmod(secret, 0o600)
    said = deferring_as_nobody(shared_folder / "jobs.db")
    assert said.startswith("StoreUnavailable: The secret")
    assert "thirty-two" not in said


@as_root
def test_root_may_use_the_file_of_another_user(app: Deferq, database: Path) -> None:
    database.touch(0o600)
    os.chown(database, NOBODY, NOBODY)
    assert app.defer(note, 1).state is State.PENDING
    assert database.stat().st_uid == NOBODY


# ---- B83: what is not ours, or not whole


def whole(make_app: Callable[..., Deferq], database: Path, tasks: int = 200) -> bytes:
    """A good database as bytes, without its log; the file is taken away, the secret and the gate stay."""
    app = make_app(secrets=["a secret of thirty-two characters"])
    app.defer_many(app.call(note, number) for number in range(tasks))
    app.close()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    for path in database.parent.glob("jobs.db-[ws][ah][lm]"):
        path.unlink()
    content = database.read_bytes()
    database.unlink()
    return content


def assert_refused_and_kept(app: Deferq, database: Path, content: bytes, error: type[StoreError]) -> None:
    database.write_bytes(content)
    os.chmod(database, 0o600)
    before = fingerprint(database)
    assert_refused(app, error, "left as it is|Restore it")
    app.close()
    assert fingerprint(database) == before


@pytest.mark.parametrize(
    "content",
    [
        b"x",  # SQLite takes a single byte for none
        b"a letter to a friend\n",
        b"a letter to a friend\n" * 1000,
        Random(1).randbytes(10_000),
        b"\0" * 4096,
        b"SQLite format 3\0",
        b"SQLite format 3\0" + b"\0" * 4080,
        b"SQLite format 3\0" + Random(2).randbytes(8176),
    ],
    ids=[
        "one byte",
        "a line",
        "a text",
        "random bytes",
        "zeros",
        "only a header",
        "a header and zeros",
        "a header and junk",
    ],
)
def test_what_is_not_a_database_is_refused_and_not_written_over(app: Deferq, database: Path, content: bytes) -> None:
    assert_refused_and_kept(app, database, content, StoreCorrupt)
    assert not database.with_name("jobs.db-secret").exists()


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_database_is_refused_and_not_written_over(
    make_app: Callable[..., Deferq], database: Path, keep: float
) -> None:
    content = whole(make_app, database)
    assert_refused_and_kept(make_app(), database, content[: int(len(content) * keep)], StoreCorrupt)


def test_a_newer_schema_is_refused_and_not_written_over(make_app: Callable[..., Deferq], database: Path) -> None:
    database.write_bytes(whole(make_app, database))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("pragma journal_mode = delete")
        connection.execute("update deferq_meta set value = '99' where key = 'schema'")
    assert_refused_and_kept(make_app(), database, database.read_bytes(), SchemaTooNew)


def test_a_worker_does_not_touch_a_file_that_is_not_ours(
    app: Deferq, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.write_bytes(b"a letter to a friend\n" * 100)
    os.chmod(database, 0o600)
    before = fingerprint(database)
    with pytest.raises(StoreCorrupt):
        app.worker().run()
    assert fingerprint(database) == before


def test_an_empty_file_becomes_a_store(app: Deferq, database: Path) -> None:
    database.touch(0o600)
    assert app.defer(note, 1).state is State.PENDING


def test_the_tables_of_an_application_stay_as_they_are(app: Deferq, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table customer (name text)")
        connection.execute("insert into customer values ('Ada')")
    assert app.defer(note, 1).state is State.PENDING
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select name from customer").fetchall() == [("Ada",)]


def test_a_damaged_page_is_told_as_such(make_app: Callable[..., Deferq], database: Path) -> None:
    content = bytearray(whole(make_app, database, tasks=2000))
    for page in range(3, len(content) // 4096):
        content[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    database.write_bytes(bytes(content))
    os.chmod(database, 0o600)
    app = make_app(secrets=["a secret of thirty-two characters"])
    with pytest.raises(StoreCorrupt, match="Restore it"):
        app.engine.find(Filter(), limit=10_000)


# ---- B84: two applications, one file


def test_two_applications_with_different_secrets_leave_each_others_tasks_alone(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker]
) -> None:
    ours, theirs = (make_app(secrets=[f"a secret of application {name}"]) for name in ("one", "two"))
    our_task, their_task = ours.defer(add, 1, 2), theirs.defer(add, 3, 4)
    payload = their_task.details().payload
    parked = threading.Event()
    ours.listeners.append(lambda event: _set_when_parked(event, their_task.id, parked))
    worker = start_worker(ours)
    assert our_task.wait(WAIT_S) == 3
    assert parked.wait(WAIT_S)
    worker.stop()
    task = their_task.refresh()
    assert (task.state, task.attempts, task.parks) == (State.PENDING, 0, 1)
    assert their_task.details().payload == payload
    (failure,) = their_task.details().failures
    assert (failure.kind, failure.error_type) == ("parked", "deferq.errors.UnknownKey")
    start_worker(theirs)  # its start wakes what is parked
    assert their_task.wait(WAIT_S) == 7
    assert seen == []


def test_the_result_of_another_application_is_not_restored(
    make_app: Callable[..., Deferq], start_worker: Callable[..., Worker]
) -> None:
    ours, theirs = (make_app(secrets=[f"a secret of application {name}"]) for name in ("one", "two"))
    handle = theirs.defer(add, 3, 4)
    start_worker(theirs)
    assert handle.wait(WAIT_S) == 7
    with pytest.raises(Exception, match="key") as caught:
        ours.task(handle.id).wait(0)
    assert type(caught.value).__name__ == "UnknownKey"


def test_a_name_is_one_for_all_applications_of_a_file(make_app: Callable[..., Deferq]) -> None:
    ours, theirs = (make_app(secrets=[f"a secret of application {name}"]) for name in ("one", "two"))
    first = ours.call(note, 1).defer(name="once")
    assert theirs.call(note, 1).defer(name="once", if_exists="return") == first


def _set_when_parked(event: Event, task_id: int, parked: threading.Event) -> None:
    if event.name is EventName.TASK_PARKED and event.task_id == task_id:
        parked.set()
