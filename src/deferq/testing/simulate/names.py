"""What `put` may answer: a task is accepted once, and a name goes to one task at a time, and to none for a while."""

from __future__ import annotations

from deferq.engines.answers import Existing, PutAnswer, Stored, Tombstoned
from deferq.engines.base import Cancel
from deferq.model.task import NewTask
from deferq.testing.simulate.accounts import Account, Accounts
from deferq.testing.simulate.broken import Broken

Name = tuple[str, str]


class NamesKept:
    """Who has which name, by the history."""

    def __init__(self, tombstone_us: int) -> None:
        self._tombstone_us = tombstone_us
        #: The latest time that the clock has shown before it was set back.
        self.latest = 0
        self._holders: dict[Name, int] = {}
        #: Names of tasks that have ended, and until when they stay taken.
        self._tombstones: dict[Name, int] = {}

    def put(self, task: NewTask, answer: PutAnswer, accounts: Accounts, now: int) -> None:
        """I2: what was accepted before is not accepted again. I7: a name that is taken is not given away."""
        if task.id in accounts and not accounts[task.id].gone:
            self._put_again(task, answer, accounts, now)
        elif isinstance(answer, Stored):
            self._accepted(task, answer, accounts, now)
        else:
            self._refused(task, answer, now)

    def _put_again(self, task: NewTask, answer: PutAnswer, accounts: Accounts, now: int) -> None:
        """The answer to the first one got lost. It changes nothing; the name may be somebody else's by now."""
        if isinstance(answer, Stored) and answer.replaced is not None:
            raise Broken(f"task {task.id} was put again, and replaced task {answer.replaced}")
        if isinstance(answer, Existing | Tombstoned) and answer.id == task.id and accounts[task.id].ended:
            return
        if not isinstance(answer, Stored) and answer.id == task.id:
            raise Broken(f"task {task.id} was put again, and told that it is in its own way")

    def _accepted(self, task: NewTask, answer: Stored, accounts: Accounts, now: int) -> None:
        if task.name is None:
            accounts.open(task)
            return
        name = (task.queue, task.name)
        holder = self._holder(name, now)
        if holder is not None:
            self._make_way(task, answer, accounts[holder], now)
        account = accounts.open(task)
        self._holders[name] = task.id
        self._tombstones.pop(name, None)
        account.name = task.name

    def _make_way(self, task: NewTask, answer: Stored, holder: Account, now: int) -> None:
        """Only a replacement takes a name that is taken. A pending holder is cancelled, a leased one ends nameless."""
        if task.if_exists != "replace" and not self._was_over(task, holder):
            raise Broken(f"task {task.id} got the name of task {holder.id}, which is {holder.standing}")
        expected = holder.id if holder.pending and not holder.gone else None
        if answer.replaced != expected:
            raise Broken(
                f"task {task.id} replaced {answer.replaced}; {holder.id} has its name, and is {holder.standing}"
            )
        if holder.ended:
            return
        if holder.pending:
            holder.change(Cancel(), now)
        holder.name = None

    def _was_over(self, task: NewTask, holder: Account) -> bool:
        """Whether the tombstone's time had come before the clock was set back; it may have been taken away then."""
        until = self._tombstones.get((task.queue, task.name or ""))
        return holder.ended and until is not None and until <= self.latest

    def _refused(self, task: NewTask, answer: PutAnswer, now: int) -> None:
        if task.name is None:
            raise Broken(f"task {task.id} has no name and was refused: {answer}")
        name = (task.queue, task.name)
        until = self._tombstones.get(name)
        wanted = Existing(self._holders.get(name, 0)) if until is None else Tombstoned(self._holders[name], until)
        if task.if_exists == "replace" or self._holder(name, now) is None or answer != wanted:
            raise Broken(f"task {task.id} was refused: {answer}; {wanted} would be right")

    def _holder(self, name: Name, now: int) -> int | None:
        until = self._tombstones.get(name)
        return self._holders.get(name) if until is None or until > now else None

    def pending_holder(self, task: NewTask, accounts: Accounts, now: int) -> int | None:
        """The pending task that would be replaced if this one were put."""
        holder = None if task.name is None else self._holder((task.queue, task.name), now)
        return holder if holder is not None and accounts[holder].pending and not accounts[holder].gone else None

    def ended(self, account: Account, now: int) -> None:
        """If its task has ended, and has a name, a tombstone stands for it."""
        if account.name is None or not account.ended:
            return
        name = (account.task.queue, account.name)
        if self._holders.get(name) == account.id and name not in self._tombstones:
            finished_at = account.finished_at if account.finished_at is not None else now
            self._tombstones[name] = finished_at + self._tombstone_us

    def came_back(self, account: Account, accounts: Accounts) -> None:
        """A requeued task has its name again, unless somebody else has it."""
        if account.name is None:
            return
        name = (account.task.queue, account.name)
        holder = self._holders.get(name)
        if holder not in (None, account.id) and name not in self._tombstones:
            raise Broken(f"task {account.id} was requeued and got the name that task {holder} has")
        self._holders[name] = account.id
        self._tombstones.pop(name, None)
