"""All planted bugs, by topic."""

from __future__ import annotations

from tests.planted import children, dispatching, leasing, limits, names, pushing, retrying, settling, stopping, sweeping
from tests.planted.bug import Bug

BY_TOPIC: dict[str, list[Bug]] = {
    "Taking, renewing and rescuing leases": leasing.BUGS,
    "Settling and giving back": settling.BUGS,
    "Names, tombstones and putting": names.BUGS,
    "Rates, and how many at a time": limits.BUGS,
    "Attempts, backoff and cancelling": retrying.BUGS,
    "Expiry and retention": sweeping.BUGS,
    "The dispatcher": dispatching.BUGS,
    "Coming to an end": stopping.BUGS,
    "Parent and children": children.BUGS,
    "Pushing": pushing.BUGS,
}
BUGS = [bug for bugs in BY_TOPIC.values() for bug in bugs]
