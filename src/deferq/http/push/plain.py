"""Requests in threads, by `http.client`: all that push needs where aiohttp is not installed."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from http.client import BadStatusLine, HTTPConnection, HTTPResponse, parse_headers
from typing import Final

from deferq.codec.requests import METHODS_WITH_BODY
from deferq.codec.wire import OUTCOME
from deferq.http.push.addresses import Guard, connect
from deferq.http.push.bases import Base
from deferq.http.push.exchange import (
    CONNECT_S,
    DROPPED,
    KEEP_ALIVE_S,
    Answer,
    Broken,
    NotSent,
    Report,
    Request,
    Result,
    Take,
    body_limit,
)

#: So many interim answers may come before the answer.
INTERIM_MAX: Final = 20


class _Response(HTTPResponse):
    """Passes interim answers over. `http.client` knows `100 Continue` alone, and would take any other for the answer:
    the real one would be read by the next request of the connection, as its own.
    """

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(INTERIM_MAX):
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 100 < line[1] < 200:
                return line
            parse_headers(self.fp)
        raise BadStatusLine("one interim answer after the other")


class _Line:
    """What one thread has: a connection that it keeps for the next request."""

    def __init__(self) -> None:
        self.connection: HTTPConnection | None = None
        self.used_at = 0.0

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


class ThreadClient:
    """A Client with a thread for each request that is under way."""

    def __init__(
        self, base: Base, guard: Guard, take: Take, report: Report, *, most: int, context: ssl.SSLContext | None
    ) -> None:
        self._base = base
        self._guard = guard
        self._take = take
        self._report = report
        self._most = most
        self._context = context
        self._changed = threading.Condition()
        self._wakes = 0
        self._idle = 0
        self._closed = False
        self._threads: list[threading.Thread] = []
        #: The sockets of the requests under way.
        self._sockets: dict[Request, socket.socket] = {}

    # ---- see Client

    def wake(self, count: int) -> None:
        with self._changed:
            self._wakes = min(self._most, self._wakes + count)
            self._changed.notify(count)
            for _ in range(min(self._wakes - self._idle, self._most - len(self._threads))):
                if not self._start_thread():
                    return

    def _start_thread(self) -> bool:
        """Whether there is one more. Raises RuntimeError if not even one can be had."""
        thread = threading.Thread(target=self._work, name="deferq-push", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            return False  # those that are there do the work, one after the other
        self._threads.append(thread)
        return True

    def drop(self, request: Request) -> None:
        taken = self._sockets.pop(request, None)
        if taken is not None:
            with suppress(OSError):
                taken.shutdown(socket.SHUT_RDWR)

    def close(self, timeout_s: float) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for request in list(self._sockets):
            self.drop(request)
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # ---- in the threads

    def _work(self) -> None:
        line = _Line()
        while not self._closed:
            request = self._take()
            if request is None:
                self._rest(line)
            else:
                self._report(request, self._exchange(line, request))
        line.close()

    def _rest(self, line: _Line) -> None:
        """Until somebody calls; an idle connection is closed meanwhile."""
        with self._changed:
            self._idle += 1
            while not self._wakes and not self._closed:
                if not self._changed.wait(KEEP_ALIVE_S if line.connection else None) and line.connection:
                    line.close()
            self._wakes = max(0, self._wakes - 1)
            self._idle -= 1

    def _exchange(self, line: _Line, request: Request) -> Result:
        try:
            connection = self._connected(line)
        except (OSError, ValueError) as error:  # a name may be too long for the resolver's encoding
            line.close()
            return NotSent(in_words(error))
        assert connection.sock is not None
        left_s = request.let_go_at - time.monotonic()
        if left_s <= 0.0:  # it took long to connect, and nobody waits any more
            return DROPPED
        connection.sock.settimeout(max(1.0, left_s))
        self._sockets[request] = connection.sock
        try:
            return self._ask(connection, request)
        except Exception as error:  # whatever it is, this thread goes on, and the task is not lost
            line.close()
            return Broken(in_words(error))
        finally:
            self._sockets.pop(request, None)
            line.used_at = time.monotonic()

    def _ask(self, connection: HTTPConnection, request: Request) -> Answer:
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", self._base.authority)
        for name, value in request.headers:
            connection.putheader(name, value)
        if request.body or request.method in METHODS_WITH_BODY:
            connection.putheader("Content-Length", str(len(request.body)))
        broken = _sent(connection, request.body or None)
        try:
            answer = connection.getresponse()
        except OSError as error:
            raise (broken or error) from None
        with answer as response:
            body = response.read(body_limit(response.getheader(OUTCOME)))
            if broken or not response.isclosed():  # there is more, or may be
                connection.close()
            return Answer(response.status, response.getheaders(), body)

    def _connected(self, line: _Line) -> HTTPConnection:
        if line.connection is not None and (line.connection.sock is None or self._is_stale(line)):
            line.close()
        if line.connection is None:
            line.connection = HTTPConnection(self._base.host, self._base.port)
            line.connection.response_class = _Response
            line.connection.sock = self._connect()
        return line.connection

    def _is_stale(self, line: _Line) -> bool:
        """Whether the server has closed it, or is about to. Nothing can be there to read before we have asked."""
        if time.monotonic() - line.used_at > KEEP_ALIVE_S:
            return True
        assert line.connection is not None
        poll = select.poll()
        poll.register(line.connection.sock, select.POLLIN)
        return bool(poll.poll(0))

    def _connect(self) -> socket.socket:
        plain = connect(self._guard.addresses(), self._base.port, CONNECT_S)
        if self._context is None:
            return plain
        try:
            return self._context.wrap_socket(plain, server_hostname=self._base.host)
        except (OSError, ValueError):
            plain.close()
            raise


def _sent(connection: HTTPConnection, body: bytes | None) -> OSError | None:
    """Send it. The error if not all could be sent: who refuses by the headers alone may have answered all the same."""
    try:
        connection.endheaders(body)
    except (BrokenPipeError, ConnectionResetError) as error:
        return error
    return None


def in_words(error: BaseException) -> str:
    """An error, short."""
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return text[:200] or type(error).__name__
