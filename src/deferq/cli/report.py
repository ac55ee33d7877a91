"""Print what belongs into a bug report: versions, settings with their origins, the store in numbers, what doctor finds.

It is for pasting into a public place: no arguments, results or payloads, no secrets, no names of machines and users,
and ~ for the home. Names of queues and functions are in it; look it over before you send it. Nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from importlib import metadata
from typing import Any

from deferq import stores
from deferq.app import Deferq
from deferq.cli.arguments import EXIT_OK, add_json, add_url
from deferq.cli.doctor import document as doctor_document
from deferq.cli.doctor import examine
from deferq.cli.loading import AppNotLoaded, app_of, load, settings_of
from deferq.cli.output import print_json, printable, size
from deferq.cli.queues import limits_document
from deferq.cli.redacting import Redactor
from deferq.cli.showing import declared_by, for_people, setting_rows, store_line
from deferq.cli.times import utc
from deferq.cli.version import version
from deferq.cli.workers import WorkerSeen, workers
from deferq.config import Settings
from deferq.engines.base import Filter
from deferq.engines.sqlite.view import SqliteView
from deferq.errors import DeferqError
from deferq.model.state import State

#: Packages beside deferq that matter to how tasks run.
PACKAGES = ("rich", "watchfiles", "flask", "django", "fastapi", "gunicorn", "uvicorn", "granian", "waitress", "aiohttp")
MESSAGES_MAX = 10
EPILOG = "Exit codes: 0 printed, whatever is wrong with the store; 2 wrong usage, or the settings cannot be read."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    parser.add_argument("app", metavar="APP", nargs="?", help="file, module or module:name to import")
    add_url(parser)
    add_json(parser)
    parser.add_argument(
        "--errors", action="store_true", help="messages of the last errors, too, which may hold what tasks work on"
    )


def run(args: argparse.Namespace) -> int:
    """Print it."""
    deferq, trouble = _application(args)
    settings = settings_of(args.url) if deferq is None else deferq.settings
    gathered: dict[str, Any] = {"versions": _versions(), "settings": _settings(settings, deferq)}
    if trouble:
        gathered["application"] = {"error": trouble}
    hosts = _add_store(gathered, settings, args.errors)
    gathered["doctor"] = _doctor(args)
    told = Redactor(_secrets(settings), hosts).document(gathered)
    if args.json:
        print_json(told)
    else:
        for line in _lines(told):
            print(printable(line))
    return EXIT_OK


def _application(args: argparse.Namespace) -> tuple[Deferq | None, str]:
    """The application, if one is named; or the kind of error that importing it raised, without its own words."""
    app = args.app or app_of(args.url)
    if app is None:
        return None, ""
    try:
        return load(app, args.url).deferq, ""
    except AppNotLoaded as error:
        return None, f"it cannot be imported ({type(error.__cause__ or error).__name__})"


def _versions() -> dict[str, Any]:
    packages = {name: found for name in PACKAGES if (found := _package(name))}
    return {
        "deferq": version(),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "libc": " ".join(platform.libc_ver()).strip(),
        "cpus": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        **packages,
    }


def _package(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _settings(settings: Settings, deferq: Deferq | None) -> dict[str, Any]:
    """Those that somebody has set; the others are what the release says."""
    rows = [row for row in setting_rows(settings) if row["origin"] != "default" or row.get("keys")]
    told = {row["name"]: f"{for_people(row)} ({row['origin']})" for row in rows}
    declared = declared_by(deferq)
    return {"store": store_line(settings), **told, "declared queues": declared.trouble or dict(declared.queues)}


# ---- the store


def _add_store(gathered: dict[str, Any], settings: Settings, with_messages: bool) -> set[str]:
    """What the store says, as far as it can be read; returns the hosts of its workers, which are not to be told."""
    hosts: set[str] = set()
    try:
        path = stores.store_path(settings)
        if path is None:
            return hosts
        with closing(SqliteView(path)) as view:
            gathered["store"] = _whole(view.info())
            seen = workers(view)
            hosts |= {worker.host for worker in seen if worker.host}
            for name, ask in _parts(view, seen, with_messages):
                gathered[name] = ask()
    except Exception as error:  # whatever is wrong with it, the rest is told
        told = f": {error}" if isinstance(error, DeferqError) else ""
        gathered["store"] = {**gathered.get("store", {}), "error": f"{type(error).__name__}{told}"}
    return hosts


def _whole(info: Mapping[str, object]) -> dict[str, str]:
    return {name: _amount(name, value) for name, value in info.items() if name != "path"}


def _amount(name: str, value: object) -> str:
    return size(value) if isinstance(value, int) and name.endswith("bytes") else str(value)


def _parts(
    view: SqliteView, seen: Iterable[WorkerSeen], with_messages: bool
) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "tasks", lambda: _tasks(view)
    yield "queues", lambda: _queues(view)
    yield "workers", lambda: [_worker(worker) for worker in seen]
    yield (
        "last errors",
        lambda: [
            f"{kind}: {error_type}, {count} times, last {utc(at)}"
            for error_type, kind, count, at in view.errors_lately()
        ],
    )
    if with_messages:
        yield "messages", lambda: _messages(view)


def _tasks(view: SqliteView) -> dict[str, Any]:
    counts = view.counts()
    sums = {
        name: sum(getattr(queue, name) for queue in counts.queues)
        for name in ("ready", "scheduled", "retrying", "parked", "leased")
    }
    ended = {name: getattr(counts, name) for name in ("succeeded", "dead", "cancelled")}
    return {**sums, **ended, "counted up to": counts.cap}


def _queues(view: SqliteView) -> dict[str, Any]:
    counts = {queue.queue: queue for queue in view.counts().queues}
    return {
        queue.name: {
            "ready": counts[queue.name].ready if queue.name in counts else 0,
            "leased": counts[queue.name].leased if queue.name in counts else 0,
            "paused": queue.paused,
            **{name: value for name, value in limits_document(queue).items() if value},
        }
        for queue in view.queues()
    }


def _worker(worker: WorkerSeen) -> dict[str, Any]:
    return {
        "alive": worker.alive,
        "version": worker.version,
        "started": utc(worker.started),
        "queues": worker.queues,
        "route": worker.route,
        "threads": worker.threads,
        "running": worker.running,
        "abandoned": worker.abandoned,
        "children": [child.state for child in worker.children],
    }


def _messages(view: SqliteView) -> list[str]:
    """Of the tasks that died last."""
    dead = view.find(Filter(state=State.DEAD), limit=MESSAGES_MAX).tasks
    last = (failures[-1] for task in dead if (failures := view.details(task.id).failures))
    return [f"{failure.error_type}: {failure.message}" for failure in last]


# ---- doctor, and how it looks


def _doctor(args: argparse.Namespace) -> list[dict[str, Any]]:
    """What is wrong or worth a note."""
    findings = doctor_document(examine(args.app, args.url))["findings"]
    told = [{name: one[name] for name in ("level", "code", "text")} for one in findings if one["level"] != "right"]
    return [{**one, "text": "(left out)"} if one["code"] == "app" else one for one in told]


def _secrets(settings: Settings) -> list[str | bytes]:
    secrets = list(settings["secrets"] or ())
    try:
        path = stores.store_path(settings)
        if path is not None:
            secrets.append(stores.read_secret(stores.secret_path(path)))
    except DeferqError:
        pass
    return secrets


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    yield "deferq report (no arguments, secrets, hosts or users; look it over before you send it)"
    for name, part in told.items():
        yield ""
        yield f"## {name}"
        yield from _part(part)


def _part(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (f"{name}: {_value(value)}" for name, value in part.items())
    else:
        yield from (f"- {_value(one)}" for one in part)
    if not part:
        yield "none"


def _value(value: Any) -> str:
    if isinstance(value, dict) and "text" in value:
        return f"{value['level']} {value['code']}: {value['text']}"
    return value if isinstance(value, str) else json.dumps(value)
