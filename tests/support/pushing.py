"""A store, a pusher that works for it, and a handler for scripted servers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deferq import Deferq, RetryPolicy
from deferq.codec import wire
from deferq.engines.answers import TakeUp
from deferq.handles import TaskHandle
from deferq.http.push.addresses import Guard, Resolve
from deferq.http.push.bases import parse_base
from deferq.http.push.pusher import Manner, Pusher
from deferq.model.events import Event
from deferq.model.outcome import Outcome
from deferq.model.task import Leased, Options, Task
from deferq.runtime.config import WorkerConfig
from tests.support import sample_tasks
from tests.support.scripted import Seen, answer

PATIENCE_S = 30.0
QUICK = {"min_backoff_s": 0.01, "max_backoff_s": 0.05}


class Office:
    """Where tasks wait to be pushed."""

    def __init__(self, folder: Path, client: str) -> None:
        self.client = client
        self.deferq = Deferq(f"sqlite:///{folder}/jobs.db?synchronous=NORMAL")
        self.events: list[Event] = []

    def put(self, *args: Any, attempts: int = 3, **options: Any) -> TaskHandle:
        call = self.deferq.call(sample_tasks.add, *(args or (1,)))
        return call.defer(retry=RetryPolicy(max_attempts=attempts, **QUICK), **options)

    def put_url(self, url: str, **options: Any) -> TaskHandle:
        """A task with an url of its own, whatever may be deferred that way."""
        engine, keyring = self.deferq.engine, self.deferq.codec.keyring
        made = self.deferq.tasks.make(self.deferq.ids.next(), self.deferq.call(sample_tasks.add, 1), engine.now())
        _, body = keyring.open("payload", made.id, made.target, made.payload)
        sealed = keyring.seal("payload", made.id, made.target, body, url=url)
        quick = Options(retry=RetryPolicy(max_attempts=3, **QUICK)).encode()
        engine.put([made._replace(url=url, payload=sealed, **{"options": quick, **options})])
        return self.deferq.task(made.id)

    def pusher(self, base: str, *, resolve: Resolve = socket.getaddrinfo, concurrency: int = 8, **more: Any) -> Pusher:
        parsed = parse_base(base)
        manner = Manner(
            client=self.client, **{name: more.pop(name) for name in ("deadline_s", "context") if name in more}
        )
        config = {"lease_s": 3.0, "poll_s": 0.2, "drain_s": 5.0, "delivers": True, **more}
        return Pusher(
            self.deferq.engine,
            self.deferq.codec,
            Guard(parsed.host, parsed.port, resolve=resolve),
            parsed,
            WorkerConfig(threads=concurrency, **config),
            [self.events.append],
            manner=manner,
        )

    @contextmanager
    def pushing(self, base: str, **more: Any) -> Iterator[Pusher]:
        pusher = self.pusher(base, **more)
        pusher.start()
        try:
            yield pusher
        finally:
            pusher.stop(0.0)

    def task(self, handle: TaskHandle) -> Task:
        return self.deferq.engine.get([handle.id])[0]

    def ended(self, *handles: TaskHandle) -> list[Task]:
        """Wait until they have ended."""
        ids = [handle.id for handle in handles]
        until(lambda: all(task.state.finished for task in self.deferq.engine.get(ids)), "they have not ended")
        return self.deferq.engine.get(ids)

    def opened(self, seen: Seen) -> wire.Delivered:
        """What a request delivers, if it is signed as it should be."""
        path, _, query = seen.path.partition("?")
        headers = seen.headers
        time_text, task = headers[wire.TIME.lower()], headers[wire.TASK.lower()]
        signed = wire.Signed(seen.method, unquote(path), query, time_text, task, seen.body)
        wire.verify(self.deferq.codec.keyring, signed, headers[wire.SIGNATURE.lower()], time.time())
        return wire.unpack_delivery(task, seen.body)

    def handler(self, outcome: Callable[[Leased], Outcome]) -> Callable[[Seen, socket.socket], object]:
        """A script that does as our handler does: takes the lease up, and says the outcome."""

        def script(seen: Seen, connection: socket.socket) -> None:
            task = self.opened(seen).task
            (taken,) = self.deferq.engine.take_up([(task.id, task.lease_id)])
            if taken is not TakeUp.TAKEN:
                connection.sendall(answer(409, (wire.HELD, "1")))
                return
            connection.sendall(answer(200, (wire.OUTCOME, wire.pack_header(outcome(task)))))

        return script


def until(condition: Callable[[], object], otherwise: str, timeout_s: float = PATIENCE_S) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, otherwise
        time.sleep(0.01)


def kinds(handle: TaskHandle) -> Sequence[str]:
    """How its attempts failed, the first first."""
    return [one.kind for one in sorted(handle.details().failures, key=lambda one: one.attempt)]
