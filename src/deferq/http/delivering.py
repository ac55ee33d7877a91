"""Delivering a task into the application, in this process: a request is made up as a server would make it of a push.

It carries the same headers, is signed like one, and what it is answered with means the same. Beside that the request
holds a private object (`LocalDelivery`) by which our handler knows that the lease is held here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from deferq.codec.headers import APP_ENGINE_CLIENT, delivery_headers, signed_headers
from deferq.codec.requests import METHODS_WITH_BODY, request_in
from deferq.codec.signing import Keyring
from deferq.errors import DeferqError
from deferq.http.answers import Held, outcome_of_answer
from deferq.http.callasgi import AsgiApp, call_asgi
from deferq.http.callwsgi import Answer, WsgiApp, call_wsgi
from deferq.http.loops import Loops
from deferq.http.message import DELIVERY_KEY, OUTCOME_KEY, LocalDelivery
from deferq.model.outcome import INTERRUPTED, Interrupted, Outcome
from deferq.model.task import Failure, Leased
from deferq.runtime.delivery import Delivery

BASE_URL = "http://localhost"
#: Who seems to ask. Nobody does: the request never was on a wire.
CLIENT = "127.0.0.1"
#: There is no loop: the server has not begun, or is at its end.
NOT_SERVED = Interrupted(after_s=1.0, reason="waits: the application has no server in the process of this worker now")


class Base(NamedTuple):
    """Where requests seem to have been sent to."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        return host if usual else f"{host}:{self.port}"


def base_of(url: str) -> Base:
    """The parts of a base url, which the setting has checked."""
    parts = urlsplit(url)
    return Base(parts.scheme, parts.hostname or "localhost", parts.port or (443 if parts.scheme == "https" else 80))


class Request(NamedTuple):
    """One delivery on its way."""

    method: str
    #: Who seems to ask.
    client: str
    #: As in the url.
    raw_path: str
    #: Decoded once, as bytes.
    path: bytes
    #: Raw, without the question mark.
    query: str
    headers: list[tuple[str, str]]
    body: bytes


class Writer:
    """Writes the requests of one application."""

    def __init__(
        self,
        keyring: Callable[[], Keyring],
        *,
        base_url: str = BASE_URL,
        failures_of: Callable[[int], Sequence[Failure]] = lambda task_id: (),
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`failures_of` is asked for the failed attempts of a task that has some. `now_s` is the clock of handlers."""
        self._keyring = keyring
        self.base = base_of(base_url)
        self._failures_of = failures_of
        self.now_s = now_s

    def request(self, task: Leased) -> Request:
        """The request that delivers `task`, which has an url, and whose envelope was verified.

        It is a POST of ours with the envelope; or, if the task is a request, that one.
        """
        raw_path, _, query = (task.url or "").partition("?")
        path = unquote_to_bytes(raw_path)
        request = request_in(task.payload)
        method, body = request or ("POST", task.payload)
        signed = signed_headers(
            self._keyring(),
            task,
            request=request,
            path=path.decode("utf-8", "replace"),
            query=query,
            now_s=self.now_s(),
        )
        headers = [
            ("Host", self.base.authority),
            *([("Content-Length", str(len(body)))] if body or method in METHODS_WITH_BODY else []),
            *delivery_headers(task, self._failures(task), request=request),
            *signed,
        ]
        return Request(method, CLIENT if request is None else APP_ENGINE_CLIENT, raw_path, path, query, headers, body)

    def outcome(self, task: Leased, answer: Answer, local: LocalDelivery, written: object) -> Outcome:
        """What our handler has left in the request, if it was asked; else what the answer says."""
        for outcome in (local.outcome, written):
            if isinstance(outcome, Outcome):
                return outcome
        path = (task.url or "").partition("?")[0]
        status = answer.status if local.refused is None else local.refused
        said = outcome_of_answer(
            status, answer.headers, own_url=local.refused is None, body=answer.body, path=path, now_s=self.now_s()
        )
        return INTERRUPTED if isinstance(said, Held) else said

    def _failures(self, task: Leased) -> Sequence[Failure]:
        if not task.attempts:
            return ()
        with suppress(DeferqError):  # the headers say less then, and the task runs all the same
            return self._failures_of(task.id)
        return ()


class WsgiDeliverer:
    """Calls a WSGI application in the thread that runs the task."""

    is_async = False

    def __init__(self, app: WsgiApp, writer: Writer) -> None:
        self._app = app
        self._writer = writer

    def deliver(self, delivery: Delivery) -> Outcome:
        """Raises what the application raises."""
        environ = self._environ(self._writer.request(delivery.task))
        local = environ[DELIVERY_KEY] = LocalDelivery(delivery.current)
        answer = call_wsgi(self._app, environ)
        return self._writer.outcome(delivery.task, answer, local, environ.get(OUTCOME_KEY))

    def _environ(self, request: Request) -> dict[str, Any]:
        base = self._writer.base
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.path.decode("latin-1"),
            "QUERY_STRING": request.query,
            "SERVER_NAME": base.host,
            "SERVER_PORT": str(base.port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_SOFTWARE": "deferq",
            "REMOTE_ADDR": request.client,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": base.scheme,
            "wsgi.input": BytesIO(request.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in request.headers:
            variable = _variable(name)
            environ[variable] = f"{environ[variable]},{value}" if variable in environ else value
        return environ


class AsgiDeliverer:
    """Calls an ASGI application in the event loop of its server, or in one of our own where it has no server."""

    is_async = True

    def __init__(self, app: AsgiApp, writer: Writer, loops: Loops, *, served_only: bool = False) -> None:
        """`served_only`: it has a server, or will have one, and is not to be started beside it."""
        self._app = app
        self._served_only = served_only
        self._writer = writer
        self._loops = loops

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Raises what the application raises."""
        request = await self._request(delivery.task)
        local = LocalDelivery(delivery.current)
        scope: dict[str, Any] = {DELIVERY_KEY: local}

        async def call() -> Answer:
            scope.update(self._scope(request))  # the application has been started by now
            return await call_asgi(self._app, scope, request.body)

        answer = await self._loops.run(call, served_only=self._served_only)
        if answer is None:
            return NOT_SERVED
        return self._writer.outcome(delivery.task, answer, local, scope.get(OUTCOME_KEY))

    async def _request(self, task: Leased) -> Request:
        if not task.attempts:
            return self._writer.request(task)
        import asyncio

        return await asyncio.to_thread(self._writer.request, task)  # it reads from the store

    def _scope(self, request: Request) -> dict[str, Any]:
        base = self._writer.base
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": base.scheme,
            "path": request.path.decode("utf-8", "replace"),
            "raw_path": request.raw_path.encode("ascii"),
            "query_string": request.query.encode("ascii"),
            "root_path": "",
            "headers": [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in request.headers],
            "client": (request.client, 0),
            "server": (base.host, base.port),
        }
        if (state := self._loops.state()) is not None:
            scope["state"] = state
        return scope


def _variable(header: str) -> str:
    """What a header is called in a WSGI environ."""
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
