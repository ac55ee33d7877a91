"""What queues allow, over all workers and whatever happens to them."""

from __future__ import annotations

from collections import Counter, defaultdict

from deferq.engines.base import Turn
from deferq.model.limits import NO_LIMITS, Limits, rate_of
from deferq.testing.simulate.accounts import Accounts
from deferq.testing.simulate.broken import Broken


class LimitsKept:
    """What each queue allows, and what was leased from it."""

    def __init__(self) -> None:
        self._limits: dict[str, Limits] = {}
        self._paused: set[str] = set()
        self._leased_at: dict[str, list[int]] = defaultdict(list)

    def are(self, queue: str, limits: Limits, paused: bool) -> None:
        """From now on a queue allows this. What was leased before says nothing about it."""
        if limits != self._limits.get(queue):
            self._limits[queue] = limits
            self._leased_at[queue].clear()
        (self._paused.add if paused else self._paused.discard)(queue)

    def forget_rates(self) -> None:
        """The clock was set back: what was leased before says nothing about what may be leased now."""
        self._leased_at.clear()

    def leased(self, turn: Turn, accounts: Accounts) -> None:
        """After each turn, whoever leased what."""
        for queue in {task.queue for task in turn.leased} if turn.leased else ():
            if queue in self._paused:
                raise Broken(f"queue {queue} is paused and a task of it was leased")
            limits = self._limits.get(queue, NO_LIMITS)
            if limits.max_concurrent is not None:
                self._check_places(queue, limits.max_concurrent, accounts)
            if limits.rate is not None:
                self._leased_at[queue] += [turn.now for task in turn.leased if task.queue == queue]
                self._check_rate(queue, limits)

    def _check_places(self, queue: str, most: int, accounts: Accounts) -> None:
        """I10: never more at a time than the queue allows; a lease counts until it is settled."""
        leased = Counter(account.task.queue for account in accounts if account.leased)[queue]
        if leased > most:
            raise Broken(f"queue {queue} allows {most} at a time and {leased} are leased")

    def _check_rate(self, queue: str, limits: Limits) -> None:
        """I9: in no window that ends now are there more than the bucket and the rate give."""
        times, rate = self._leased_at[queue], rate_of(limits.rate or "")
        for count, since in enumerate(reversed(times), start=1):
            allowed = limits.burst + (times[-1] - since) * rate.tokens / rate.period_us + 0.001
            if count > allowed:
                seconds = (times[-1] - since) / 1e6
                raise Broken(f"queue {queue} leased {count} in {seconds} s and its rate is {limits.rate}")
