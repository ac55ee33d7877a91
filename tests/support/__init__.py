"""What tests of every level share: a clock that is told the time, and short ways to make, lease and settle tasks."""

from tests.support.clock import START, US, FakeClock
from tests.support.leases import bury_stalled, lease, lease_one, settle, settle_each, settlement, want
from tests.support.started import threads_named
from tests.support.tasks import TaskMaker
from tests.support.tiers import sized, tried

__all__ = [
    "START",
    "US",
    "FakeClock",
    "TaskMaker",
    "bury_stalled",
    "lease",
    "lease_one",
    "settle",
    "settle_each",
    "settlement",
    "sized",
    "threads_named",
    "tried",
    "want",
]
