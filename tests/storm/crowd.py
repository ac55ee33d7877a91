"""The crowd of a storm: workers with children, and producers, on one store. Who is missing is replaced."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from deferq import Deferq
from tests.cli.processes import environment
from tests.storm.processes import Hit, Producer, Worker

import storm_tasks as tasks  # isort: skip  # the application, by the name that its workers know it by

#: Seconds that a process may take to start, or to end.
PATIENCE_S = 60.0
#: Tasks that a producer defers in a second, and that each of the first ones defers at once.
PER_SECOND, AT_FIRST = 40.0, 150


class Crowd:
    """Use it in a `with` block: at its end nothing of it lives on.

    The first worker is the veteran, which lives to the end.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        workers: int = 3,
        children: int = 2,
        producers: int = 2,
        lease_s: float | None = None,
    ) -> None:
        """`lease_s`: None: as `deferq worker` has it."""
        self.folder = folder
        self.url = f"sqlite:///{folder}/jobs.db"
        self.lease_s = lease_s
        self.deferq = Deferq(self.url)
        #: What may have ended somebody.
        self.hits: list[Hit] = []
        #: Who ended in a way that nobody had asked for.
        self.astray: list[str] = []
        self.workers: list[Worker] = []
        self.leaving: list[Worker] = []
        self.producers: list[Producer] = []
        self.dead: list[Producer] = []
        self._seed = seed
        self._children = children
        self._wanted = (workers, producers)
        self._born = 0

    def __enter__(self) -> Self:
        self.deferq.engine.counts()
        limit = ["queues", "set", tasks.NARROW, "--new", "--max-concurrent", str(tasks.NARROW_MOST), "--url", self.url]
        subprocess.run([sys.executable, "-m", "deferq", *limit], env=environment(), check=True, capture_output=True)
        self.fill_up()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self.workers, *self.leaving, *self.producers, *self.dead):
            one.__exit__()
        self.deferq.close()

    @property
    def veteran(self) -> Worker:
        return self.workers[0]

    def wait_for_the_veteran(self) -> None:
        ends = time.monotonic() + PATIENCE_S
        while not (self.veteran.works and len(self.veteran.ready()) == self._children):
            assert time.monotonic() < ends, self.veteran.output
            time.sleep(0.01)

    def hit(self, pid: int, number: int, running: Worker | Producer) -> None:
        self.hits.append(Hit(time.monotonic_ns(), pid, number))
        with suppress(ProcessLookupError):
            running.send(number)

    # ---- those who come and go

    def fill_up(self) -> None:
        workers, producers = self._wanted
        while len(self.workers) < workers:
            self.add_worker()
        while len(self.producers) < producers:
            self._born += 1
            at_first = AT_FIRST if self._born <= producers else 0
            who = f"{self._seed}-{self._born}"
            self.producers.append(Producer(self.folder, self.url, who, str(PER_SECOND), str(at_first)))

    def add_worker(self) -> Worker:
        worker = Worker(self.folder, self.url, children=self._children, lease_s=self.lease_s)
        self.workers.append(worker)
        return worker

    def see_off(self) -> None:
        """Whoever has ended, and all its children: no one is killed for that."""
        for worker in [one for one in self.leaving if one.process.poll() is not None and one.silent]:
            self.leaving.remove(worker)
            self._check_code(worker)
        for producer in [one for one in self.dead if one.process.poll() is not None]:
            self.dead.remove(producer)
            self._check_producer(producer)
        for worker in [one for one in self.workers if one.process.poll() is not None]:
            self.workers.remove(worker)
            self._check_code(worker)
        for producer in [one for one in self.producers if one.process.poll() is not None]:
            self.producers.remove(producer)
            self._check_producer(producer)

    def _check_producer(self, producer: Producer) -> None:
        if (code := producer.process.returncode) != -signal.SIGKILL:
            self.astray.append(f"a producer ended by itself, with {code}:\n{producer.output[-3000:]}")

    def _check_code(self, worker: Worker) -> None:
        if (code := worker.process.returncode) not in worker.codes:
            self.astray.append(f"a worker ended with {code} instead of {worker.codes}:\n{worker.output[-3000:]}")

    # ---- after the storm

    def calm(self) -> None:
        """No producer any more. All workers but the veteran are told to stop, and all that leave end by themselves."""
        self._wanted = (0, 0)
        while self.producers:
            producer = self.producers.pop()
            self.hit(producer.pid, signal.SIGKILL, producer)
            producer.process.wait()
            self._check_producer(producer)
        for worker in self.workers[1:]:
            self.stop(worker)
        self.wait_for_leaving()

    def stop(self, worker: Worker) -> None:
        """In order. One that was just started may not know yet how to stop in order."""
        worker.codes = {0} if worker.works else {0, -signal.SIGTERM}
        self.workers.remove(worker)
        self.leaving.append(worker)
        self.hit(worker.pid, signal.SIGTERM, worker)

    def wait_for_leaving(self) -> None:
        ends = time.monotonic() + PATIENCE_S
        while self.leaving:
            self.see_off()
            assert time.monotonic() < ends, "still there, or a child of it:\n" + "\n".join(
                f"{one.pid}: {one.output[-2000:]}" for one in self.leaving
            )
            time.sleep(0.01)
