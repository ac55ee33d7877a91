"""What a task can do to its process that makes the next ones fail, too.

Most of what a task changes in its process (directory, environment, patches) may be meant, and stays. This here is never
meant for others: a process in which it is found gets no more tasks, and another one takes its place.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

#: Limits that a task may set for itself, and forget.
_LIMITS = {
    resource.RLIMIT_AS: "memory",
    resource.RLIMIT_DATA: "memory",
    resource.RLIMIT_NOFILE: "open files",
    resource.RLIMIT_FSIZE: "the size of files",
    resource.RLIMIT_CPU: "processor time",
}


class Damage:
    """Compares this process with what it was when this was made."""

    def __init__(self) -> None:
        self._recursion = sys.getrecursionlimit()
        self._path = list(sys.path)
        self._limits = {limit: resource.getrlimit(limit)[0] for limit in _LIMITS}

    def at_a_glance(self) -> str:
        """What costs nothing to see; empty: all is well."""
        if sys.getrecursionlimit() < self._recursion:
            return "a task has lowered the recursion limit"
        if __name__ not in sys.modules:
            return "a task has emptied sys.modules"
        return ""

    def found(self) -> str:
        """A thorough look, once something has failed; empty: all is well."""
        return self.at_a_glance() or next(self._further(), "")

    def _further(self) -> Iterator[str]:
        if any(folder not in sys.path for folder in self._path):
            yield "a task has taken folders from sys.path"
        for limit, before in self._limits.items():
            if _is_lower(resource.getrlimit(limit)[0], before):
                yield f"a task has set a limit for {_LIMITS[limit]}"


def _is_lower(now: int, before: int) -> bool:
    return now != before and now != resource.RLIM_INFINITY and (before == resource.RLIM_INFINITY or now < before)
