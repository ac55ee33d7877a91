"""Python's own WSGI server, made quiet and given a thread for each request."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from deferq.demo.logs import LOGGER, is_unexpected
from deferq.demo.web import Shop

HOST = "127.0.0.1"
#: Seconds between two looks whether the server shall stop.
POLL_S = 0.05
#: Seconds that requests may take to end when the demo does.
FINISH_S = 2.0


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, waited for at the end, but not for ever."""

    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self._answering: list[threading.Thread] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._answering = [other for other in self._answering if other.is_alive()] + [thread]
        thread.start()

    def finish(self, timeout_s: float) -> None:
        """Accept nothing more, and wait for the requests that are being answered."""
        until = time.monotonic() + timeout_s
        self.shutdown()
        self.server_close()
        for thread in self._answering:
            thread.join(max(0.0, until - time.monotonic()))

    def server_bind(self) -> None:
        """Bind without asking the resolver for the machine's name, which takes seconds where it is set up badly."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    """Passes over requests that went well; errors are still written."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """No line for each request."""


class ShopServer:
    """The shop on a free port of this machine, with its store and its ledger in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.txt"
        self.shop = Shop(folder, self.ledger)
        self._server = _Server()
        self._server.set_app(self.shop.wsgi)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    def __enter__(self) -> ShopServer:
        LOGGER.addFilter(is_unexpected)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Requests end first, since one that defers would open the store again; then the worker, then the store."""
        self._server.finish(FINISH_S)
        self.shop.deferq.close()
        LOGGER.removeFilter(is_unexpected)
