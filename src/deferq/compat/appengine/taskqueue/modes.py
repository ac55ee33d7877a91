"""Whether a queue is one that is pushed from, or one that is pulled from."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from deferq.compat.appengine.taskqueue.errors import InvalidQueueModeError
from deferq.compat.appengine.taskqueue.limits import DEFAULT_QUEUE
from deferq.engines.base import Engine, Filter
from deferq.model.queue import Queue
from deferq.model.settings import QueueSettings
from deferq.model.state import State

if TYPE_CHECKING:
    from deferq.app import Deferq

_DECLARE = "Declare it as a pull queue, with Queue(pull=True) or 'mode: pull' in queue.yaml, or use another name."
#: By store, the queues that were used already and can be pushed from: they stay so.
_pushed: WeakKeyDictionary[Engine, set[str]] = WeakKeyDictionary()


def settings_of(owner: Deferq, queue: str, *, apart: bool = True) -> QueueSettings | None:
    """What the store knows of a queue; None: it was never used. Raises UnknownQueueError, InvalidName.

    `apart`: no transaction of the caller's keeps what is declared from being written.
    """
    engine = owner.engine
    owner.tasks.checked_queue(queue)
    if apart:
        owner.declare({queue})
    elif queue in owner.queues:
        return QueueSettings(name=queue, declared=owner.queues[queue])
    return next((settings for settings in engine.queues() if settings.name == queue), None)


def check_pulled(owner: Deferq, queue: str) -> QueueSettings | None:
    """The settings of a pull queue; None: nobody has used it yet. Raises InvalidQueueModeError for a push queue."""
    settings = settings_of(owner, queue)
    if queue == DEFAULT_QUEUE if settings is None else not settings.declared.pull:
        raise InvalidQueueModeError(
            f"{queue!r} is a push queue: its tasks are delivered, and cannot be leased. {_DECLARE}"
        )
    return settings


def enter(owner: Deferq, queue: str, *, pull: bool, apart: bool) -> dict[str, Queue]:
    """Check that tasks of this mode go into a queue; returns what the store is to be told of it beforehand.

    One that nobody has declared or used takes the mode of its first task. Raises InvalidQueueModeError,
    UnknownQueueError.
    """
    engine = owner.engine
    if not pull and queue in _pushed.get(engine, ()):
        owner.tasks.checked_queue(queue)
        return {}
    settings = settings_of(owner, queue, apart=apart)
    declared = Queue() if settings is None else settings.declared
    if pull and not declared.pull:
        return _made_pulled(owner, queue, declared)
    if declared.pull and not pull:
        raise InvalidQueueModeError(
            f"{queue!r} is a pull queue, and this task is to be delivered. Give it method='PULL', or another queue."
        )
    if not pull and settings is not None and apart:
        _pushed.setdefault(engine, set()).add(queue)
    return {}


def _made_pulled(owner: Deferq, queue: str, declared: Queue) -> dict[str, Queue]:
    """Of a queue that is not declared, and holds nothing that waits to be run."""
    if queue == DEFAULT_QUEUE or queue in owner.queues or _is_used(owner, queue):
        raise InvalidQueueModeError(f"{queue!r} is a push queue, and this task is to be pulled. {_DECLARE}")
    return {queue: Queue.from_dict({**declared.to_dict(), "pull": True})}


def _is_used(owner: Deferq, queue: str) -> bool:
    states = (State.PENDING, State.LEASED)
    return any(owner.engine.find(Filter(queue=queue, state=state), limit=1).tasks for state in states)
