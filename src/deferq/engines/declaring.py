"""What an application declares about its queues gets to the store: once, and again when it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deferq.engines.base import Engine
from deferq.model.queue import Queue
from deferq.model.settings import NOTHING_DECLARED, Declare, QueueChange, QueueSettings


def declare(engine: Engine, queues: Mapping[str, Queue]) -> list[str]:
    """Store what is declared of `queues` where the store knows otherwise; returns the names of those it changed.

    Nothing is written if nothing differs, so every process may ask for it when it starts.
    """
    if not queues:
        return []
    changes = what_differs(engine.queues(), queues)
    if changes:
        engine.change_queues(changes)
    return [name for name, _ in changes]


def what_differs(known: Iterable[QueueSettings], queues: Mapping[str, Queue]) -> list[tuple[str, QueueChange]]:
    """The changes that let a store know what is declared of `queues`."""
    declared = {settings.name: settings.declared for settings in known}
    return [(name, Declare(queue)) for name, queue in queues.items() if declared.get(name, NOTHING_DECLARED) != queue]
