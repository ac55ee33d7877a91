"""Leasing and settling in one line, through the same `decide` that dispatchers use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from deferq.engines.base import LeasingEngine, Settlement, Turn, Want, new_lease_id
from deferq.model.outcome import ErrorText, Failed, Outcome, Parked, Succeeded
from deferq.model.task import Failure, Leased, NewTask
from deferq.model.transitions import decide
from tests.support.clock import US

_DISPATCHER = 7
_serials = count(1)


def want(
    free: int = 10,
    *,
    ahead: int = 0,
    queues: Sequence[str] | None = None,
    route: str | None = None,
    routes: tuple[str | None, ...] | None = None,
    rotation: int = 0,
    lease_s: float = 30.0,
    delivers: bool = False,
    pulls: bool = False,
) -> Want:
    """What a dispatcher asks for, with a lease id that nobody else has."""
    return Want(
        free=free,
        ahead=ahead,
        lease_id=new_lease_id(_DISPATCHER, next(_serials)),
        lease_us=round(lease_s * US),
        queues=None if queues is None else tuple(queues),
        routes=routes if route is None else (None, route),
        rotation=rotation,
        delivers=delivers,
        pulls=pulls,
    )


def lease(engine: LeasingEngine, free: int = 10, **options: object) -> list[Leased]:
    """Lease as a dispatcher with so many free slots would."""
    return engine.turn((), want(free, **options)).leased  # type: ignore[arg-type]


def lease_one(engine: LeasingEngine, **options: object) -> Leased:
    """Lease the next task; there must be one."""
    (leased,) = lease(engine, 1, **options)
    return leased


def settlement(
    engine: LeasingEngine,
    leased: Leased,
    outcome: Outcome,
    *,
    then: Iterable[NewTask] = (),
    duration_s: float = 0.0,
    jitter: float = 0.0,
) -> Settlement:
    """What a dispatcher makes of an outcome."""
    now = engine.now()
    return Settlement(
        task=leased,
        transition=decide(leased, outcome, leased.retry, now, jitter),
        duration_us=round(duration_s * US),
        result=outcome.result if isinstance(outcome, Succeeded) else None,
        failure=_failure(leased, outcome, now),
        then=tuple(then),
    )


def settle(engine: LeasingEngine, leased: Leased, outcome: Outcome, **options: object) -> Turn:
    """Settle one task in a turn that leases nothing."""
    return engine.turn([settlement(engine, leased, outcome, **options)], None)  # type: ignore[arg-type]


def settle_each(engine: LeasingEngine, leased: Iterable[Leased], outcome: Outcome) -> Turn:
    """Settle several tasks in one group."""
    return engine.turn([settlement(engine, task, outcome) for task in leased], None)


def bury_stalled(engine: LeasingEngine) -> list[Leased]:
    """Do what a dispatcher does about leases that are over; returns them."""
    stalled = engine.stalled()
    lost = ErrorText(error_type="WorkerLost", message="its lease ran out")
    settle_each(engine, stalled, Failed(error=lost, reason="worker lost"))
    return stalled


def _failure(leased: Leased, outcome: Outcome, now: int) -> Failure | None:
    match outcome:
        case Failed(error=error, reason=kind):
            pass
        case Parked(error=error):
            kind = "parked"
        case _:
            return None
    return Failure(
        attempt=leased.attempt,
        at=now,
        kind=kind,
        error_type=error.error_type,
        message=error.message,
        traceback=error.traceback,
        report=error.report,
    )
