"""The parent's side of `deferq worker` and `deferq dev`: it learns from its first child which store to work on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deferq import stores
from deferq.cli.output import printable
from deferq.cli.version import version
from deferq.config import Settings, Value
from deferq.engines.base import LeasingEngine
from deferq.errors import ConfigError
from deferq.runtime.children.nursery import Household, Nursery
from deferq.runtime.children.parent import ParentWorker
from deferq.runtime.children.quarantine import Quarantine
from deferq.runtime.children.spawning import spawn, spawn_apart
from deferq.runtime.config import WorkerConfig
from deferq.runtime.delivery import Switch
from deferq.runtime.listeners import Listener

#: The parent renews leases, and no task can keep it from that: so they are short.
LEASE_S = 30.0


class Application(NamedTuple):
    """What the first child has said about the application."""

    hello: Mapping[str, Any]
    settings: Settings
    engine: LeasingEngine

    @property
    def line(self) -> str:
        """What was imported, for the banner."""
        name, file = self.hello["app"], self.hello["file"]
        if not name:
            return "none given; modules are imported when a task needs them"
        return f"{name} ({file})" if file else name


def new_nursery(arguments: Sequence[str]) -> Nursery:
    """Children that run `deferq ARGUMENTS`."""
    nursery = Nursery(lambda: spawn(arguments), Household())
    nursery.quarantine = Quarantine(lambda: spawn_apart(arguments))
    return nursery


def first_application(nursery: Nursery) -> Application | None:
    """What the first child says; None: it could not load the application, and has said why."""
    hello = nursery.first_hello()
    if hello is None:
        return None
    values = {name: Value(value, "application") for name, value in hello["settings"].items()}
    settings = Settings(values, Path(hello["project"]))
    if hello["store"].startswith("memory:"):
        raise ConfigError(
            "The store memory:// lives in one process, and children could not run its tasks. Use sqlite:///jobs.db, or"
            " start the worker in your own process: deferq.start()."
        )
    return Application(hello, settings, stores.open_engine(settings))


def new_parent(
    nursery: Nursery, application: Application, listeners: Iterable[Listener], **config: Any
) -> ParentWorker:
    """The worker for which these children work."""
    hello = application.hello
    ours = {"threads": hello["threads"], "async_slots": hello["async_slots"], "lease_s": LEASE_S}
    chosen = {**ours, "delivers": Switch(bool(hello["delivers_to"])), **config}
    return ParentWorker(
        application.engine,
        nursery,
        WorkerConfig(**{name: value for name, value in chosen.items() if value is not None}),
        listeners,
        wanted_by_children=hello["wanted"],
        retention=stores.retention_of(application.settings),
        declared=hello["queues"],
    )


def print_banner(verb: str, application: Application, worker: ParentWorker, *more: tuple[str, str]) -> None:
    """Say what runs where."""
    config, children = worker.config, worker.children
    per_child = f"{config.threads} threads, and up to {config.async_slots} coroutines"
    fields = [
        ("store", application.engine.url),
        ("app", application.line),
        ("queues", ", ".join(config.queues) if config.queues else "all"),
        *((("route", config.route),) if config.route else ()),
        *((("delivers", f"tasks with an url, to {to}"),) if (to := application.hello["delivers_to"]) else ()),
        ("children", f"{children}, each with {per_child}" if children > 1 else f"1, with {per_child}"),
        *more,
    ]
    lines = [f"deferq {version()} {verb} (pid {os.getpid()})", *(f"  {name:<8} {printable(v)}" for name, v in fields)]
    print("\n".join(lines), file=sys.stderr, flush=True)
