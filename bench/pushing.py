"""deferq pushing to a web server, and a bare client that sends the same to the same."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from subprocess import Popen

from bench.ours import FILE, OurStore, url_of
from bench.processes import child_environment, end, python, spawn, tail
from bench.system import Candidate, Sink, Store, System

#: Requests at a time, as `deferq push` sends them by default.
CONCURRENCY = 64
#: One process each, so that the other of two processors is left to whoever sends.
SERVERS = {
    "granian": ("granian", "--interface", "wsgi", "--workers", "1", "--port", "{port}", "bench.site:app"),
    "gunicorn": ("gunicorn", "--workers", "1", "--threads", "8", "--bind", "127.0.0.1:{port}", "bench.site:app"),
}


class Server:
    """A web server that serves the application of `bench.site`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.url = url_of(folder / FILE)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.base = f"http://127.0.0.1:{self._port}"
        self._log = folder / "server.log"
        words = [word.format(port=self._port) for word in SERVERS[name]]
        self._process: Popen[bytes] = spawn(python("-m", *words), self._log, {"DEFERQ_URL": self.url})

    def wait(self, patience_s: float = 30.0) -> None:
        """Until it listens."""
        ends_s = time.monotonic() + patience_s
        while socket.socket().connect_ex(("127.0.0.1", self._port)):
            if time.monotonic() > ends_s or self._process.poll() is not None:
                raise RuntimeError(f"the server does not listen: {tail(self._log)}")
            time.sleep(0.05)

    def close(self) -> None:
        """End it."""
        end(self._process)


class PushedStore(OurStore):
    """A store whose tasks are pushed to a server."""

    def __init__(self, server: Server, client: str) -> None:
        words = ("--to", server.base, "--url", server.url, "--concurrency", str(CONCURRENCY), "--client", client)
        super().__init__(server.url, python("-m", "deferq", "push", *words))
        self._server = server
        server.wait()

    def close(self) -> None:
        super().close()
        self._server.close()


class Pushed(System):
    """deferq push, by one of its clients."""

    packages = ("aiohttp", "granian", "gunicorn")
    durability = "WAL, synchronous=FULL"

    def __init__(self, server: str, client: str, role: str) -> None:
        self.name = "deferq push"
        self.role = role
        self.client = client
        self._server = server

    @property
    def threads(self) -> str:
        return f"by {self.client}"

    def open(self, folder: Path) -> Store:
        return PushedStore(Server(self._server, folder), self.client)


class BareClient(Candidate):
    """aiohttp by itself."""

    name = "bare aiohttp client"
    durability = "settles nothing"
    packages = ("aiohttp", "granian", "gunicorn")

    def open(self, folder: Path) -> Sink:
        raise NotImplementedError("it has no store of its own; see `bare_rate`")


def bare_rate(server: str, folder: Path, count: int) -> float:
    """Deliveries a second of the bare client."""
    site = Server(server, folder)
    try:
        site.wait()
        ran = subprocess.run(
            [sys.executable, "-m", "bench.bareclient", site.url, site.base, str(count), str(CONCURRENCY)],
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        site.close()
    if ran.returncode:
        raise RuntimeError(ran.stderr[-500:])
    return float(ran.stdout)
