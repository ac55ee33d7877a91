"""The examples as somebody runs them: a server, `deferq worker` beside it, and a counter behind HTTP."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import deferq
from deferq import Deferq
from tests.docs.pages import ROOT, blocks
from tests.process.servers.running import family, free_port

PATIENCE_S = 100.0


class Example(NamedTuple):
    """One of the examples, and how its README serves it."""

    folder: str
    serve: str
    #: Whether the process that is started has others do the work, and replaces those that die.
    master: bool
    prepare: str | None = None

    @property
    def path(self) -> Path:
        return ROOT / "examples" / self.folder

    def commands(self) -> list[str]:
        """Everything that its README has one type into a terminal."""
        return [line for block in blocks(self.path / "README.md", "") for line in block.splitlines()]


EXAMPLES = [
    Example("appengine_flask", "gunicorn main:app --workers 2 --threads 4 --bind 127.0.0.1:8000", True),
    Example(
        "appengine_django",
        "gunicorn mysite.wsgi --workers 2 --threads 4 --bind 127.0.0.1:8000",
        True,
        "python manage.py migrate",
    ),
    Example("appengine_wsgi", "waitress-serve --listen=127.0.0.1:8000 main:app", False),
]
WORKER = "deferq worker --children 2"
PUSHER = "deferq push --to http://127.0.0.1:8000"


class Tally(NamedTuple):
    """Tasks, counted."""

    unfinished: int
    succeeded: int
    lost: int


class Site:
    """An example in a folder of its own, its processes, and the HTTP that they answer."""

    def __init__(self, example: Example, folder: Path, **settings: str) -> None:
        self.example, self.folder = example, folder
        ignored = shutil.ignore_patterns("__pycache__", "*.db*")
        shutil.copytree(example.path, folder, dirs_exist_ok=True, ignore=ignored)
        self.url = f"sqlite:///{folder}/counter.db"
        self.settings = settings
        self.store = Deferq(self.url)
        self.port = free_port()
        #: How often which command was started; each that runs now.
        self.started: list[str] = []
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        if self.example.prepare is not None:
            subprocess.run(self._words(self.example.prepare), cwd=self.folder, env=self.environment(), check=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)
        self.store.close()

    # ---- its processes

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DEFERQ_")}
        return kept | {
            "DEFERQ_URL": self.url,
            "DEFERQ_THREADS": "4",
            "PYTHONPATH": str(Path(deferq.__file__).parent.parent),
            "PYTHONUNBUFFERED": "1",
            "XDG_RUNTIME_DIR": str(self.folder),  # gunicorn's control socket
            **self.settings,
        }

    def serve(self) -> None:
        self._start(self.example.serve)
        self.wait_until(lambda: self._listens() or self._ended(), "an open port")
        assert not self._ended(), self.output()

    def work(self) -> None:
        self._start(WORKER)

    def push(self) -> None:
        self._start(PUSHER)

    def _start(self, command: str) -> None:
        self.started.append(command)
        with (self.folder / "output").open("ab") as output:
            self._running[command] = subprocess.Popen(
                self._words(command),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _words(self, command: str) -> list[str]:
        program, *words = command.replace("8000", str(self.port)).split()
        if program == "python":
            return [sys.executable, *words]
        if program == "deferq":
            return [sys.executable, "-m", "deferq", *words]
        return [str(Path(sys.executable).with_name(program)), *words]

    def _ended(self) -> bool:
        return self._running[self.example.serve].poll() is not None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def processes_with_workers(self) -> list[int]:
        """Those that serve, and the children of `deferq worker`, which is no task's process itself."""
        serving = self._running[self.example.serve].pid
        served = family(serving) - ({serving} if self.example.master else set())
        working = [process.pid for command, process in self._running.items() if command == WORKER]
        return sorted(served.union(*(family(pid) - {pid} for pid in working)))

    def kill(self, pid: int) -> None:
        """As the kernel does when memory is short. A process that nobody replaces is started again."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        for command, process in list(self._running.items()):
            if process.pid == pid:
                process.wait(PATIENCE_S)
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)  # whom it has left behind
                self._start(command)

    def let_be(self) -> None:
        """No more trouble. What has killed its worker three times is left to one with children, and is woken by it."""
        for command in (self.example.serve, WORKER):
            process = self._running.pop(command)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)
        self.settings["DEFERQ_WORKER"] = "external"
        self.serve()
        self.work()

    def parents(self) -> list[int]:
        """Of `deferq worker`."""
        return [process.pid for command, process in self._running.items() if command == WORKER]

    # ---- its pages

    def get(self, path: str) -> str:
        """Raises OSError or HTTPException where nobody answers, AssertionError for any status but 200."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except OSError as error:
            error.add_note(self.output()[-3_000:])
            raise
        finally:
            connection.close()
        assert answer.status == 200, f"{answer.status} {text}\n{self.output()}"
        return text

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """The status of the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("POST", path, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def increment(self) -> bool:
        """Whether it was answered. If not, none, some or all of the three tasks were deferred."""
        try:
            self.get("/counter/increment")
        except (OSError, HTTPException):
            return False
        return True

    def count(self) -> int:
        return int(self.get("/counter/get"))

    # ---- its tasks

    def tally(self) -> Tally:
        """How many tasks there are of each kind. None is purged while a test lasts."""
        counts = self.store.engine.counts(cap=10_000_000)
        waiting = sum(each.ready + each.scheduled + each.retrying + each.parked + each.leased for each in counts.queues)
        return Tally(waiting, counts.succeeded, counts.dead + counts.cancelled)

    def output(self) -> str:
        text = (self.folder / "output").read_text(errors="replace")
        return re.sub(r"\n+", "\n", text)[-20_000:]

    def wait_until(
        self, condition: Callable[[], object], what: str, every_s: float = 0.05, patience_s: float = PATIENCE_S
    ) -> None:
        ends = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < ends, f"waited for {what} in vain\n{self.output()}"
            time.sleep(every_s)

    def wait_for_tasks(self, but: int = 0) -> None:
        """Wait until no more than so many have not ended."""
        self.wait_until(lambda: self.tally().unfinished <= but, "tasks", every_s=0.5, patience_s=4 * PATIENCE_S)
