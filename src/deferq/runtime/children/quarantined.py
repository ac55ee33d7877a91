"""The child that runs one suspect task alone, as its parent sees it."""

from __future__ import annotations

import math
import os
import select
import signal
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from deferq.model.outcome import INTERRUPTED, Cancelled, ErrorText, Failed, Interrupted, Outcome
from deferq.model.task import Leased
from deferq.runtime.children.channel import Channel
from deferq.runtime.children.ending import MeasuredProcess, Usage, how_it_ended, megabytes
from deferq.runtime.children.process import ChildProcess, Condition
from deferq.runtime.children.starts import Starts
from deferq.runtime.children.system import NewPoll, Process
from deferq.runtime.errortext import TRACEBACK_BYTES_MAX, cut
from deferq.runtime.pools import Finished, Lease
from deferq.runtime.settling import WORKER_DIED

#: Seconds for which a task goes back that an application with another store cannot run.
OTHER_STORE_S = 60.0


class QuarantineChild(ChildProcess):
    """A child made for one task. The task waits in the parent until the child has loaded the application.

    Its lease is renewed meanwhile. So what the start of a process takes is not part of the attempt, and a process that
    cannot start spends nothing.
    """

    apart = True

    def __init__(
        self,
        process: Process,
        channel: Channel,
        starts: Starts,
        now: float,
        crash: int,
        new_poll: NewPoll = select.poll,
    ) -> None:
        """`crash` is the descriptor of the file into which the child writes where it crashed; it is ours to close."""
        super().__init__(process, channel, starts, now, new_poll)
        self._crash = crash
        self._waiting: tuple[Leased, Lease] | None = None
        self._given_back: list[Finished] = []
        self._store: str | None = None
        #: Why its parent killed it; empty: it did not.
        self._killed_since = ""

    def give(self, task: Leased, lease: Lease, store: str | None) -> None:
        """Let it run this task as soon as it can, if it uses that store."""
        self._waiting, self._store = (task, lease), store

    # ---- as every child, but for the task that waits

    @property
    def holds(self) -> int:
        return super().holds + (self._waiting is not None)

    def receive(self, now: float) -> list[Finished]:
        finished = [self._reported(one) for one in super().receive(now)]
        if self.condition is Condition.QUARANTINE:
            self._go_on(now)
        finished += self._given_back
        self._given_back = []
        return finished

    def withdraw(self, leased_before: float, now: float) -> None:
        """What waits here does so because its process starts, and not because others are before it: only a stop."""
        if leased_before == math.inf:
            self._give_back(INTERRUPTED, now)
            super().withdraw(leased_before, now)

    def cancel(self, ids: Collection[int]) -> None:
        if self._waiting is not None and self._waiting[0].id in ids:
            self._give_back(Cancelled(), -math.inf)
        super().cancel(ids)

    def kill(self) -> None:
        if self.process.poll() is None:
            late = "its task ran past its timeout" if self._late else "the worker stopped"
            self._killed_since = "it had closed its connection" if self.channel.closed else late
        super().kill()

    def bury(self, now: float, lost: Outcome = WORKER_DIED) -> list[Finished]:
        stack = self._crash_text()
        finished = [self._after_death(one, stack) for one in super().bury(now, lost)]
        if self._waiting is not None:
            finished.append(Finished(self._waiting[0], INTERRUPTED))
            self._waiting = None
        return finished

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "state": str(Condition.QUARANTINE)}

    # ---- inside

    def _introduce(self, hello: Mapping[str, Any]) -> None:
        super()._introduce(hello)
        if self.condition is Condition.RUNNING:  # it takes no other tasks
            self.condition = Condition.QUARANTINE

    def _go_on(self, now: float) -> None:
        if self._waiting is not None:
            (task, lease), self._waiting = self._waiting, None
            if self.hello["store"] == self._store:
                self.send([task], lease, now)
            else:
                other = "the application in quarantine uses another store; start this worker anew"
                self._given_back.append(Finished(task, Interrupted(after_s=OTHER_STORE_S, reason=other)))
        if not self.holds:
            self.retire("its task has ended", now)

    def _give_back(self, outcome: Outcome, now: float) -> None:
        if self._waiting is not None:
            self._given_back.append(Finished(self._waiting[0], outcome))
            self._waiting, self.kill_at = None, now
            self.stopping = True  # nobody needs it any more

    def _after_death(self, one: Finished, stack: str) -> Finished:
        if one.outcome is WORKER_DIED:
            how = self._how_it_ended()
            text = ErrorText(
                error_type="WorkerLost",
                message=f"The process {how}. Nothing but this task ran in it.",
                traceback=stack,
            )
            one = one._replace(
                outcome=Failed(error=text, reason="worker lost", detail=f"alone in quarantine, it {how}")
            )
        return self._reported(one)

    def _reported(self, one: Finished) -> Finished:
        """With a report, if it failed."""
        outcome = one.outcome
        if not isinstance(outcome, Failed) or outcome.error.report:
            return one
        error = replace(outcome.error, report=self._report(one))
        return one._replace(outcome=replace(outcome, error=error))

    def _report(self, one: Finished) -> str:
        dead = self.process.poll() is not None
        lines = [
            f"ran alone in process {self.pid} for {one.duration_us / 1e6:.3f} s, after {one.task.crashes} lost workers",
            f"the process {self._how_it_ended()}" if dead else "the process went on and reported the outcome",
            *self._usage_lines(),
        ]
        return "\n".join(lines)

    def _how_it_ended(self) -> str:
        how = how_it_ended(self.process.returncode)
        killed = self._killed_since and self.process.returncode == -signal.SIGKILL
        return f"{how}, by its parent, since {self._killed_since}" if killed else how

    def _usage_lines(self) -> list[str]:
        cap = self.hello.get("memory_cap")
        allowed = "no cap" if not cap else f"{megabytes(cap)} allowed beyond the application's own"
        usage: Usage | None = self.process.usage() if isinstance(self.process, MeasuredProcess) else None
        if usage is None:
            return [f"memory: {allowed}"]
        return [
            f"memory: {megabytes(usage.memory)} at most, {allowed}",
            f"processor time: {usage.user_s:.2f} s user, {usage.system_s:.2f} s system",
        ]

    def _crash_text(self) -> str:
        """Where it crashed, if that came so suddenly that the interpreter could only write it down."""
        with suppress(OSError):
            return cut(os.pread(self._crash, TRACEBACK_BYTES_MAX, 0).decode("utf-8", "replace"), TRACEBACK_BYTES_MAX)
        return ""

    def _close(self) -> None:
        super()._close()
        if self._crash >= 0:
            os.close(self._crash)
            self._crash = -1
