"""The child's side of `deferq worker` and `deferq dev`: it loads the application and runs what the parent sends."""

from __future__ import annotations

import argparse
import os
import signal
from typing import Any

from deferq.app import Deferq
from deferq.cli.arguments import EXIT_OK
from deferq.cli.loading import Loaded, load
from deferq.cli.narrating import Narrator
from deferq.cli.stopping import SIGNALS, end_soon
from deferq.cli.streams import log_to_stderr, show_output_at_once
from deferq.config import SETTINGS
from deferq.model.events import EventName
from deferq.runtime import stacks
from deferq.runtime.children.child import Child, end_with_parent
from deferq.runtime.children.spawning import Inherited, die_with_parent, inherited
from deferq.runtime.config import WorkerConfig
from deferq.runtime.delivery import Deliverer, NoApplication
from deferq.runtime.executor import Executor
from deferq.runtime.listeners import Listeners


def be_child(args: argparse.Namespace) -> int:
    """Work for the parent until it says stop."""
    die_with_parent()
    stacks.show_on_signals()
    _leave_signals_to_parent()
    os.register_at_fork(after_in_child=_hear_sigterm_again)
    ours = inherited(args.child)
    end_with_parent(ours.end)
    _write_crash(ours)
    show_output_at_once()
    loaded = load(args.app, args.url)
    log_to_stderr()
    _leave_signals_to_parent()  # importing the application may have changed that
    _write_crash(ours)  # the same
    config = _config(args, loaded) if ours.crash is None else WorkerConfig(threads=1, async_slots=1)
    deferq = loaded.deferq
    deferq.engine  # noqa: B018  # opening it makes the codec
    deferq.codec.keyring  # noqa: B018  # a secret that cannot be read is better known now
    if deferq.web is not None:
        deferq.web.start()
    listeners = Listeners([*([_StartNarrator()] if args.verbose else []), *deferq.listeners])
    executor, cap = _executor(deferq, deferq.deliverer(), ours, args)
    child = Child(
        executor,
        ours.end,
        ours.memory,
        threads=config.threads,
        async_slots=config.async_slots,
        listeners=listeners,
        now=deferq.engine.now,
    )
    child.run({**_hello(loaded, config), "memory_cap": cap})
    if deferq.web is not None:
        deferq.web.stop()
    end_soon(EXIT_OK)
    return EXIT_OK


def _write_crash(ours: Inherited) -> None:
    """In quarantine the parent wants to know where it crashed."""
    if ours.crash is not None:
        stacks.write_crash(ours.crash)


def _executor(
    deferq: Deferq, deliverer: Deliverer | None, ours: Inherited, args: argparse.Namespace
) -> tuple[Executor, int]:
    """And how many bytes of memory tasks may take from now on; 0: any number."""
    deliverer = deliverer or NoApplication()
    if ours.crash is None:
        return Executor(deferq.codec, now=deferq.engine.now, deliverer=deliverer, engine=deferq.engine), 0
    from deferq.runtime.children.capped import CappedExecutor, MemoryCap, default_cap

    size = args.quarantine_memory or deferq.settings["quarantine_memory"] or default_cap()
    cap = MemoryCap(size)
    cap.impose()
    executor = CappedExecutor(deferq.codec, cap, now=deferq.engine.now, deliverer=deliverer, engine=deferq.engine)
    return executor, size


def _config(args: argparse.Namespace, loaded: Loaded) -> WorkerConfig:
    """How much it runs at a time; raises InvalidOption."""
    given = {"threads": args.threads, "async_slots": args.async_slots}
    settings = loaded.deferq.settings
    chosen = {name: settings[name] if value is None else value for name, value in given.items()}
    return WorkerConfig(**{name: value for name, value in chosen.items() if value is not None})


def _hello(loaded: Loaded, config: WorkerConfig) -> dict[str, Any]:
    """What the parent has to know of an application that it does not import."""
    settings = loaded.deferq.settings
    plain = {name: settings[name] for name, setting in SETTINGS.items() if not setting.secret}
    return {
        "app": loaded.name,
        "file": loaded.file,
        "store": loaded.deferq.engine.url,
        "project": str(settings.project),
        "settings": plain,
        "queues": {name: queue.to_dict() for name, queue in loaded.deferq.queues.items()},
        "delivers_to": loaded.delivers_to,
        "threads": config.threads,
        "async_slots": config.async_slots,
    }


def _leave_signals_to_parent() -> None:
    """Ctrl-C reaches every process of a terminal. The parent says when to stop.

    A handler that does nothing is not inherited by the programs that tasks start, as ignoring would be.
    """
    for number in (*SIGNALS, signal.SIGHUP):
        signal.signal(number, _wait_for_parent)


def _wait_for_parent(number: int, frame: object) -> None:
    """The parent knows."""


def _hear_sigterm_again() -> None:
    """A process that a task forks is the task's affair: `terminate()` must end it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _StartNarrator(Narrator):
    """Only a child knows when a task starts; all else its parent tells."""

    names = frozenset({EventName.TASK_STARTED})
