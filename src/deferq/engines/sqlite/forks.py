"""What a fork must find, and a close: no connection in use.

SQLite keeps its file locks per process, in tables that a child inherits although the kernel gives it none of the locks.
As long as one inherited connection is open there, a new connection of the child believes to hold locks that it does not
have: others remove the log under its feet, and what it commits is lost. So the child closes its copies first. It can if
no thread was inside SQLite when it was forked; hence a fork waits for that, and whoever comes next waits for the fork.

Closing waits likewise: Python crashes if a connection is closed while another thread steps through a statement of it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

#: Longest time that a fork or a close waits; a signal handler that forks would wait for itself.
WAIT_S = 10.0
_STEP_S = 0.0005


class Uses:
    """How many threads of this process are inside SQLite, entered and left by `with`.

    Entering takes no lock, since every access does it: whoever enters signs in first and then looks at the door;
    whoever shuts the door shuts it first and then looks who has signed in. One of the two sees the other.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Nobody is inside: in a forked child there are no other threads."""
        self._inside: deque[None] = deque()
        self._shut = False
        #: Held while the door is shut.
        self._door = Lock()

    def __enter__(self) -> None:
        self._inside.append(None)
        while self._shut:
            self._inside.pop()
            with self._door:
                self._inside.append(None)

    def __exit__(self, *error: object) -> None:
        self._inside.pop()

    @property
    def none(self) -> bool:
        """Whether nobody is inside."""
        return not self._inside

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Be inside with nobody else; false if somebody would not leave."""
        self.before_fork()
        try:
            yield self.none
        finally:
            self.after_fork()

    def before_fork(self) -> None:
        """Let nobody in, and wait until all have left."""
        self._door.acquire()
        self._shut = True
        give_up = time.monotonic() + WAIT_S
        while self._inside and time.monotonic() < give_up:
            time.sleep(_STEP_S)

    def after_fork(self) -> None:
        """In the parent: let them in again."""
        self._shut = False
        self._door.release()


inside_sqlite = Uses()
os.register_at_fork(before=inside_sqlite.before_fork, after_in_parent=inside_sqlite.after_fork)
