"""Rows to records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from deferq.errors import InvalidOption
from deferq.model.limits import FIELDS
from deferq.model.queue import Queue
from deferq.model.settings import QueueSettings
from deferq.model.state import State
from deferq.model.task import Failure, Leased, Task, decode_options

#: What a damaged page leads to: a number where a text should stand, JSON of another form, an option of no sense.
NONSENSE = (TypeError, AttributeError, KeyError, InvalidOption)
#: What an operator says of pausing stands among the limits that he has set.
_PAUSED = "paused"


def json_list(values: Iterable[Any]) -> str:
    """A list as the JSON text that `json_each` takes apart again."""
    return json.dumps(list(values), separators=(",", ":"))


#: A row of `leased` or `stalled`: the columns are the fields in their order. In C, since there is one for every task.
to_leased: Callable[[Sequence[Any]], Leased] = partial(tuple.__new__, Leased)


def to_queue(row: Sequence[Any]) -> QueueSettings:
    """A row of `queues`. Raises ValueError if it makes no sense."""
    name, paused, declared, chosen = row
    try:
        queue, said = Queue.from_dict(json.loads(declared or "{}")), json.loads(chosen or "{}")
        return QueueSettings(
            name=name,
            declared=queue,
            chosen={limit: value for limit, value in said.items() if limit in FIELDS},
            # What holds and is not declared was an operator, also where an older deferq has written the row.
            chosen_pause=_truth(said.get(_PAUSED, None if bool(paused) == queue.paused else bool(paused))),
        )
    except NONSENSE as error:
        raise ValueError("a queue whose limits make no sense") from error


def _truth(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise TypeError("expected a truth value")


def queue_row(settings: QueueSettings) -> tuple[Any, ...]:
    """The parameters of `write_queue`: what was said by whom, and what holds."""
    limits = settings.limits
    chosen = {**settings.chosen, **({} if settings.chosen_pause is None else {_PAUSED: settings.chosen_pause})}
    texts = (json.dumps(said) if said else None for said in (settings.declared.to_dict(), chosen))
    return (
        settings.name,
        settings.paused,
        settings.declared.pull,
        *texts,
        limits.rate,
        limits.bucket_size,
        limits.max_concurrent,
    )


def to_task(row: Sequence[Any]) -> Task:
    """A row of `get` or `find`. Raises ValueError if it makes no sense."""
    try:
        return _task(row)
    except NONSENSE as error:
        raise ValueError("a task whose options make no sense") from error


def _task(row: Sequence[Any]) -> Task:
    (task_id, queue, target, state, priority, eta, leasable_at, first_due, attempts, starts, parks, expires_at, name,
     route, url, options, lease_id, cancel_requested, finished_at, reason, payload_bytes,
     crashes) = row  # fmt: skip
    return Task(
        id=task_id,
        queue=queue,
        target=target,
        state=State(state),
        priority=priority,
        eta=eta,
        leasable_at=leasable_at,
        first_due=first_due,
        attempts=attempts,
        starts=starts,
        parks=parks,
        expires_at=expires_at,
        name=name,
        route=route,
        url=url,
        options=decode_options(options),
        lease_id=lease_id,
        cancel_requested=bool(cancel_requested),
        finished_at=finished_at,
        reason=reason,
        payload_bytes=payload_bytes,
        crashes=crashes,
    )


def to_failure(row: Sequence[Any]) -> Failure:
    """A row of `failures`."""
    attempt, at, kind, error_type, message, traceback, report = row
    return Failure(
        attempt=attempt,
        at=at,
        kind=kind,
        error_type=error_type,
        message=message,
        traceback=traceback,
        report=report,
    )
