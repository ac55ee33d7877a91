"""RedisHuey: a list in Redis, popped by blocking workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.peers.huey_sqlite import HueyStore, consumer, register
from bench.peers.redis_server import RedisServer
from bench.system import Command, Store, System

URL = "BENCH_HUEY_REDIS"


def make(url: str) -> Any:
    """The application, in the bench and in its consumer alike."""
    from huey import RedisHuey  # type: ignore[import-untyped]

    huey = RedisHuey("bench", url=url)
    register(huey)
    return huey


def __getattr__(name: str) -> Any:
    if name == "app":
        return make(os.environ[URL])
    raise AttributeError(name)


class _RedisStore(HueyStore):
    def __init__(self, server: RedisServer) -> None:
        self._url = server.url()
        super().__init__(make(self._url))

    def fill(self, count: int, fifo: str) -> None:
        storage = self._huey.storage
        with storage.conn.pipeline(transaction=True) as pipeline:
            pipeline.lpush(storage.queue_key, *self.messages(count, fifo))
            pipeline.execute()

    def worker(self, threads: int | None = None) -> Command:
        return Command(argv=consumer(__name__, threads), environment={URL: self._url})


class HueyRedis(System):
    """RedisHuey with its default settings."""

    name = "RedisHuey"
    packages = ("huey", "redis")
    threads = "1 thread"

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.durability = server.durability

    def missing(self) -> str:
        return super().missing() or self._server.missing()

    def open(self, folder: Path) -> Store:
        self._server.flush()
        return _RedisStore(self._server)
