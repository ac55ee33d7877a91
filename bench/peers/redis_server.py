"""A redis-server of our own: on a free loopback port, in a temporary folder, ended with the bench."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from bench.processes import end, spawn, tail

DEFAULT = "Redis default: snapshots, no fsync"
DURABLE = "Redis appendfsync always"


class RedisServer:
    """Started when the first peer asks for it."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self._folder = folder
        self._durable = durable
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def durability(self) -> str:
        """What a stored task survives."""
        return DURABLE if self._durable else DEFAULT

    @staticmethod
    def missing() -> str:
        """What to install; empty if it is there."""
        return "" if shutil.which("redis-server") else "apt-get install redis-server"

    @property
    def pid(self) -> int:
        """The process whose memory belongs to every peer on it."""
        self.url()
        assert self._process is not None
        return self._process.pid

    def url(self) -> str:
        """Where it listens."""
        if self._process is None:
            self._start()
        return f"redis://127.0.0.1:{self._port}/0"

    def flush(self) -> None:
        """Forget everything."""
        import redis

        with redis.Redis.from_url(self.url()) as client:
            client.flushall()

    def stop(self) -> None:
        """End it, if it was started."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._port = _free_port()
        argv = ["redis-server", "--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(self._folder)]
        if self._durable:
            argv += ["--appendonly", "yes", "--appendfsync", "always"]
        log = self._folder / "redis.log"
        self._process = spawn(argv, log)
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self._port), 0.2).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"redis-server did not start: {tail(log)}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
