"""A web server of bare sockets that does what a test says, down to the byte, and remembers what it was sent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple


class Seen(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    #: Which connection it came through, counted from 1.
    connection: int


#: Answers on the socket; False: the connection is closed then.
Script = Callable[[Seen, socket.socket], object]


def answer(status: int = 200, *headers: tuple[str, str], body: bytes = b"") -> bytes:
    """A response as it travels."""
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


class Scripted:
    """The server. It listens on a port of its own as long as the block lasts, unless it is told to be away."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self._context = context
        self.seen: list[Seen] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Scripted:
        self.come()
        return self

    def __exit__(self, *exc: object) -> None:
        self.go()

    def come(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def go(self) -> None:
        """Be away, as a process that was killed: every connection breaks."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        self._open.add(connection)
        with suppress(OSError), self._secured(connection) as secured, secured.makefile("rb") as stream:
            secured.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while line := stream.readline():
                method, path, _ = line.decode("latin-1").split(" ", 2)
                headers = {}
                while (line := stream.readline().decode("latin-1").strip()) != "":
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                length = int(headers.get("content-length", 0))
                body = stream.read(length)
                if len(body) < length:
                    break
                seen = Seen(method, path, headers, body, number)
                self.seen.append(seen)
                if self.script(seen, secured) is False:
                    break
        self._open.discard(connection)

    def _secured(self, connection: socket.socket) -> socket.socket:
        return connection if self._context is None else self._context.wrap_socket(connection, server_side=True)
