"""What an application declares about its queues gets to the store: once, and again when it changes."""

from __future__ import annotations

from collections.abc import Mapping

from deferq.engines.base import Engine
from deferq.model.queue import Queue
from deferq.model.settings import NOTHING_DECLARED, Declare


def declare(engine: Engine, queues: Mapping[str, Queue]) -> list[str]:
    """Store what is declared of `queues` where the store knows otherwise; returns the names of those it changed.

    Nothing is written if nothing differs, so every process may ask for it when it starts.
    """
    if not queues:
        return []
    known = {settings.name: settings.declared for settings in engine.queues()}
    changes = [(name, Declare(queue)) for name, queue in queues.items() if known.get(name, NOTHING_DECLARED) != queue]
    if changes:
        engine.change_queues(changes)
    return [name for name, _ in changes]
