"""RQ: a hash for each job in Redis, a fork for each job."""

from __future__ import annotations

from pathlib import Path

from bench import tasks
from bench.marks import FIRST, LAST
from bench.peers.redis_server import RedisServer
from bench.processes import python
from bench.system import Command, Store, System


class _RqStore(Store):
    def __init__(self, server: RedisServer) -> None:
        import redis
        from rq import Queue

        self._url = server.url()
        self._client = redis.Redis.from_url(self._url)
        self._queue = Queue("default", connection=self._client)

    def defer(self) -> None:
        self._queue.enqueue(tasks.noop)

    def defer_many(self, count: int) -> None:
        prepare = self._queue.prepare_data
        self._queue.enqueue_many([prepare(tasks.noop) for _ in range(count)])

    def mark(self, fifo: str, tag: int) -> None:
        self._queue.enqueue(tasks.mark, fifo, tag)

    def fill(self, count: int, fifo: str) -> None:
        prepare = self._queue.prepare_data
        jobs = [prepare(tasks.mark, (fifo, FIRST))]
        jobs += [prepare(tasks.noop) for _ in range(count)]
        jobs.append(prepare(tasks.mark, (fifo, LAST)))
        self._queue.enqueue_many(jobs)

    def drained(self) -> bool:
        return self._queue.count == 0 and self._queue.started_job_registry.count == 0

    def worker(self, threads: int | None = None) -> Command:
        argv = python("-m", "rq.cli", "worker", "--quiet", "--url", self._url, "default")
        return Command(argv=argv)

    def close(self) -> None:
        self._client.close()


class Rq(System):
    """RQ with its default worker, which forks for each job."""

    name = "RQ"
    packages = ("rq", "redis")
    bulk = True
    threads = "a fork a job"

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.durability = server.durability

    def missing(self) -> str:
        return super().missing() or self._server.missing()

    def open(self, folder: Path) -> Store:
        self._server.flush()
        return _RqStore(self._server)
