"""What a delivery costs in the application that takes it, server and network left out; and what junk costs.

A process of its own calls the wrapped application as a server does. The lease is taken up in a store with
`synchronous=FULL`, as always; nobody settles. What is subtracted is calling the function itself.
"""

from __future__ import annotations

import asyncio
import io
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from bench import tasks
from bench.compare import Bench, Case, Figure, Row, Values
from bench.ours import FILE, Ours, connect, url_of
from bench.processes import python, running, tail

WSGI = Figure(title="handler: a delivery over WSGI, beside calling the function", unit="us", more_is_better=False)
ASGI = Figure(title="handler: a delivery over ASGI, beside calling the function", unit="us", more_is_better=False)
ASGI_COROUTINE = Figure(title="handler: the same for a coroutine", unit="us", more_is_better=False)
JUNK = Figure(title="handler: 1 MiB of junk is refused", unit="ms", more_is_better=False)
JUNK_MEMORY = Figure(title="handler: memory for refusing it", unit="MiB", more_is_better=False)
FIGURES = {"wsgi": WSGI, "asgi": ASGI, "coroutine": ASGI_COROUTINE, "junk": JUNK, "memory": JUNK_MEMORY}
MIB = 1024 * 1024
JUNKS = 30


def run(bench: Bench) -> list[Row]:
    """Rows of deferq."""

    def once(folder: Path) -> Values:
        argv = python("-m", "bench.measures.http", url_of(folder / FILE), str(bench.size(3_000, 300)))
        log = folder / "http.log"
        with running(argv, log) as child:
            if child.wait(120):
                raise RuntimeError(f"it ended with {child.returncode}: {tail(log)}")
        values = json.loads(log.read_text())
        return {figure: values[name] for name, figure in FIGURES.items()}

    return bench.side_by_side([Case(candidate=Ours(), figures=tuple(FIGURES.values()), once=once)])


# ---- in the process that is measured


def main(url: str, many: int) -> dict[str, float]:
    """Microseconds for each delivery, milliseconds and MiB for junk."""
    app = connect(url)
    junk = _junk(app)  # before anything else has taken memory
    took = {
        "wsgi": _wsgi_us(app, many),
        "asgi": asyncio.run(_asgi_us(app, tasks.noop, many)),
        "coroutine": asyncio.run(_asgi_us(app, noop_async, many)),
    }
    call_us = _calling_us(many)
    return {name: us - call_us for name, us in took.items()} | junk


async def noop_async() -> None:
    """Do nothing, in an event loop."""


def _calling_us(many: int) -> float:
    began = time.perf_counter()
    for _ in range(many):
        tasks.noop()
    return (time.perf_counter() - began) / many * 1e6


def _deliveries(app: Any, fn: Callable[..., Any], many: int) -> list[tuple[dict[str, str], bytes]]:
    """Headers and body of deliveries that are leased and signed."""
    from deferq.codec.wire import RUN_PATH, SIGNATURE, TASK, TIME, Signed, pack_task, sign
    from deferq.engines.base import Want, new_lease_id

    app.defer_many(app.call(fn) for _ in range(many))
    serials, found = count(1), []
    while len(found) < many:
        for task in app.engine.turn((), Want(200, 0, new_lease_id(7, next(serials)), 600_000_000)).leased:
            sent, document = str(int(time.time())), pack_task(task, 600)
            signature = sign(app.codec.keyring, Signed("POST", RUN_PATH, "", sent, document, task.payload))
            headers = {TASK: document, TIME: sent, SIGNATURE: signature, "Content-Length": str(len(task.payload))}
            found.append((headers, task.payload))
    return found


def _environ(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    ours = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return ours | {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/_deferq/run",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": headers["Content-Length"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.run_once": False,
    }


def _wsgi_us(app: Any, many: int) -> float:
    web = app.wrap_wsgi(_nowhere)
    environs = [_environ(*one) for one in _deliveries(app, tasks.noop, many + 50)]
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        statuses.append(status)

    for environ in environs[:50]:
        web(environ, start_response)
    blocks_us = []
    for block in _blocks(environs[50:]):
        began = time.perf_counter()
        for environ in block:
            web(environ, start_response)
        blocks_us.append((time.perf_counter() - began) / len(block) * 1e6)
    _check(status == "200 OK" for status in statuses)
    return median(blocks_us)


async def _asgi_us(app: Any, fn: Callable[..., Any], many: int) -> float:
    """One after the other, so that a hand-over to a thread and back shows."""
    web = app.wrap_asgi(_nowhere)
    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status", 200))

    async def deliver(headers: dict[str, str], body: bytes) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/_deferq/run", "query_string": b"", "headers": raw}
        await web(scope, receive, send)

    deliveries = _deliveries(app, fn, many + 50)
    for one in deliveries[:50]:
        await deliver(*one)
    blocks_us = []
    for block in _blocks(deliveries[50:]):
        began = time.perf_counter()
        for one in block:
            await deliver(*one)
        blocks_us.append((time.perf_counter() - began) / len(block) * 1e6)
    _check(status == 200 for status in statuses)
    return median(blocks_us)


def _blocks(of: list[Any]) -> list[list[Any]]:
    """So short that whatever else the machine does falls into a few of them."""
    return [of[at : at + 25] for at in range(0, len(of), 25)]


def _junk(app: Any) -> dict[str, float]:
    """With headers as they should be, so that all of it is read before it is refused."""
    web = app.wrap_wsgi(_nowhere)
    ((headers, _),) = _deliveries(app, tasks.noop, 1)
    body = b"\xff" * MIB
    headers["Content-Length"] = str(MIB)
    statuses: list[str] = []
    took_ms = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(JUNKS):
        environ = _environ(headers, body)
        began = time.perf_counter()
        web(environ, lambda status, headers: statuses.append(status))
        took_ms.append((time.perf_counter() - began) * 1000)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _check(status == "403 Forbidden" for status in statuses)
    return {"junk": median(took_ms), "memory": (after - before) / 1024}


def _nowhere(*_: Any) -> Any:
    raise RuntimeError("this is not for the application")


def _check(fine: Iterator[bool]) -> None:
    if not all(fine):
        raise RuntimeError("a delivery was answered otherwise than it should be")


if __name__ == "__main__":
    import logging
    import os

    logging.getLogger("deferq.http").addHandler(logging.NullHandler())
    logging.getLogger("deferq.http").propagate = False
    os.environ["DEFERQ_WORKER"] = "external"
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
