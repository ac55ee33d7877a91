"""The visitors: threads that send the web application real HTTP requests and keep what it answers."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection
from itertools import zip_longest
from typing import NamedTuple

from deferq.demo.kinds import Kind
from deferq.demo.server import HOST
from deferq.demo.web import path_of

VISITORS = 4
REQUEST_S_MAX = 50.0


class Visit(NamedTuple):
    """One request to make."""

    kind: str
    order: int


class Answered(NamedTuple):
    """One request that was made."""

    visit: Visit
    #: Tasks that were stored for it.
    stored: tuple[int, ...]
    #: Tasks that had the name already.
    existed: tuple[int, ...]
    #: Between the request and the last byte of its answer.
    seconds: float
    #: Why there is no answer to rely on; empty: there is one.
    trouble: str = ""


class Visitors:
    """Makes every visit that `kinds` ask for, a few at a time."""

    def __init__(self, port: int, kinds: Mapping[str, Kind]) -> None:
        self._port = port
        self._visits = deque(visits_of(kinds.values()))
        self.planned = len(self._visits)
        self.answers: list[Answered] = []
        self._threads = [threading.Thread(target=self._visit_all, daemon=True) for _ in range(VISITORS)]

    def start(self) -> None:
        """Send them off."""
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> bool:
        """Whether every visit has been answered."""
        return len(self.answers) == self.planned

    def _visit_all(self) -> None:
        while True:
            try:
                visit = self._visits.popleft()
            except IndexError:
                return
            self.answers.append(_visit(self._port, visit))


def visits_of(kinds: Iterable[Kind]) -> Iterable[Visit]:
    """The visits of every kind, mixed as they are in a real shop."""
    by_kind = [[Visit(kind.name, order) for order in range(kind.orders) for _ in range(kind.times)] for kind in kinds]
    return (visit for round_ in zip_longest(*by_kind) for visit in round_ if visit is not None)


def _visit(port: int, visit: Visit) -> Answered:
    began = time.monotonic()
    try:
        status, body = _post(port, path_of(visit.kind, visit.order))
        tasks = json.loads(body)["tasks"] if status == 202 else []
    except Exception as error:  # whatever it was, the accounts will say that this visit has no answer
        return Answered(visit, (), (), time.monotonic() - began, f"{type(error).__name__}: {error}")
    stored = tuple(int(task["id"]) for task in tasks if not task["existed"])
    existed = tuple(int(task["id"]) for task in tasks if task["existed"])
    trouble = "" if status == 202 else f"HTTP status {status}"
    return Answered(visit, stored, existed, time.monotonic() - began, trouble)


def _post(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(HOST, port, timeout=REQUEST_S_MAX)
    try:
        connection.request("POST", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
