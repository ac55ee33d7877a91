"""What somebody should do something about: one small rule after another, each a function of a snapshot.

A serious warning means that work stands still, or will. The others are worth a look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deferq.cli.output import number, plural
from deferq.cli.snapshot import Snapshot
from deferq.cli.times import US, duration
from deferq.cli.workers import WorkerSeen
from deferq.engines.base import QueueCounts
from deferq.model.limits import NO_LIMITS, seconds_between

#: A ready task that has waited so long is late.
LATE_S = 300.0
#: A store's log of this size is not being started over. Usually it is below a quarter of it.
LOG_BYTES_MAX = 256 * 1024 * 1024
#: So many attempts in five minutes say something about the share that failed.
ATTEMPTS_MIN, FAILED_SHARE_MAX = 10, 0.5
_TARGETS_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """One warning."""

    #: For programs; it does not change.
    code: str
    #: Whether work stands still, or will.
    serious: bool
    #: For people.
    text: str
    queue: str | None = None
    #: The key of a worker's record.
    worker: str | None = None


Rule = Callable[[Snapshot], Iterator[Warned]]


def warnings_of(snapshot: Snapshot) -> list[Warned]:
    """Everything there is to warn of, serious ones first."""
    found = [warned for rule in RULES for warned in rule(snapshot)]
    return sorted(found, key=lambda warned: not warned.serious)


# ---- nobody works


def no_worker(seen: Snapshot) -> Iterator[Warned]:
    """No worker is alive. That is serious once there is work."""
    if seen.alive:
        return
    ready = sum(queue.ready for queue in seen.pushed if not queue.paused)
    held = sum(queue.leased for queue in seen.pushed)
    what = [f"{_tasks(ready, seen)} {_is(ready, 'waits', 'wait')}"] if ready else []
    if held:
        what.append(f"{_tasks(held, seen)} {_is(held, 'was', 'were')} left behind by a worker that is gone")
    text = f"no worker is running, {' and '.join(what)}; start one with: deferq worker" if what else ""
    yield Warned(code="no-worker", serious=bool(what), text=text or "no worker is running")


def unserved_queue(seen: Snapshot) -> Iterator[Warned]:
    """Workers are alive, but none takes this queue."""
    for queue in _unserved(seen):
        if queue.ready and not queue.paused:
            text = (
                f"{_tasks(queue.ready, seen)} {_is(queue.ready, 'waits', 'wait')}, no worker serves queue"
                f" {queue.queue}; start one with: deferq worker --queue {queue.queue}"
            )
            yield Warned(code="unserved-queue", serious=True, queue=queue.queue, text=text)


def left_behind(seen: Snapshot) -> Iterator[Warned]:
    """A worker that is gone held tasks, and no other will look for them."""
    for queue in _unserved(seen):
        if queue.leased:
            text = (
                f"{_tasks(queue.leased, seen)} {_is(queue.leased, 'was', 'were')} left behind in queue {queue.queue}"
                f" by a worker that is gone; start one with: deferq worker --queue {queue.queue}"
            )
            yield Warned(code="left-behind", serious=True, queue=queue.queue, text=text)


def unserved_route(seen: Snapshot) -> Iterator[Warned]:
    """Every worker of the queue has a route, and some tasks have another one; or, where all push, none."""
    for queue, waiting in seen.waiting.items():
        serving = seen.serving(queue)
        if not serving or any(worker.routes is None for worker in serving):
            continue
        served = {route for worker in serving for route in worker.routes or ()}
        for route in sorted(set(waiting.routes) - served, key=str):
            count = waiting.routes[route]
            which, those, option = ("without a route", "them", "")
            if route is not None:
                which, those, option = f"with route {route}", "that route", f" --route {route}"
            text = (
                f"{plural(count, 'task')} of queue {queue} {which} {_is(count, 'waits', 'wait')}, no worker serves"
                f" {those}; start one with: deferq worker{option}"
            )
            yield Warned(code="unserved-route", serious=True, queue=queue, text=text)


# ---- workers in trouble


def held_threads(seen: Snapshot) -> Iterator[Warned]:
    """Plain functions that ran past their timeout cannot be stopped; their threads are lost to the worker."""
    for worker in seen.alive:
        if worker.abandoned:
            verbs = _is(worker.abandoned, "runs past its timeout and holds a thread", "run past their timeout and hold")
            threads = "" if worker.abandoned == 1 else f" {worker.abandoned} threads"
            text = f"{plural(worker.abandoned, 'attempt')} {verbs}{threads} of {_name(worker)}; restart that worker"
            yield Warned(code="held-threads", serious=True, worker=worker.key, text=text)


def stuck_child(seen: Snapshot) -> Iterator[Warned]:
    """Its parent is about to replace it."""
    for worker in seen.alive:
        stuck = [str(child.pid) for child in worker.children if child.state == "stuck"]
        if stuck:
            pids = f"child {stuck[0]}" if len(stuck) == 1 else f"children {', '.join(stuck)}"
            text = f"{pids} of {_name(worker)} {_is(len(stuck), 'is', 'are')} stuck, and will be replaced"
            yield Warned(code="stuck-child", serious=False, worker=worker.key, text=text)


def base_in_trouble(seen: Snapshot) -> Iterator[Warned]:
    """A pusher leaves its base alone for a while, and the tasks wait."""
    for worker in seen.alive:
        if worker.base is not None and worker.in_trouble:
            text = (
                f"{worker.base} does not answer as it should, and {_name(worker)}, which pushes to it, tries again at"
                " least once a minute; its log says what is wrong"
            )
            yield Warned(code="base-in-trouble", serious=False, worker=worker.key, text=text)


def gone_worker(seen: Snapshot) -> Iterator[Warned]:
    """It was killed, or its machine went down."""
    for worker in seen.workers:
        if not worker.alive:
            text = f"{_name(worker)} went without a word {duration(worker.silent_s)} ago; look into its log"
            yield Warned(code="gone-worker", serious=False, worker=worker.key, text=text)


# ---- tasks in trouble


def parked(seen: Snapshot) -> Iterator[Warned]:
    """No worker of the running release knows what they call, or has the key that signed them."""
    for queue in seen.counts.queues:
        waiting = seen.waiting.get(queue.queue)
        count = queue.parked - (waiting.suspects if waiting else 0)
        if count > 0:
            targets = sorted(waiting.parked) if waiting else []
            text = (
                f"{_tasks(count, seen)} {_is(count, 'is', 'are')} parked in queue {queue.queue}:"
                f" no worker can run {_named(targets)}; which release does? 'deferq tasks show ID' says why"
            )
            yield Warned(code="parked", serious=True, queue=queue.queue, text=text)


def suspects(seen: Snapshot) -> Iterator[Warned]:
    """Their workers have died again and again, and none that is alive has a process to lose."""
    for queue, waiting in sorted(seen.waiting.items()):
        if waiting.suspects and not any(worker.children for worker in seen.serving(queue)):
            text = (
                f"{_tasks(waiting.suspects, seen)} of queue {queue} {_is(waiting.suspects, 'waits', 'wait')} for"
                f" quarantine, since {_is(waiting.suspects, 'its worker has', 'their workers have')} died too often,"
                " and no worker with child processes serves the queue; start one with: deferq worker"
            )
            yield Warned(code="suspects", serious=True, queue=queue, text=text)


def late(seen: Snapshot) -> Iterator[Warned]:
    """A worker serves the queue, but not in time: serious if none of its tasks was run, and some should have been."""
    for queue in seen.pushed:
        waited_s = waited(queue, seen.counts.now)
        if queue.paused or waited_s < LATE_S or not seen.serving(queue.queue):
            continue
        why, serious = _why_late(queue.queue, seen)
        text = f"the oldest ready task of queue {queue.queue} has waited for {duration(waited_s)}: {why}"
        yield Warned(code="late", serious=serious, queue=queue.queue, text=text)


def _why_late(queue: str, seen: Snapshot) -> tuple[str, bool]:
    """For people, and whether it is serious."""
    limits = seen.limits.get(queue, NO_LIMITS)
    if seen.windows[-1].of(queue).attempts:
        return "tasks come faster than they are run", False
    if limits.rate is not None and 2 * (every_s := seconds_between(limits.rate)) > LATE_S:
        return f"its rate is {limits.rate}, one every {duration(every_s)}", False
    return "and none of its tasks has ended in the last 5 min", True


def paused_queue(seen: Snapshot) -> Iterator[Warned]:
    """Somebody meant it; somebody may have forgotten it."""
    for queue in seen.counts.queues:
        if queue.paused and queue.ready:
            text = f"queue {queue.queue} is paused and {_tasks(queue.ready, seen)} {_is(queue.ready, 'waits', 'wait')}"
            yield Warned(code="paused-queue", serious=False, queue=queue.queue, text=text)


def failing(seen: Snapshot) -> Iterator[Warned]:
    """Most attempts of a queue come to nothing."""
    for queue, rate in sorted(seen.windows[-1].queues.items()):
        if rate.attempts >= ATTEMPTS_MIN and rate.failed_share >= FAILED_SHARE_MAX:
            text = (
                f"{rate.failures:,} of the last {rate.attempts:,} attempts in queue {queue} failed;"
                f" 'deferq tasks ls --queue {queue}' lists them"
            )
            yield Warned(code="failing", serious=False, queue=queue, text=text)


def large_log(seen: Snapshot) -> Iterator[Warned]:
    """A program that reads the file and does not stop keeps the log from being started over."""
    if seen.log_bytes is not None and seen.log_bytes >= LOG_BYTES_MAX:
        size = f"{seen.log_bytes / 1024 / 1024:,.0f} MiB"
        text = f"the log of the store is {size}: some program keeps a transaction on the file open; end it"
        yield Warned(code="large-log", serious=False, text=text)


RULES: tuple[Rule, ...] = (
    no_worker,
    unserved_queue,
    unserved_route,
    left_behind,
    held_threads,
    parked,
    suspects,
    late,
    stuck_child,
    base_in_trouble,
    gone_worker,
    paused_queue,
    failing,
    large_log,
)


# ---- words


def waited(queue: QueueCounts, now: int) -> float:
    """How long its oldest ready task has waited, in seconds."""
    return 0.0 if queue.oldest_ready is None else max(0.0, (now - queue.oldest_ready) / US)


def _unserved(seen: Snapshot) -> list[QueueCounts]:
    """None while no worker is alive: that is said once, and not for each queue."""
    return [queue for queue in seen.pushed if seen.alive and not seen.serving(queue.queue)]


def _tasks(count: int, seen: Snapshot) -> str:
    return "1 task" if count == 1 else f"{number(count, seen.counts.cap)} tasks"


def _is(count: int, one: str, several: str) -> str:
    return one if count == 1 else several


def _name(worker: WorkerSeen) -> str:
    return f"the worker on {worker.host} (pid {worker.pid})" if worker.host else f"worker {worker.key}"


def _named(targets: list[str]) -> str:
    more = len(targets) - _TARGETS_NAMED
    return ", ".join(targets[:_TARGETS_NAMED]) + (f" and {more} more" if more > 0 else "") or "them"
