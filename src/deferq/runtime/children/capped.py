"""A cap on the memory of this process, and an executor that runs tasks under it.

What is capped is data (RLIMIT_DATA: the heap and every private mapping that can be written), and not address space
(RLIMIT_AS), of which some programs reserve far more than they use. Memory shared with other processes is not counted.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from deferq.codec.codec import Codec, Invocation
from deferq.current import CurrentTask
from deferq.model.outcome import Cancelled, Failed, Outcome, Parked
from deferq.model.task import Leased
from deferq.runtime.children.ending import own_memory
from deferq.runtime.errortext import describe
from deferq.runtime.executor import Awaiting, Executor

#: Where a system that does not tell how much memory it has is taken to have 2 GiB.
UNKNOWN = 2 * 1024**3


def default_cap() -> int:
    """Half of the memory that this process may have at all, in bytes."""
    return min([_installed(), *allowed_by_groups()]) // 2


def _installed() -> int:
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return UNKNOWN


def allowed_by_groups(ours: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """What a container, or the service manager, allows: the limits of our control group and of those above it."""
    with suppress(OSError, UnicodeDecodeError):
        names = [line[3:].strip("/") for line in ours.read_text().splitlines() if line.startswith("0::")]
        group = root / (names[0] if names else "")
        for folder in (group, *group.parents):
            for name in ("memory.max", "memory/memory.limit_in_bytes"):
                with suppress(OSError, ValueError):
                    yield int((folder / name).read_text())
            if folder == root:
                return


class MemoryCap:
    """What this process may take beyond what it has when the cap is imposed. Lifted, it is as it was before."""

    def __init__(self, size: int) -> None:
        """`size` is in bytes. Nothing is capped yet."""
        self._before = resource.getrlimit(resource.RLIMIT_DATA)
        most = own_memory() + size
        self._capped = (
            min([most, *(limit for limit in self._before if limit != resource.RLIM_INFINITY)]),
            self._before[1],
        )

    def impose(self) -> None:
        """From now on."""
        resource.setrlimit(resource.RLIMIT_DATA, self._capped)

    def lift(self) -> None:
        """Not any more. Needs next to no memory itself."""
        resource.setrlimit(resource.RLIMIT_DATA, self._before)


class CappedExecutor(Executor):
    """Runs a task under a cap, which is lifted to describe what it raised, and to report how it ended.

    Both take memory too, and a task that ended well may have kept all there was. Its parent would wait for ever for a
    process that cannot say so.
    """

    __slots__ = ("_cap",)

    def __init__(self, codec: Codec, cap: MemoryCap, **clocks: Any) -> None:
        """`clocks` as for every executor."""
        super().__init__(codec, **clocks)
        self._cap = cap

    def prepare(self, task: Leased) -> Invocation | Failed | Cancelled | Parked:
        try:
            return super().prepare(task)
        except MemoryError as error:
            return self._out_of_memory(error)

    def call(self, invocation: Invocation, current: CurrentTask) -> Outcome | Awaiting:
        outcome = super().call(invocation, current)
        if not isinstance(outcome, Awaiting):
            self._cap.lift()
        return outcome

    async def finish(self, awaitable: Awaitable[Any], current: CurrentTask) -> Outcome:
        outcome = await super().finish(awaitable, current)
        self._cap.lift()
        return outcome

    def _raised(self, error: BaseException) -> Outcome:
        self._cap.lift()
        return super()._raised(error)

    def _seal(self, value: object, current: CurrentTask) -> Outcome:
        try:
            return super()._seal(value, current)
        except MemoryError as error:  # not even the refusal could be described, and the work is done all the same
            return replace(self._out_of_memory(error), permanent=True, reason="result cannot be stored")

    def _out_of_memory(self, error: MemoryError) -> Failed:
        self._cap.lift()
        return Failed(error=describe(error, __file__))
