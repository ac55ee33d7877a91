"""Work that stands still: what `deferq status` warns of, and what takes a closer look."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping

from deferq.cli.checkup.finding import Case, Finding, Level, note, right, wrong
from deferq.cli.output import plural
from deferq.cli.times import US, duration
from deferq.cli.version import version
from deferq.cli.warning import LATE_S, RULES, Warned, large_log, parked, waited
from deferq.model.limits import NO_LIMITS

#: A lease that ended so long ago should have been noticed by every worker of its queue.
STALLED_S = 60.0
#: Told more closely by checks of their own.
TOLD_ELSEWHERE = (parked, large_log)

#: Why it matters and what to do, by the code of a warning.
ADVICE: Mapping[str, tuple[str, str]] = {
    "no-worker": (
        "Tasks are stored, and nobody runs them.",
        "If there should be one, look into its log why it ended. A worker inside a web application starts with the"
        " first request.",
    ),
    "unserved-queue": (
        "These tasks wait until a worker takes that queue.",
        "Start a worker with that --queue, or one without, which serves them all. Is the name of the queue right where"
        " the task is deferred?",
    ),
    "unserved-route": (
        "These tasks wait until a worker takes that route.",
        "Start a worker with that --route, or one without, which takes them all; or give 'deferq push' a base for"
        " them.",
    ),
    "left-behind": (
        "Their attempts ended with their worker, and no other looks into that queue.",
        "Start a worker for that queue; it finds them once their leases are over.",
    ),
    "held-threads": (
        "A thread cannot be killed, so the worker has that many threads less.",
        "Restart that worker, and give the task timeouts of its own for what it waits for.",
    ),
    "suspects": (
        "A task that killed its workers runs only where a process of its own can be made for it.",
        "Start a worker with child processes, at least for a while: deferq worker",
    ),
    "late": (
        "Tasks wait longer than somebody may expect.",
        "More threads or workers, if tasks come faster than they run. If none ends: SIGUSR1 shows what each thread of a"
        " worker is doing; give what takes long a queue and a worker of its own.",
    ),
    "stuck-child": ("It makes no progress.", "Nothing: its worker replaces it. If it comes again, look what it runs."),
    "base-in-trouble": (
        "What is to be pushed there waits; no attempt is spent.",
        "Does the application run there, and is it reached from the machine of that worker? If it answers 429 or 503,"
        " give it more processes, or the worker a smaller --concurrency.",
    ),
    "gone-worker": (
        "It was killed, or its machine went down.",
        "Look into its log, and into that of the system for 'out of memory'. Others run its tasks.",
    ),
    "paused-queue": ("Somebody meant it, or has forgotten it.", "deferq queues resume QUEUE"),
    "failing": (
        "Most attempts come to nothing.",
        "'deferq tasks ls' lists the tasks, 'deferq tasks show ID' has the traceback.",
    ),
}


def standing_still(case: Case) -> Iterator[Finding]:
    """Every rule of `deferq status`."""
    for rule in RULES:
        if rule in TOLD_ELSEWHERE:
            continue
        found = list(rule(case.sight))
        yield from map(_as_finding, found)
        if not found:
            yield right(rule.__name__.replace("_", "-"), _FINE[rule.__name__])


def _as_finding(warned: Warned) -> Finding:
    why, do = ADVICE[warned.code]
    return Finding(
        code=warned.code,
        level=Level.WRONG if warned.serious else Level.NOTE,
        text=f"{warned.text[0].upper()}{warned.text[1:]}.",
        why=why,
        do=do.replace("QUEUE", warned.queue or "QUEUE"),
        queue=warned.queue,
        worker=warned.worker,
    )


_FINE: Mapping[str, str] = {
    "no_worker": "a worker is alive",
    "unserved_queue": "each queue with ready tasks is served",
    "unserved_route": "each route is served",
    "left_behind": "no worker has left tasks behind in a queue that nobody serves",
    "held_threads": "no thread is held by an attempt past its timeout",
    "suspects": "nothing waits in vain for quarantine",
    "late": f"no ready task has waited for {duration(LATE_S)}",
    "stuck_child": "no child is stuck",
    "base_in_trouble": "every base that tasks are pushed to answers",
    "gone_worker": "no worker went without a word in the last hour",
    "paused_queue": "no task waits in a paused queue",
    "failing": "less than half of the attempts of the last five minutes failed",
}


def full_queues(case: Case) -> Iterator[Finding]:
    """All places of a queue are taken, and tasks wait long for one."""
    seen = case.sight
    for queue in seen.counts.queues:
        most = seen.limits.get(queue.queue, NO_LIMITS).max_concurrent
        if most is None or queue.paused or queue.leased < most or waited(queue, seen.counts.now) < LATE_S:
            continue
        yield note(
            "full-queue",
            f"All {most:,} places of queue {queue.queue} (max_concurrent) are taken, and its oldest ready task has"
            f" waited for {duration(waited(queue, seen.counts.now))}.",
            "It starts when one of the running tasks of that queue has ended.",
            "Does one hang? Give its tasks a timeout. For more places: deferq queues set"
            f" {queue.queue} --max-concurrent N",
            queue=queue.queue,
        )


def stalled(case: Case) -> Iterator[Finding]:
    """Leases that are over, and nobody has settled them although somebody should."""
    now = case.store.now()
    found = [held for held in case.store.stalled(now - int(STALLED_S * US)) if held.queue not in case.sight.pulled]
    for held in found:
        one = held.number == 1
        served = bool(case.sight.serving(held.queue))
        yield wrong(
            "stalled",
            f"{plural(held.number, 'task')} of queue {held.queue} {'is' if one else 'are'} stalled:"
            f" {'its lease' if one else 'their leases'} ended {duration((now - held.since) / US)} ago, and no worker"
            f" has settled {'it' if one else 'them'}.",
            "The worker that ran them is gone or hangs. They count against limits of the queue until they are settled.",
            "The workers of that queue are alive and do not look: restart them."
            if served
            else f"No worker serves that queue. Start one: deferq worker --queue {held.queue}",
            queue=held.queue,
        )
    if not found:
        yield right("stalled", "no lease has run out unsettled")


def releases(case: Case) -> Iterator[Finding]:
    """Workers of another deferq than this one."""
    others = {worker.key: worker.version for worker in case.sight.alive if worker.version not in (None, version())}
    for key, other in others.items():
        yield note(
            "release",
            f"Worker {key} runs deferq {other}, and this is deferq {version()}.",
            "That is well during a deployment. A schema that is upgraded under an older worker stops it.",
            "Restart that worker with this release, once it is deployed everywhere.",
        )
    if case.sight.alive and not others:
        yield right("releases", "the workers alive run this release")


def silent_here(case: Case) -> Iterator[Finding]:
    """A worker whose record says that it lives, and whose process is gone, on this machine."""
    for worker in case.sight.alive:
        if worker.pid is not None and worker.host == os.uname().nodename and not _runs(worker.pid):
            yield note(
                "vanished-worker",
                f"Worker {worker.key} (pid {worker.pid}) is not among the processes that can be seen here.",
                "It was killed a moment ago, or runs in another container of this name.",
                "If it was killed: others run its tasks. Look into its log, and into that of the system.",
            )


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def clock_sense(case: Case) -> Iterator[Finding]:
    """A clock that was never set."""
    if time.gmtime().tm_year < 2024:
        yield wrong(
            "clock",
            f"The clock of this machine says {time.strftime('%Y-%m-%d')}.",
            "It was never set. Tasks are due by it, and leases end by it.",
            "Set it, and let it be kept by NTP.",
        )


CHECKS = (standing_still, full_queues, stalled, releases, silent_here, clock_sense)
