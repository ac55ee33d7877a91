"""A worker for hostile tasks: one kind after the other, beside good tasks, and what did not go as it should."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from deferq import State
from deferq.app import TaskHandle
from tests.cli.processes import Running
from tests.process.farm import Farm, until

sys.path.append(str(Path(__file__).parent))
import kinds  # isort: skip  # the application, by the name that its workers know it by

APP = Path(kinds.__file__ or "")
PATIENCE_S = 90.0
#: What every process of a worker inherits, also those that leave its process group.
MARK = "HOSTILE_MARK"
FUNCTIONS = {kinds.THREAD: kinds.plainly, kinds.LOOP: kinds.in_loop}


class Case(NamedTuple):
    """A kind, and where it runs."""

    kind: kinds.Kind
    where: str

    def __str__(self) -> str:
        return f"{self.kind.name} in {'a thread' if self.where == kinds.THREAD else 'the loop'}"

    @property
    def end(self) -> kinds.End:
        return self.kind.end if self.where == kinds.THREAD else self.kind.end_in_loop

    @property
    def child(self) -> str:
        return self.kind.child if self.where == kinds.THREAD else self.kind.child_in_loop


def cases(names: Iterable[str] | None = None) -> list[Case]:
    """Each of these kinds, or of all, in a thread and in the loop."""
    chosen = kinds.KINDS.values() if names is None else [kinds.KINDS[name] for name in names]
    return [Case(kind, where) for kind in chosen for where in kind.where]


class Yard:
    """A running worker, and everything that was given to it."""

    def __init__(self, farm: Farm, worker: Running) -> None:
        self.farm = farm
        self.worker = worker
        self.good: list[TaskHandle] = []
        self.hostile: list[tuple[Case, TaskHandle]] = []
        self.problems: list[str] = []

    def put_good(self, number: int = 2, pause_s: float = 0.005) -> list[TaskHandle]:
        """Some that must succeed, plain and coroutines. Their neighbours may take them with them now and then."""
        put = [
            self.farm.put(fn, pause_s, attempts=1000)
            for _ in range(number)
            for fn in (kinds.good, kinds.good_in_loop)
        ]  # fmt: skip
        self.good += put
        return put

    def put_hostile(self, case: Case, attempts: int = 2) -> TaskHandle:
        put = self.farm.put(FUNCTIONS[case.where], case.kind.name, attempts=attempts, timeout=case.kind.timeout)
        self.hostile.append((case, put))
        return put

    def run(self, case: Case) -> None:
        """One hostile task beside good ones; then see whether the worker works on."""
        self.put_good()
        handle = self.put_hostile(case)
        self.await_all([handle], f"{case} has not ended")
        probes = self.put_good(pause_s=0.0)
        if case.kind.group == "state":
            probes.append(self.farm.put(kinds.defers, attempts=1000))
            self.good.append(probes[-1])
        self.await_all(probes, f"after {case} nothing runs any more")
        self.problems += wrong(case, handle, self.farm)
        if self.has_children:
            self.problems += self.wrong_with_child(case, handle)

    def await_all(self, handles: list[TaskHandle], otherwise: str) -> None:
        try:
            self.farm.wait_all(handles, PATIENCE_S)
        except AssertionError:
            tail = "\n".join([*self.problems, *self._unfinished(handles), "the worker says:", *self.worker.lines[-60:]])
            raise AssertionError(f"{otherwise}:\n{tail}") from None

    def _unfinished(self, handles: list[TaskHandle]) -> list[str]:
        names = {handle.id: str(case) for case, handle in self.hostile}
        tasks = self.farm.deferq.engine.get([handle.id for handle in handles])
        return [
            f"{names.get(task.id, task.target)}: {task.state.name}, {task.attempts} attempts, {self._runs_of(task.id)}"
            for task in tasks
            if not task.state.finished
        ]

    def _runs_of(self, task_id: int) -> list[list[str]]:
        return [line for line in self.farm.runs() if line[0] == str(task_id)]

    def wrong_with_child(self, case: Case, handle: TaskHandle) -> list[str]:
        """Whether the child in which it ran has fared as foretold."""
        pids = {line[1] for line in self.farm.runs(handle)}
        found = [f"{case}: its child was to go on: {line}" for pid in pids for line in self.of_child(pid)]
        if case.child == kinds.GOES_ON:
            return found
        if case.child in (kinds.EITHER, kinds.MAY_END) or len(found) >= len(pids):
            return []
        try:
            until(lambda: all(self.of_child(pid) for pid in pids), "")
        except AssertionError:
            return [f"{case}: its child was to end or to be replaced, and was not: {pids}"]
        return []

    def of_child(self, pid: str) -> list[str]:
        """Lines that say how a child ended; not those of one that was held up for a moment."""
        return [
            line
            for line in list(self.worker.lines)
            if (f"lost: pid {pid} " in line or f"replaced: pid {pid}" in line) and "starts no tasks" not in line
        ]

    def finish(self) -> None:
        """The good ones have succeeded, the worker stops in order, and nothing of it is left."""
        self.await_all(self.good, "good tasks have not ended")
        states = self.farm.states(self.good)
        if states != {State.SUCCEEDED: len(self.good)}:
            self.problems.append(f"good tasks: {states}")
        self.worker.send(15)
        code = self.worker.process.wait(PATIENCE_S)
        if code:
            self.problems.append(f"the worker ended with {code}")
        try:
            until(lambda: not left_behind(self.mark), "")
        except AssertionError:
            self.problems.append(f"processes are left behind: {left_behind(self.mark)}")
        assert self.problems == [], "\n".join([*self.problems, "", *self.worker.lines[-40:]])

    #: What its processes inherit.
    mark = ""
    #: Or tasks run in the worker's own process.
    has_children = True


def wrong(case: Case, handle: TaskHandle, farm: Farm) -> list[str]:
    """What is not as foretold about how it ended."""
    task = handle.refresh()
    failures = sorted(handle.details().failures, key=lambda one: one.attempt)
    how = [failure.kind for failure in failures]
    text = [f"{failure.error_type}: {failure.message}" for failure in failures]
    told = f"{case}: {task.state.name}, {task.attempts} attempts, {how}, {[one[:200] for one in text]}"
    if case.child == kinds.MAY_END and how and set(how) == {"worker lost"}:
        return []
    if not case.end.how:
        return [] if (task.state, task.attempts) == (State.SUCCEEDED, 1) else [told]
    attempts = 1 if case.end.how in ("permanent", "result cannot be stored") else 2
    as_foretold = (
        task.state is State.DEAD
        and task.attempts == attempts
        and how == [case.end.how] * attempts
        and all(case.end.says in one for one in text)
    )
    return [] if as_foretold else [told]


#: A worker inside a program of its own: threads of that process.
EMBEDDED = """
import signal, sys, threading
from deferq import Deferq
import kinds
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
deferq = Deferq(sys.argv[1])
worker = deferq.worker(threads=2, async_slots=20)
thread = threading.Thread(target=worker.run)
thread.start()
while not stop.wait(0.1):
    pass
worker.stop()
deferq.close()
"""


def start(farm: Farm, words: Sequence[str], lease_s: float | None) -> Running:
    """`deferq worker`, perhaps with leases of its own length."""
    if lease_s is None:
        return farm.worker(*words, app=str(APP))
    short = (
        f"import deferq.cli.parent as p, sys; p.LEASE_S = {lease_s}; from deferq.cli.main import main; sys.exit(main())"
    )
    return Running(farm.folder, "worker", str(APP), "--url", farm.url, *words, command=("-c", short))


@contextmanager
def yard(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *words: str,
    lease_s: float | None = None,
    embedded: bool = False,
) -> Iterator[Yard]:
    """A worker in a folder of its own."""
    for name in [name for name in os.environ if name.startswith("DEFERQ_")]:
        monkeypatch.delenv(name)
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    (folder / "pyproject.toml").write_text("")
    monkeypatch.chdir(folder)
    farm = Farm(folder)
    if embedded:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(APP.parent), os.environ.get("PYTHONPATH", "")]))
        running = Running(folder, farm.url, command=("-c", EMBEDDED))
    else:
        running = start(farm, words, lease_s)
    with running as worker:
        made = Yard(farm, worker)
        made.mark, made.has_children = mark, not embedded
        try:
            yield made
        finally:
            farm.deferq.close()
    for pid in left_behind(mark):
        os.kill(pid, 9)


def left_behind(mark: str) -> list[int]:
    """Processes of a worker that still live, wherever they have gone."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
