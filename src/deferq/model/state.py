"""The five states of a stored task."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where a stored task stands. Ready, scheduled, retrying and stalled are readings of the clock, not states."""

    #: Waits for its `leasable_at`; a lease, an expiry or a cancellation moves it on.
    PENDING = 0
    #: A worker holds it until `leasable_at`; its settlement, or the end of the lease, moves it on.
    LEASED = 1
    #: It returned. Stays for the retention of succeeded tasks.
    SUCCEEDED = 2
    #: It ended badly. Stays for the retention of dead tasks; `requeue` makes it pending.
    DEAD = 3
    #: It was cancelled, replaced or expired. Stays like a succeeded one; `requeue` makes it pending.
    CANCELLED = 4

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to the task by itself."""
        return self >= State.SUCCEEDED
