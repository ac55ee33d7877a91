"""What attempts came to: one total for each group of settlements, and later one for each minute."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import chain

from deferq.engines.base import MINUTE_US, Settlement, Total


class Totals:
    """The totals of one engine."""

    def __init__(self) -> None:
        self._groups: deque[Total] = deque()
        self._minutes: OrderedDict[tuple[int, str, str], Total] = OrderedDict()

    def add(self, settled: Iterable[Settlement], now: int) -> None:
        """Count the attempts of a group of settlements; what never started is none."""
        group: dict[tuple[str, str], Total] = {}
        for settlement in settled:
            if settlement.is_attempt:
                key = (settlement.task.queue, settlement.task.target)
                duration_us = settlement.duration_us
                one = Total(now, *key, 1, int(settlement.failed), duration_us, duration_us)
                group[key] = _sum(group.get(key), one)
        self._groups.extend(group.values())

    def between(self, since: int, until: int) -> list[Total]:
        """Totals in [since, until), oldest first."""
        return sorted(total for total in chain(self._minutes.values(), self._groups) if since <= total.at < until)

    def fold(self, now: int, limit: int) -> int:
        """Fold groups of minutes that are over into one total a minute; returns how many groups."""
        this_minute = now - now % MINUTE_US
        folded = 0
        while self._groups and self._groups[0].at < this_minute and folded < limit:
            group = self._groups.popleft()
            minute = group._replace(at=group.at - group.at % MINUTE_US)
            key = (minute.at, minute.queue, minute.target)
            self._minutes[key] = _sum(self._minutes.get(key), minute)
            folded += 1
        return folded

    def drop(self, before: int) -> None:
        """Forget minutes before this time."""
        while self._minutes and next(iter(self._minutes))[0] < before:
            self._minutes.popitem(last=False)


def _sum(left: Total | None, right: Total) -> Total:
    if left is None:
        return right
    return left._replace(
        attempts=left.attempts + right.attempts,
        failures=left.failures + right.failures,
        duration_us=left.duration_us + right.duration_us,
        duration_us_max=max(left.duration_us_max, right.duration_us_max),
    )
