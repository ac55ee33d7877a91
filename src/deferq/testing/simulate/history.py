"""What happened, in order. It is written once and never changed; each entry is checked against those before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from deferq.engines.answers import PutAnswer
from deferq.engines.base import Change, Settlement, Turn
from deferq.model.limits import Limits
from deferq.model.outcome import Outcome, Parked, Snoozed
from deferq.model.state import State
from deferq.model.task import Leased, NewTask, Task
from deferq.runtime.dispatcher import TakeTurn
from deferq.runtime.pools import Lease
from deferq.testing.simulate.accounts import Accounts
from deferq.testing.simulate.bookkeeping import Bookkeeping
from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.limits import LimitsKept
from deferq.testing.simulate.names import NamesKept

#: So many entries are told of.
_TOLD = 60


class Entry(NamedTuple):
    at: float
    who: str
    what: str
    task_id: int
    lease_id: int = 0


class History:
    """Who did what to which task under which lease, and what that makes of each task."""

    def __init__(self, tombstone_us: int) -> None:
        self.entries: list[Entry] = []
        #: Those of earlier turns.
        self._lease_ids: set[int] = set()
        self.accounts = Accounts()
        self.names = NamesKept(tombstone_us)
        self.limits_kept = LimitsKept()
        self.books = Bookkeeping()
        #: The latest time that the clock has shown.
        self._latest = 0
        self._asked_in_outage: Counter[tuple[str, int]] = Counter()

    def note(self, at: float, who: str, what: str, task_id: int = 0, lease_id: int = 0) -> None:
        self.entries.append(Entry(at, who, what, task_id, lease_id))

    # ---- tasks come into being

    def put(self, at: float, now: int, who: str, tasks: Sequence[NewTask], answers: Sequence[PutAnswer]) -> None:
        """Tasks were put and it is committed, whether the answer arrives or not."""
        for task, answer in zip(tasks, answers, strict=True):
            self.note(at, who, f"put {task.name or 'a task'} ({task.if_exists}): {type(answer).__name__}", task.id)
            self.names.put(task, answer, self.accounts, now)
            self.books.put(task.id)

    # ---- tasks are leased and settled

    def turn(self, at: float, who: str, effect: TakeTurn, turn: Turn) -> None:
        """A turn was committed, whether its answer arrives or not."""
        lost = {(task.id, task.lease_id) for task in turn.lost}
        for settlement in effect.settlements:
            task = settlement.task
            if (task.id, task.lease_id) in lost:
                self.note(at, who, "was told it lost", task.id, task.lease_id)
            else:
                self.note(at, who, f"settled as {settlement.transition.rule}", task.id, task.lease_id)
                self._settled(settlement, turn.now)
        for leased in turn.leased:
            self.note(at, who, "leased", leased.id, leased.lease_id)
            if leased.lease_id in self._lease_ids:
                raise Broken(f"task {leased.id} was leased by a lease id that had been used before")
            self._leased(leased, turn.now)
        self._lease_ids.update(leased.lease_id for leased in turn.leased)
        self.books.turn(effect.settlements, turn)
        self.limits_kept.leased(turn, self.accounts)

    def _settled(self, settlement: Settlement, now: int) -> None:
        """I4: a stale lease changes nothing, and is told so."""
        account = self.accounts[settlement.task.id]
        if account.holds(settlement.task.lease_id):
            account.settle(settlement.transition, now)
            self.names.ended(account, now)
        elif not account.stands_as(settlement):
            raise Broken(f"task {account.id} was settled by a stale lease")

    def _leased(self, leased: Leased, now: int) -> None:
        """I3, as the store sees it: what somebody holds, or what has ended, or is not due yet, is leased to nobody."""
        account = self.accounts[leased.id]
        if account.gone or not account.pending:
            raise Broken(f"task {account.id} was leased while it was {account.standing}")
        self._latest = max(self._latest, now)  # what was due stays so when the clock is set back
        if leased.eta > self._latest or account.due > self._latest:
            raise Broken(f"task {account.id} was leased before it was due")
        account.lease(leased)

    def renewed(self, leases: Sequence[Leased], until: int, lost: Sequence[Leased]) -> None:
        """Leases were renewed, apart from those that are lost. Whoever holds one is never told that it is lost."""
        lost_leases = {(task.id, task.lease_id) for task in lost}
        for task in leases:
            account = self.accounts[task.id]
            is_lost = (task.id, task.lease_id) in lost_leases
            if is_lost is account.holds(task.lease_id):
                raise Broken(f"task {task.id} was {'not ' * (not is_lost)}lost, and a renewal says something else")
            if not is_lost:
                account.until = until

    # ---- tasks run

    def start(self, at: float, who: str, task: Leased, outcome: Outcome) -> None:
        """I5, I6: user code begins, and never more often than the task allows; crashes count."""
        self.note(at, who, f"started, to end as {type(outcome).__name__}", task.id, task.lease_id)
        if isinstance(outcome, Parked):
            return
        account = self.accounts[task.id]
        account.starts += 1
        account.snoozes += isinstance(outcome, Snoozed)
        most = task.retry.max_attempts
        if most is not None and account.starts - account.snoozes > most:
            raise Broken(f"task {task.id} may be attempted {most} times and was started {account.starts} times")

    def beliefs(self, holdings: Iterable[tuple[str, Leased, Lease, float]], now: float) -> None:
        """I3: nobody may believe in a lease while somebody else does; each is judged by its own belief."""
        believer: dict[int, tuple[str, int]] = {}
        for who, task, _, until in holdings:
            if until > now and believer.setdefault(task.id, (who, task.lease_id)) != (who, task.lease_id):
                raise Broken(f"task {task.id} is held by {believer[task.id][0]} and by {who}")

    # ---- persons

    def changed(self, at: float, ids: Sequence[int], change: Change, changed: Sequence[int], now: int) -> None:
        """Somebody changed tasks: those that it fits, and no others."""
        kind = type(change).__name__
        for task_id in ids:
            account = self.accounts[task_id]
            fits = account.fits(change)
            if fits is not (task_id in changed):
                raise Broken(f"task {task_id} was {account.standing}, and {kind} said {task_id in changed}")
            if fits:
                self.note(at, "a person", kind, task_id)
                self.books.changed(task_id, account.lease_id if account.leased else None, change)
                account.change(change, now)
                self.names.ended(account, now)

    def purged(self, at: float, queue: str, count: int, now: int) -> None:
        """Somebody purged a queue: every pending task is gone."""
        pending = [account for account in self.accounts.live() if account.pending and account.task.queue == queue]
        if len(pending) != count:
            raise Broken(f"queue {queue} had {len(pending)} pending tasks and {count} were purged")
        for account in pending:
            self.note(at, "a person", "purged", account.id)
            account.purge(now)
            self.names.ended(account, now)

    def requeued(self, at: float, ids: Sequence[int], requeued: Sequence[int], rows: Sequence[Task], now: int) -> None:
        """Somebody requeued tasks: the dead and the cancelled begin anew."""
        names = {row.id: row.name for row in rows}
        for task_id in ids:
            account = self.accounts[task_id]
            if account.may_be_requeued is not (task_id in requeued):
                raise Broken(f"task {task_id} was {account.standing}, and requeue said {task_id in requeued}")
            if account.may_be_requeued:
                self.note(at, "a person", "requeued", task_id)
                account.requeue(now, names.get(task_id))
                self.books.requeued(task_id)
                self.names.came_back(account, self.accounts)

    def woken(self, now: int) -> None:
        """What was parked may be due by now."""
        self.books.woken()
        for account in self.accounts:
            if account.pending and account.parks:
                account.due = min(account.due, now)

    # ---- what the store shows

    def shown(self, rows: Mapping[int, Task], now: int, kept_us: Mapping[State, int]) -> None:
        """I1: the store shows what the history says. What is missing had ended, and was kept as long as it had to be.

        `kept_us` is how long a task is kept, by its state.
        """
        for account in self.accounts.live():
            row = rows.get(account.id)
            if row is not None:
                account.compare(row, now)
                self.names.ended(account, now)
            elif not account.may_be_missing(now, kept_us):
                raise Broken(f"task {account.id} is missing, and it was {account.standing}")
            else:
                self.note(0.0, "the janitor", "had purged", account.id)
                account.gone = True

    def ending(self, patience_s: float, stuck: Collection[int]) -> None:
        """I1, I14: after the last fault everything comes to an end, and that in time.

        `stuck` are those whose lease ends only when a clock that was wrong says so.
        """
        for account in self.accounts.live():
            if not account.ended and account.id not in stuck:
                raise Broken(f"task {account.id} did not end within {patience_s:.0f} s: it is {account.standing}")
            most = account.task_retry.max_attempts
            if most is not None and account.attempts > most:
                raise Broken(f"task {account.id} spent {account.attempts} attempts of {most}")

    # ---- bounds

    def busy(self, workers: int, steps: int) -> None:
        """I15: so many steps were taken at one moment; none of the workers runs in circles."""
        if steps > 200 * (workers + 1):
            raise Broken(f"{workers} workers took {steps} steps at one moment, and go on")

    def asked_in_vain(self, at: float, who: str) -> None:
        """I15: a store that is out of reach is asked a few times a second, and no more."""
        second = (who, int(at))
        self._asked_in_outage[second] += 1
        if self._asked_in_outage[second] > 40:
            raise Broken(f"{who} asked a store that is out of reach more than 40 times within a second")

    # ---- telling

    def limits_are(self, queue: str, limits: Limits, paused: bool) -> None:
        """From now on a queue allows this."""
        self.limits_kept.are(queue, limits, paused)

    def leapt(self, at: float, now: int, seconds: float) -> None:
        """The clock, which showed `now`, was set."""
        self._latest = self.names.latest = max(self._latest, now)
        self.books.leapt(at)
        self.note(at, "the clock", f"leapt by {seconds:.3f} s")
        if seconds < 0:
            self.limits_kept.forget_rates()

    def tell(self, message: str) -> str:
        """The last things that happened to the task a message speaks of, or to all."""
        words = message.split()
        task_id = int(words[1]) if words[0] == "task" and len(words) > 1 and words[1].isdigit() else 0
        told = [entry for entry in self.entries if entry.task_id in (task_id, 0) or not task_id][-_TOLD:]
        return "\n".join(
            f"{one.at:9.3f} {one.who:10} {one.what} {one.task_id or ''} {one.lease_id or ''}".rstrip() for one in told
        )
