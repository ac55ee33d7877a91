"""A server that runs, seen from outside."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

import deferq
from deferq import Deferq
from deferq.engines.base import Filter
from deferq.model.task import State, Task
from tests.docs.pages import ROOT, snippets
from tests.process.servers.table import Server

PATIENCE_S = 40.0
#: A reloader that has not looked at the files yet does not notice that one is saved.
SAVE_AGAIN_S = 5.0
HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "howto" / "run-tasks-in-the-web-server.md"
#: Sites that are called like the package they need.
FRAMEWORKS = ("flask", "django")
#: Stores a task as another program would.
DEFER = "import deferq, shop_tasks; print(deferq.defer(shop_tasks.note, 1).id)"


class Site:
    """An application in a folder of its own, its store, and the server that serves it."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        if server.site in FRAMEWORKS:
            pytest.importorskip(server.site, reason=f"{server.site} is not installed; pip install '.[test]' brings it")
        for kind in ("common", server.site):
            shutil.copytree(HERE / kind, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for path, text in configuration_of_the_page().items():
            (folder / path).write_text(text)
        self.store = Deferq(f"sqlite:///{folder}/jobs.db")
        self.port = 0
        #: The task that was there before the server.
        self.early: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    # ---- its life

    def start(self, **environment: str) -> None:
        """Start the server; whether it is ready shows by what it does."""
        self.port = free_port()
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**self.environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def command(self) -> list[str]:
        """The command of the page, on a port that is free."""
        program, *words = shlex.split(self.server.command.replace("8000", str(self.port)))
        if program == "python":
            return [sys.executable, *words]
        found = shutil.which(program, path=os.path.dirname(sys.executable))
        if found is None:
            pytest.skip(f"{program} is not installed beside this Python; pip install '.[test]' brings it")
        return [found, *words]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DEFERQ_")}
        # One thread: what one process is busy with shows that another one takes the rest.
        return kept | {
            "DEFERQ_URL": f"sqlite:///{self.folder}/jobs.db",
            "DEFERQ_THREADS": "1",
            "PYTHONPATH": str(Path(deferq.__file__).parent.parent),
            "PYTHONUNBUFFERED": "1",
            "PROCESSES": str(self.server.processes),
            "XDG_RUNTIME_DIR": str(self.folder),  # gunicorn's control socket
        }

    def send(self, number: signal.Signals) -> None:
        """Send a signal as a terminal does (Ctrl-C reaches the children, too), or a service manager."""
        if number is signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End the whole of it without a word."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE_S)

    def close(self) -> None:
        self.kill()
        self.store.close()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    # ---- what is said to it

    def get(self, path: str) -> str:
        """What it answers, as soon as it does answer."""
        self.wait_until(lambda: self.listens() or self.process.poll() is not None, "an open port")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        assert response.status == 200, f"{response.status} {body}\n{self.output()}"
        return body

    def listens(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def defer(self, name: str, count: int = 1) -> list[int]:
        """Have a view defer tasks."""
        return [int(task_id) for task_id in self.get(f"/defer/{name}/{count}").split()]

    def defer_from_elsewhere(self) -> int:
        """Have a program defer a task that is not the server."""
        command = [sys.executable, "-c", DEFER]
        return int(
            subprocess.run(command, cwd=self.folder, env=self.environment(), check=True, capture_output=True).stdout
        )

    # ---- what is seen of it

    def task(self, task_id: int) -> Task:
        return self.store.task(task_id).refresh()

    def wait_for_success(self, *ids: int) -> None:
        self.wait_until(lambda: all(self.task(one).state is State.SUCCEEDED for one in ids), "the tasks to succeed")

    def leased(self) -> list[Task]:
        return [task for task in self.store.engine.find(Filter()).tasks if task.state is State.LEASED]

    def workers(self) -> set[int]:
        """The process of each worker that says it lives."""
        if not (self.folder / "jobs.db").exists():
            return set()
        return {json.loads(record.document)["pid"] for record in self.store.engine.records("worker", limit=100)}

    def wait_for_workers(self) -> set[int]:
        """Wait until each process that serves has a worker, and nobody else has; returns the processes."""
        number = self.server.processes
        self.wait_until(lambda: len(self.workers()) == number and self.workers() == self.serving(), "the workers")
        return self.workers()

    def bells(self) -> list[str]:
        folder = self.folder / "jobs.db-bells"
        return [path.name for path in folder.iterdir()] if folder.exists() else []

    def lines(self, file: str) -> list[list[str]]:
        """What the application has written down."""
        path = self.folder / file
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def serving(self) -> set[int]:
        """The processes that have imported the application, or inherited it, and live; without the one above them."""
        everybody = family(self.process.pid)
        imported = {int(pid) for pid, *_ in self.lines("imported")} & everybody
        above = {self.process.pid} if self.server.parent else set()
        return {each for pid in imported for each in family(pid)} - above

    def reload(self) -> None:
        """Save a source file again and wait until the workers of before are gone."""
        before = self.workers()
        saved_at = -math.inf

        def gone() -> bool:
            nonlocal saved_at
            if not self.workers() & before:
                return True
            if time.monotonic() - saved_at > SAVE_AGAIN_S:
                saved_at = time.monotonic()
                self._save_source()
            return False

        self.wait_until(gone, "the end of the old worker")

    def _save_source(self) -> None:
        assert self.server.source is not None
        path = self.folder / self.server.source
        path.write_text(path.read_text() + "\n")
        later = path.stat().st_mtime + 2  # than it was, for reloaders that look at whole seconds
        os.utime(path, (later, later))

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        ends = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < ends, f"waited for {what} in vain\n{self.output()}"
            time.sleep(0.02)


def configuration_of_the_page() -> dict[str, str]:
    """Files that only tell a server what to do."""
    return {"gunicorn.conf.py": next(one.code for one in snippets(PAGE) if one.file_name == "gunicorn.conf.py")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def family(pid: int) -> set[int]:
    """A process and everything that descends from it."""
    parents = parents_of_all()
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def parents_of_all() -> dict[int, int]:
    """Who was started by whom, for every process that lives."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(path.parent.name)] = int(parent)
    return found
