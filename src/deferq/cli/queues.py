"""How the verbs under `deferq queues` find queues, and how they show their limits."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from deferq.app import Deferq
from deferq.cli.arguments import CommandError, add_store
from deferq.cli.loading import open_store
from deferq.cli.output import plural
from deferq.model.limits import FIELDS
from deferq.model.queue import Queue, check_queue_name
from deferq.model.retry import RetryPolicy
from deferq.model.settings import QueueChange, QueueSettings
from deferq.suggest import did_you_mean

_OFFER = " If it has not been used yet, say --new."


def add_queues(parser: argparse.ArgumentParser) -> None:
    """One or more names of queues in a store."""
    add_store(parser)
    parser.add_argument("queues", metavar="QUEUE", nargs="+", help="names of queues")


def add_new(parser: argparse.ArgumentParser) -> None:
    """A mistyped name must not make a queue."""
    parser.add_argument("--new", action="store_true", help="the queue need not have been used yet")


def find(deferq: Deferq, names: Sequence[str], *, new: bool | None = None) -> list[QueueSettings]:
    """The queues of these names. Raises CommandError for one that the store does not have, unless it may be `new`.

    None: the command has no `--new`, so none is offered.
    """
    known = {queue.name: queue for queue in deferq.engine.queues()}
    for name in names:
        check_queue_name(name)
        if name not in known and name not in deferq.queues and not new:
            those = did_you_mean(name, known, otherwise=_those(known))
            raise CommandError(f"There is no queue '{name}'.{those}{'' if new is None else _OFFER}")
    return [known[name] if name in known else _declared(deferq, name) for name in names]


def unused(names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """A sentence for each name that no queue has yet, with the one that was probably meant."""
    known = list(known)
    for name in names:
        if name not in known:
            yield f"There is no queue '{name}' yet.{did_you_mean(name, known)}"


def change_each(args: argparse.Namespace, change: QueueChange, *, new: bool | None = None) -> list[QueueSettings]:
    """Apply `change` to the queues that were named; returns them as they are now."""
    with open_store(args) as deferq:
        names = list(dict.fromkeys(args.queues))
        find(deferq, names, new=new)
        return deferq.engine.change_queues([(name, change) for name in names])


def limits_line(queue: QueueSettings) -> str:
    """A queue and its limits for people: `mail: rate 5/s (declared), max_concurrent 2 (set)`."""
    said = [(field, queue.origin(field)) for field in FIELDS]
    parts = [f"{field} {_value(queue, field)} ({origin})" for field, origin in said if origin]
    return f"{queue.name}: {', '.join(parts) or 'no limits'}"


def limit_cell(queue: QueueSettings, field: str) -> str:
    """One limit in a table; what an operator has set is marked."""
    if queue.origin(field) is None:
        return ""
    return _value(queue, field) + (" (set)" if queue.origin(field) == "set" else "")


def retry_text(policy: RetryPolicy | None) -> str:
    """When a task is given up, in a few words; empty: as deferq does by itself."""
    if policy is None:
        return ""
    attempts = [] if policy.max_attempts is None else [plural(policy.max_attempts, "attempt")]
    age = [] if policy.max_age_s is None else [f"{policy.max_age_s:,g} s"]
    return " and ".join(attempts + age) or "for ever"


def limits_document(queue: QueueSettings) -> dict[str, Any]:
    """What holds, and who said so. The size of a bucket is there whether it was given or not."""
    limits = queue.limits
    return {
        "rate": limits.rate,
        "bucket_size": limits.burst if limits.rate else None,
        "max_concurrent": limits.max_concurrent,
        "retry": queue.declared.to_dict().get("retry"),
        "route": queue.declared.route,
        "pull": queue.declared.pull,
        "declared": queue.declared.to_dict(),
        "set": dict(queue.chosen),
    }


def _value(queue: QueueSettings, field: str) -> str:
    """What holds, or what would hold if the queue had a rate."""
    said = queue.chosen[field] if field in queue.chosen else getattr(queue.declared, field)
    return "none" if said is None else str(said)


def _declared(deferq: Deferq, name: str) -> QueueSettings:
    return QueueSettings(name=name, declared=deferq.queues.get(name, Queue()))


def _those(known: dict[str, QueueSettings]) -> str:
    return f" There are: {', '.join(known)}." if known else " None has been used yet."
