"""The web application: a shop that answers at once and leaves the work to tasks.

It is plain WSGI, so that the demo needs nothing but Python. `POST /defer/<kind>?order=7` defers work and answers with
the ids of its tasks; `GET /` is a page for people.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, quote
from wsgiref.types import StartResponse, WSGIEnvironment

from deferq.app import Deferq
from deferq.demo.kinds import KINDS
from deferq.demo.ledger import LEDGER
from deferq.handles import TaskHandle

THREADS = 4
#: More than the demo ever stores: no count is cut short.
COUNT_CAP = 1_000_000
JSON, HTML = "application/json", "text/html; charset=utf-8"


class Look(NamedTuple):
    """How many tasks the store holds."""

    #: Waiting for their time, or running.
    alive: int
    succeeded: int
    dead: int
    cancelled: int

    @property
    def ended(self) -> int:
        """Those to which nothing more happens."""
        return self.succeeded + self.dead + self.cancelled


class Answer(NamedTuple):
    """What a request is answered."""

    status: HTTPStatus
    body: str
    kind: str = JSON


class Shop:
    """The application. `wsgi` is what a server serves: the shop with a worker beside it."""

    def __init__(self, folder: Path, ledger: Path) -> None:
        self.deferq = _own_deferq(folder)
        self.wsgi = self.deferq.wrap_wsgi(self.respond)
        self._ledger = ledger

    def respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI application itself."""
        LEDGER.set(str(self._ledger))  # travels with every task that this request defers
        answer = self._answer(environ)
        body = answer.body.encode()
        headers = [("Content-Type", answer.kind), ("Content-Length", str(len(body)))]
        start_response(f"{answer.status.value} {answer.status.phrase}", headers)
        return [body]

    def look(self) -> Look:
        """How many tasks there are, as the store counts them."""
        counts = self.deferq.engine.counts(cap=COUNT_CAP)
        alive = sum(q.ready + q.scheduled + q.retrying + q.parked + q.leased for q in counts.queues)
        return Look(alive, counts.succeeded, counts.dead, counts.cancelled)

    def _answer(self, environ: WSGIEnvironment) -> Answer:
        path = str(environ.get("PATH_INFO", "/"))
        if path == "/":
            return Answer(HTTPStatus.OK, _page(self.look()), HTML)
        if not path.startswith("/defer/") or path.removeprefix("/defer/") not in KINDS:
            return Answer(HTTPStatus.NOT_FOUND, '{"error": "there is nothing here"}')
        if environ["REQUEST_METHOD"] != "POST":
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, '{"error": "work is deferred by POST"}')
        return self._defer(path.removeprefix("/defer/"), str(environ.get("QUERY_STRING", "")))

    def _defer(self, kind: str, query: str) -> Answer:
        order = parse_qs(query).get("order", ["0"])[0]
        if not (order.isascii() and order.isdigit() and len(order) <= 9):
            return Answer(HTTPStatus.BAD_REQUEST, '{"error": "order: a whole number is expected"}')
        handles = KINDS[kind].view(self.deferq, int(order))
        return Answer(HTTPStatus.ACCEPTED, json.dumps({"tasks": [_shown(handle) for handle in handles]}))


def path_of(kind: str, order: int) -> str:
    """What to POST to."""
    return f"/defer/{quote(kind)}?order={order}"


def _own_deferq(folder: Path) -> Deferq:
    """A Deferq of the demo's own. What it relies on is given here, whatever the environment says."""
    return Deferq(
        f"sqlite:///{quote(str(folder / 'tasks.db'))}",
        secrets=[secrets.token_urlsafe(32)],
        allow=["deferq.demo."],
        carry=[LEDGER],
        worker="embedded",
        threads=THREADS,
        async_slots=100,
        keep_succeeded_s=3600,
        keep_succeeded_max=COUNT_CAP,
        keep_cancelled_s=3600,
        keep_dead_s=3600,
        tombstone_s=3600,
        payload_limit=1024 * 1024,
    )


def _shown(handle: TaskHandle) -> dict[str, object]:
    """A task in JSON. Ids are text there, since they have more bits than a JavaScript number."""
    return {"id": str(handle.id), "existed": handle.existed}


def _page(look: Look) -> str:
    rows = "".join(
        f'<tr><td><form method="post" action="{escape(path_of(kind.name, 0))}"><button>{escape(kind.name)}</button>'
        f"</form></td><td>{escape(kind.shows)}</td></tr>"
        for kind in KINDS.values()
    )
    counts = (
        f"{look.alive} waiting or running, {look.succeeded} succeeded, {look.dead} dead, {look.cancelled} cancelled"
    )
    return (
        "<!doctype html><html lang=en><title>deferq demo</title>"
        f"<h1>deferq demo</h1><p>Tasks: {counts}.</p><p>A button defers work:</p><table>{rows}</table></html>"
    )
