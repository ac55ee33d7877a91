"""How long the simulated janitor keeps what has ended: short, so that it purges while much still happens."""

from __future__ import annotations

from deferq.engines.base import Retention
from deferq.model.state import State
from deferq.testing.simulate.clock import US

RETENTION = Retention(succeeded_s=10.0, succeeded_max=1000, cancelled_s=10.0, dead_s=15.0)
#: The same in microseconds, by state; what has not ended is not purged.
KEPT_US = {
    State.PENDING: 10**18,
    State.LEASED: 10**18,
    State.SUCCEEDED: int(RETENTION.succeeded_s * US),
    State.DEAD: int(RETENTION.dead_s * US),
    State.CANCELLED: int(RETENTION.cancelled_s * US),
}
