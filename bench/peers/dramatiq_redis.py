"""dramatiq on Redis: Lua scripts, acknowledgements, prefetching worker threads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench import tasks
from bench.marks import FIRST, LAST
from bench.peers.redis_server import RedisServer
from bench.processes import python
from bench.system import Command, Store, System

URL = "BENCH_DRAMATIQ"


def make(url: str) -> Any:
    """The broker with its actors, in the bench and in the worker alike."""
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker: Any = RedisBroker(url=url)  # type: ignore[no-untyped-call]
    broker.noop = dramatiq.actor(broker=broker)(tasks.noop)
    broker.mark = dramatiq.actor(broker=broker)(tasks.mark)
    return broker


def __getattr__(name: str) -> Any:
    if name == "broker":
        return make(os.environ[URL])
    raise AttributeError(name)


class _Pipelined:
    """Stands in for a script of the broker: its calls gather in a pipeline."""

    def __init__(self, script: Any, pipeline: Any) -> None:
        self._script = script
        self._pipeline = pipeline

    def __call__(self, keys: Any = None, args: Any = None) -> None:
        self._script(keys=keys, args=args, client=self._pipeline)


class _DramatiqStore(Store):
    def __init__(self, server: RedisServer) -> None:
        self._url = server.url()
        self._broker = make(self._url)

    def defer(self) -> None:
        self._broker.noop.send()

    def mark(self, fifo: str, tag: int) -> None:
        self._broker.mark.send(fifo, tag)

    def fill(self, count: int, fifo: str) -> None:
        broker = self._broker
        self.defer()  # loads the scripts and learns the server's limits
        broker.flush_all()
        scripts = broker.scripts
        with broker.client.pipeline(transaction=True) as pipeline:
            broker.scripts = {**scripts, "dispatch": _Pipelined(scripts["dispatch"], pipeline)}
            try:
                broker.mark.send(fifo, FIRST)
                for _ in range(count):
                    broker.noop.send()
                broker.mark.send(fifo, LAST)
            finally:
                broker.scripts = scripts
            pipeline.execute()

    def drained(self) -> bool:
        return self._broker.client.hlen("dramatiq:default.msgs") == 0  # type: ignore[no-any-return]

    def worker(self, threads: int | None = None) -> Command:
        argv = python("-m", "dramatiq", f"{__name__}:broker", "--processes", "1", "--threads", str(threads or 8))
        return Command(argv=argv, environment={URL: self._url})

    def close(self) -> None:
        self._broker.close()


class Dramatiq(System):
    """dramatiq, one worker process with its default of 8 threads."""

    name = "dramatiq"
    packages = ("dramatiq", "redis")
    threads = "8 threads"

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.durability = server.durability

    def missing(self) -> str:
        return super().missing() or self._server.missing()

    def open(self, folder: Path) -> Store:
        self._server.flush()
        return _DramatiqStore(self._server)
