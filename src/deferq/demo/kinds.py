"""Every kind of work the demo defers, how it must end, and what it is there to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deferq.app import Deferq
from deferq.demo import tasks
from deferq.demo.ledger import AGAIN, DONE, FAILED
from deferq.handles import TaskHandle
from deferq.model.state import State

BULK = "bulk"
BULK_TASKS_EACH = 1000
DELAY_S = 1.0

#: Defers what one request asks for; takes the order it is about.
View = Callable[[Deferq, int], list[TaskHandle]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of work."""

    name: str
    #: What the web application does when it is asked for it.
    view: View
    #: What a reader of the summary should know about it.
    shows: str
    #: How many different orders ask for it.
    orders: int = 5
    #: How often each of them asks.
    times: int = 1
    #: How many tasks one request makes.
    tasks_each: int = 1
    state: State = State.SUCCEEDED
    #: How the reason kept with the task begins; empty: it succeeded, and there is none to give.
    reason: str = ""
    attempts: int = 1
    #: Seconds that must have passed between the request and the task's end.
    after_s: float = 0.0
    #: What the task of an order must have returned; None: nobody asks.
    result: Callable[[int], object] | None = None
    #: What each task must have noted in the ledger, and how often.
    notes: Mapping[str, int] = field(default_factory=lambda: {DONE: 1})

    @property
    def expected(self) -> int:
        """How many tasks there will be: an order that asks twice gets one."""
        return self.orders * self.tasks_each

    @property
    def expected_notes(self) -> Counter[str]:
        """`notes` in the form in which the ledger is read."""
        return Counter(self.notes)


def plain(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.send_receipt, order)]


def delayed(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.call(tasks.send_reminder, order).defer(countdown=DELAY_S)]


def named(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.call(tasks.write_invoice, order).defer(name=f"invoice-{order}", if_exists="return")]


def retried(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.call_shaky_service, order)]


def dying(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.charge_closed_account, order)]


def spent(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.call_dead_service, order)]


def asks_again(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.wait_for_payment, order)]


def snoozes(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.wait_for_opening, order)]


def coroutine(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.ask_exchange_rate, order)]


def bound(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.Basket(order).pack, wrapping="gift")]


def registered(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.warehouse.restock, order)]


def class_method(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.defer(tasks.Basket.count_all, order)]


def cancelled(deferq: Deferq, order: int) -> list[TaskHandle]:
    handle = deferq.call(tasks.send_reminder, order).defer(countdown=3600)
    handle.cancel()
    return [handle]


def expired(deferq: Deferq, order: int) -> list[TaskHandle]:
    return [deferq.call(tasks.send_reminder, order).defer(countdown=DELAY_S, expires=DELAY_S / 2)]


def bulk(deferq: Deferq, order: int) -> list[TaskHandle]:
    first = order * BULK_TASKS_EACH
    return deferq.defer_many(deferq.call(tasks.resize_picture, first + number) for number in range(BULK_TASKS_EACH))


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="plain", view=plain, orders=20, result="receipt for order {}".format,
            shows="defer(fn, ...): the web answer does not wait; the result is kept",
        ),
        Kind(
            name="delayed", view=delayed, after_s=DELAY_S,
            shows=f"countdown={DELAY_S}: not before a second has passed",
        ),
        Kind(name="named", view=named, times=2, shows="asked for twice under one name, stored and run once"),
        Kind(name="async def", view=coroutine, shows="a coroutine runs on the worker's event loop"),
        Kind(name="bound method", view=bound, shows="the object travels along, pickled and signed"),
        Kind(name="registered", view=registered, shows="a method of a registered object: only its name travels"),
        Kind(name="class method", view=class_method, shows="found again as module:Class.method"),
        Kind(
            name="retried", view=retried, attempts=3, notes={FAILED: 2, DONE: 1},
            shows="fails twice, waits longer each time, then succeeds",
        ),
        Kind(
            name="RetryTask", view=asks_again, attempts=2, notes={AGAIN: 1, DONE: 1},
            shows="asks for another attempt, without a traceback",
        ),
        Kind(
            name="Snooze", view=snoozes, notes={AGAIN: 1, DONE: 1},
            shows="asks to be run later; that spends no attempt",
        ),
        Kind(
            name="dying", view=dying, state=State.DEAD, reason="permanent", notes={FAILED: 1},
            shows="PermanentTaskFailure: dead at once, kept to be looked at",
        ),
        Kind(
            name="spent", view=spent, state=State.DEAD, reason="attempts spent", attempts=3, notes={FAILED: 3},
            shows="fails three times, as often as its RetryPolicy allows",
        ),
        Kind(
            name="cancelled", view=cancelled, state=State.CANCELLED, reason="cancelled", attempts=0, notes={},
            shows="handle.cancel() before it was due: it never starts",
        ),
        Kind(
            name="expired", view=expired, state=State.CANCELLED, reason="expired", attempts=0, notes={},
            shows="expires=0.5, but due after a second: it never starts",
        ),
        Kind(
            name=BULK, view=bulk, tasks_each=BULK_TASKS_EACH,
            shows=f"defer_many: {BULK_TASKS_EACH:,} in each request, all of them or none",
        ),
    )
}  # fmt: skip
