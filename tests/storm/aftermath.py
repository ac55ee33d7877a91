"""After the storm: fresh workers drain the store, and everything is looked at."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

from deferq import Deferq, State
from deferq.engines.base import Filter
from deferq.model.task import SUSPECT_FROM, Task
from tests.storm.checks import RAN_OUT, Seen, Stored, violations
from tests.storm.ledger import FILE, read
from tests.storm.processes import descriptors, living
from tests.storm.storm import Storm

import storm_tasks as tasks  # isort: skip

#: I14: seconds until everything is done once it is calm, much more than a lease and two looks; a second more for so
#: many tasks that wait, which is much slower than two workers are; and so many seconds for each that goes through
#: quarantine, alone in a process that has to be started.
DRAINED_S, PER_SECOND, QUARANTINE_S = 90.0, 20, 3.0
#: Descriptors that a worker may have more than it had: stores and bells of others are opened when they are needed.
MORE_DESCRIPTORS = 6


def settle_down(storm: Storm) -> float:
    """Let a fresh worker and the veteran finish what is left; returns how many seconds that took from the last blow."""
    began = time.monotonic()
    storm.calm()
    storm.add_worker()
    wait_until_done(storm)
    drained_s = time.monotonic() - began
    ask_again(storm)
    wait_until_done(storm)
    return drained_s


def wait_until_done(storm: Storm) -> None:
    seconds = DRAINED_S + unfinished(storm.deferq) / PER_SECOND + suspects(storm.deferq) * QUARANTINE_S
    until(lambda: not unfinished(storm.deferq), seconds, "there is still something to do")


def ask_again(storm: Storm) -> None:
    """I2, I7: whoever got no answer, or wants to be sure, defers what it has named again, and finds what there is."""
    records = read(storm.folder / FILE)
    answered = {record.token: record.task for record in records if record.what == "accepted"}
    stored = {task.options.tags[0]: task.id for task in everything(storm.deferq)}
    tokens = [record.token for record in records if record.what == "named"]
    calls = [tasks.named(storm.deferq, token).with_options(if_exists="return") for token in tokens]
    for token, again in zip(tokens, storm.deferq.defer_many(calls), strict=True):
        assert again.existed == (token in stored), f"{token} was stored anew, or not at all"
        assert again.id == answered.get(token, stored.get(token, again.id)), f"{token} is another task now"


def unfinished(deferq: Deferq) -> int:
    counts = deferq.engine.counts(cap=10**9)
    return sum(queue.ready + queue.scheduled + queue.retrying + queue.parked + queue.leased for queue in counts.queues)


def suspects(deferq: Deferq) -> int:
    waiting = State.PENDING, State.LEASED
    return sum(task.state in waiting and task.crashes >= SUSPECT_FROM for task in everything(deferq))


def everything(deferq: Deferq) -> Iterator[Task]:
    """All tasks of the store."""
    after: int | None = None
    while True:
        page = deferq.engine.find(Filter(), after=after, limit=1_000)
        yield from page.tasks
        if page.next_after is None:
            return
        after = page.next_after


def look(storm: Storm) -> Seen:
    """All there is to know."""
    return Seen(
        read(storm.folder / FILE),
        storm.hits,
        [_stored(storm.deferq, task) for task in everything(storm.deferq)],
        leases_run_out=storm.lease_s is not None,
        limits=((tasks.NARROW, tasks.NARROW_MOST),),
    )


def _stored(deferq: Deferq, task: Task) -> Stored:
    details = deferq.engine.details(task.id)
    done = task.state is State.SUCCEEDED
    return Stored(
        id=task.id,
        token=task.options.tags[0],
        state=task.state,
        reason=task.reason,
        attempts=task.attempts,
        max_attempts=task.options.retry.max_attempts,
        queue=task.queue,
        result=deferq.open_result(task.id, task.target, details.result) if done else None,
        ran_out=frozenset(one.attempt for one in details.failures if one.message == RAN_OUT),
    )


def check(storm: Storm, had_descriptors: int) -> Seen:
    """Nothing is wrong, and nothing is left behind."""
    bells = storm.folder / "jobs.db-bells"
    until(lambda: len(list(bells.iterdir())) == len(storm.workers), 60, f"bells of the dead in {bells}")
    has = descriptors(storm.veteran.pid)
    assert has <= had_descriptors + MORE_DESCRIPTORS, f"the veteran has {has} descriptors, and had {had_descriptors}"
    for worker in list(storm.workers):
        storm.stop(worker)
    storm.wait_for_leaving()
    assert not storm.astray, "\n".join(storm.astray)
    assert list(bells.iterdir()) == []
    assert list(living(storm.folder)) == []
    assert storm.deferq.engine.check(full=True) == []  # type: ignore[attr-defined]
    seen = look(storm)
    wrong = violations(seen)
    assert not wrong, f"{len(wrong)} violations in {storm.folder}:\n" + "\n".join(wrong[:20])
    return seen


def told(seen: Seen) -> Counter[str]:
    """What there is to say about it, in numbers."""
    answered = {record.token for record in seen.records if record.what == "accepted"}
    asked = {record.token for record in seen.records if record.what in ("intend", "named")}
    every = [one for starts in seen.executions.values() for one in starts]
    return Counter(
        {
            "tasks through storms": len(seen.stored),
            "calls whose answer died with who asked": len(asked - answered),
            "executions that a storm cut off": sum(one.end is None for one in every),
            "executions whose lease ran out": sum(len(task.ran_out) for task in seen.stored),
            "late ends of executions whose lease ran out": seen.late(),
            "tasks of one attempt through storms": sum(task.max_attempts == 1 for task in seen.stored),
        }
    )


def until(reached: Callable[[], object], seconds: float, otherwise: str) -> None:
    ends = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < ends, otherwise
        time.sleep(0.05)
