"""What loading a queue.yaml changes in a store: worked out first, so that it can be shown without being done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from deferq.cli.queues import retry_text
from deferq.model.queue import Queue
from deferq.model.settings import Declare, QueueChange, QueueSettings, Resume, changed

if TYPE_CHECKING:
    from deferq.compat.appengine.queueyaml.reading import QueueYaml

#: In this order for people.
_FIELDS = ("rate", "bucket_size", "max_concurrent", "retry", "route", "paused", "pull", "source")


class QueueChanged(NamedTuple):
    """What becomes of one queue."""

    name: str
    #: "new", "changed", "same", "disabled" (the file names it no more) or "resumed".
    what: str
    #: None: the store does not know it yet.
    before: QueueSettings | None
    after: QueueSettings
    #: What makes it so.
    orders: Sequence[QueueChange]


def planned(said: QueueYaml, declared: Mapping[str, Queue], known: Sequence[QueueSettings]) -> list[QueueChanged]:
    """What becomes of each queue that the file names, or that another file has declared before."""
    stored = {queue.name: queue for queue in known}
    named = [_planned(name, queue, stored.get(name), said) for name, queue in declared.items()]
    return [*named, *_dropped(declared, known)]


def _planned(name: str, queue: Queue, before: QueueSettings | None, said: QueueYaml) -> QueueChanged:
    settings = before or QueueSettings(name=name)
    orders: list[QueueChange] = [] if before is not None and before.declared == queue else [Declare(queue)]
    what = "new" if before is None else "changed" if orders else "same"
    if said.resume_paused_queues and settings.chosen_pause:
        orders.append(Resume())
        what = "resumed"
    return QueueChanged(name, what, before, _after(settings, orders), orders)


def _dropped(declared: Mapping[str, Queue], known: Sequence[QueueSettings]) -> Iterator[QueueChanged]:
    """App Engine disables a queue that the file names no more, and keeps its tasks."""
    for queue in known:
        if queue.declared.source is not None and queue.name not in declared:
            orders = [] if queue.declared.paused else [Declare(replace(queue.declared, paused=True))]
            yield QueueChanged(queue.name, "disabled", queue, _after(queue, orders), orders)


def _after(settings: QueueSettings, orders: Sequence[QueueChange]) -> QueueSettings:
    for order in orders:
        settings = changed(settings, order)
    return settings


def line(one: QueueChanged) -> str:
    """For people: `mail: rate 5/s -> 10/m, route (none) -> worker`."""
    if one.what == "disabled":
        word = "disabled" if one.orders else "disabled already"
        return f"{one.name}: {word}, since the file names it no more; its tasks stay, and wait"
    return f"{one.name}: {', '.join(_parts(one))}{_kept(one)}"


def _parts(one: QueueChanged) -> Iterator[str]:
    if one.what == "resumed":
        yield "resumed"
    after = _plain(one.after.declared)
    before = _plain(one.before.declared) if one.before is not None else None
    if before is None:
        yield "new"
        yield from (f"{field} {value}" for field, value in after.items() if field != "source")
    elif before == after:
        yield "as before"
    else:
        yield from (
            f"{field} {before.get(field, '(none)')} -> {after.get(field, '(none)')}"
            for field in _FIELDS
            if before.get(field) != after.get(field)
        )


def _kept(one: QueueChanged) -> str:
    """What an operator has said, which wins."""
    kept = [f"{field} {'none' if value is None else value}" for field, value in one.after.chosen.items()]
    if one.after.chosen_pause is not None:
        kept.append("paused" if one.after.chosen_pause else "resumed")
    return f" (an operator's word holds: {', '.join(kept)})" if kept else ""


def _plain(queue: Queue) -> dict[str, str]:
    """What is said of a queue, in words, by field."""
    said = queue.to_dict()
    if queue.retry is not None:
        waits = f"{queue.retry.min_backoff_s:g} to {queue.retry.max_backoff_s:g} s apart"
        said["retry"] = f"{retry_text(queue.retry)}, {waits}, {queue.retry.max_doublings} doublings"
    return {field: "yes" if said[field] is True else str(said[field]) for field in _FIELDS if field in said}


def document(one: QueueChanged) -> dict[str, Any]:
    """For programs."""
    return {
        "queue": one.name,
        "change": one.what,
        "before": None if one.before is None else one.before.declared.to_dict(),
        "after": one.after.declared.to_dict(),
        "paused": one.after.paused,
        "set": dict(one.after.chosen),
    }
