"""Forked, spawned and forkserver processes beside the one that opened the store."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from deferq.engines.sqlite import SqliteEngine

ROOT = Path(__file__).parents[2]

#: What every script below begins with: an engine that has been used, and tasks that no two processes share.
USED_ENGINE = """
import multiprocessing, os, signal, sys, threading
from pathlib import Path
from deferq.engines.sqlite import SqliteEngine
from tests.support import FakeClock, TaskMaker

def tasks(process, number=200):
    return TaskMaker(FakeClock(FakeClock().now + process * 1_000_000)).many(number)

def put_one_by_one(engine, process):
    for task in tasks(process):
        engine.put([task])

def ended_well(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
MAKE_ENGINE = """
engine = SqliteEngine(sys.argv[1], synchronous="OFF")
engine.put(tasks(0, 1))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deferq.db"


def run(path: Path, script: str, *, prelude: str = USED_ENGINE + MAKE_ENGINE, timeout_s: float = 60) -> str:
    """What the script prints, run as a main module that other processes can import."""
    file = path.with_name("script.py")
    file.write_text(prelude + script)
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        # Python 3.12 and later warn of a fork beside threads, which is just what is tried here.
        [sys.executable, "-W", "ignore::DeprecationWarning", str(file), str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def stored(path: Path) -> int:
    with closing(SqliteEngine(path)) as engine:
        assert engine.check(full=True) == []
        return engine.counts().queues[0].ready


def test_parent_and_child_both_go_on_with_an_engine_that_was_used_before_the_fork(path: Path) -> None:
    run(
        path,
        """
pid = os.fork()
put_one_by_one(engine, 1 if pid else 2)
if pid:
    assert ended_well(pid)
""",
    )
    assert stored(path) == 1 + 400


def test_what_a_child_puts_stays_when_the_parent_closes_the_store(path: Path) -> None:
    """The parent would remove the log if it believed to be the last one who has the file open."""
    run(
        path,
        """
closed_read, closed_write = os.pipe()
used_read, used_write = os.pipe()
pid = os.fork()
if pid:
    os.read(used_read, 1)
    engine.close()
    os.write(closed_write, b"!")
    assert ended_well(pid)
else:
    engine.put(tasks(1, 5))
    os.write(used_write, b"!")
    os.read(closed_read, 1)
    put_one_by_one(engine, 2)
    os._exit(0)
""",
    )
    assert stored(path) == 1 + 5 + 200


def test_what_a_child_puts_stays_when_the_parent_is_gone(path: Path) -> None:
    """Grandchildren too: a server that makes itself a daemon forks twice."""
    run(
        path,
        """
begun_read, begun_write = os.pipe()
closed_read, closed_write = os.pipe()
done_read, done_write = os.pipe()
if os.fork() == 0:
    if os.fork():
        os._exit(0)
    engine.put(tasks(1, 1))
    os.write(begun_write, b"!")
    os.read(closed_read, 1)
    put_one_by_one(engine, 2)
    os.write(done_write, b"!")
    os._exit(0)
os.wait()
os.read(begun_read, 1)
engine.close()
os.write(closed_write, b"!")
os.read(done_read, 1)
""",
    )
    assert stored(path) == 1 + 1 + 200


def test_a_child_forked_while_threads_put_can_put_too(path: Path) -> None:
    run(
        path,
        """
stop = threading.Event()
ids = TaskMaker(FakeClock())
one_at_a_time = threading.Lock()

def put():
    while not stop.is_set():
        with one_at_a_time:
            task = ids()
        engine.put([task])
        engine.counts()

bell = engine.bell(1)
threads = [threading.Thread(target=put) for _ in range(3)]
for thread in threads:
    thread.start()
for number in range(1, 21):
    pid = os.fork()
    if pid == 0:
        engine.put(tasks(1000 + number, 1))
        assert engine.counts().queues[0].ready
        os._exit(0)
    assert ended_well(pid)
stop.set()
for thread in threads:
    thread.join()
found = engine.get([tasks(1000 + number, 1)[0].id for number in range(1, 21)])
assert len(found) == 20
""",
    )


def test_a_child_forked_while_threads_put_ends_as_it_should(path: Path) -> None:
    """It leaves by the front door, where the interpreter takes everything down."""
    run(
        path,
        """
stop = threading.Event()
new = TaskMaker(FakeClock())

def put():
    while not stop.is_set():
        engine.put([new()])

bell = engine.bell(1)
thread = threading.Thread(target=put)
thread.start()
for number in range(20):
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert ended_well(pid)
stop.set()
thread.join()
""",
    )


def test_a_child_that_leaves_the_engine_alone_leaves_gate_and_bells_alone(path: Path) -> None:
    run(
        path,
        """
import fcntl
bell = engine.bell(1)
(fifo,) = Path(engine.bells).iterdir()
pid = os.fork()
if pid == 0:
    sys.exit(0)
assert ended_well(pid)
assert list(Path(engine.bells).iterdir()) == [fifo]
fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
try:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    pass
else:
    raise SystemExit("the bell is nobody's")
engine.put(tasks(1, 1))
assert bell.wait(0)
bell.close()
put_one_by_one(engine, 2)
""",
    )
    assert stored(path) == 1 + 1 + 200


def test_a_child_of_a_child_has_nothing_left_to_let_go_of(path: Path) -> None:
    run(
        path,
        """
bell = engine.bell(1)
other = engine.bell(2)
other.close()
pid = os.fork()
if pid == 0:
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    sys.exit(not ended_well(pid))
assert ended_well(pid)
engine.put(tasks(1, 1))
assert bell.heard()
""",
    )


def test_a_child_that_is_killed_while_it_puts_keeps_nobody_out(path: Path) -> None:
    run(
        path,
        """
pid = os.fork()
if pid == 0:
    for process in range(1, 1000):
        put_one_by_one(engine, process)
while engine.counts().queues[0].ready < 50:
    pass
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
put_one_by_one(engine, 2000)
""",
    )
    assert stored(path) >= 250


def test_a_fork_waits_for_a_write_but_not_for_ever_and_then_the_child_says_so(path: Path) -> None:
    """A thread hangs in SQLite: its connection is in a state that the child can neither use nor close."""
    printed = run(
        path,
        """
from deferq.engines.sqlite import forks
from deferq.errors import ForkedEngineError
forks.WAIT_S = 0.1
inside, leave = threading.Event(), threading.Event()

def hang(connection):
    inside.set()
    leave.wait()

thread = threading.Thread(target=lambda: engine._write(hang))
thread.start()
inside.wait()
pid = os.fork()
if pid == 0:
    try:
        engine.put(tasks(1, 1))
    except ForkedEngineError as error:
        print(error, flush=True)
    os._exit(0)
assert ended_well(pid)
leave.set()
thread.join()
put_one_by_one(engine, 2)
""",
    )
    assert "was forked while another thread was using the store" in printed
    assert stored(path) == 1 + 200


def test_two_engines_on_one_file_survive_a_fork_together(path: Path) -> None:
    run(
        path,
        """
other = SqliteEngine(sys.argv[1], synchronous="OFF")
other.put(tasks(1, 1))
pid = os.fork()
if pid == 0:
    engine.put(tasks(2, 1))
    other.put(tasks(3, 1))
    os._exit(0)
assert ended_well(pid)
engine.close()
other.put(tasks(4, 1))
""",
    )
    assert stored(path) == 5


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_put_beside_their_parent(path: Path, method: str) -> None:
    """An engine is made where it is used; a forked one is there already."""
    run(
        path,
        f"""
def work(process):
    here = engine if "{method}" == "fork" else SqliteEngine(sys.argv[1], synchronous="OFF")
    put_one_by_one(here, process)

if __name__ == "__main__":
    engine = SqliteEngine(sys.argv[1], synchronous="OFF")
    engine.put(tasks(0, 1))
    context = multiprocessing.get_context("{method}")
    children = [context.Process(target=work, args=(process,)) for process in (1, 2)]
    for child in children:
        child.start()
    put_one_by_one(engine, 3)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
""",
        prelude=USED_ENGINE,
    )
    assert stored(path) == 1 + 3 * 200
