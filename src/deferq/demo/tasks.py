"""The tasks of the demo. They are stored by name, so they live in a module that any worker can import."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from deferq.current import current_task
from deferq.decorators import deferrable, register
from deferq.demo import ledger
from deferq.errors import PermanentTaskFailure, RetryTask, Snooze
from deferq.model.retry import RetryPolicy

#: Ends the message of every failure that belongs to the demo.
ON_PURPOSE = "(on purpose)"
SHORT_S = 0.2


class ServiceDown(Exception):
    """A service that the shop calls does not answer."""


def send_receipt(order: int) -> str:
    """The plainest task: a function of a module."""
    ledger.note(ledger.DONE)
    return f"receipt for order {order}"


def send_reminder(order: int) -> None:
    """Deferred with a countdown."""
    ledger.note(ledger.DONE)


def write_invoice(order: int) -> None:
    """Deferred under a name, so that no order gets two invoices."""
    ledger.note(ledger.DONE)


@deferrable(retry=RetryPolicy(max_attempts=5, min_backoff_s=0.1, max_backoff_s=0.5))
def call_shaky_service(order: int) -> None:
    """Fails twice and then succeeds."""
    if current_task().attempt < 3:
        ledger.note(ledger.FAILED)
        raise ServiceDown(f"no answer {ON_PURPOSE}")
    ledger.note(ledger.DONE)


@deferrable(retry=RetryPolicy(max_attempts=3, min_backoff_s=0.1, max_backoff_s=0.5))
def call_dead_service(order: int) -> None:
    """Fails as often as it may."""
    ledger.note(ledger.FAILED)
    raise ServiceDown(f"no answer {ON_PURPOSE}")


def charge_closed_account(order: int) -> None:
    """Knows that trying again cannot help."""
    ledger.note(ledger.FAILED)
    raise PermanentTaskFailure(f"the account is closed {ON_PURPOSE}")


def wait_for_payment(order: int) -> None:
    """Asks for another attempt, which counts as one."""
    if current_task().attempt == 1:
        ledger.note(ledger.AGAIN)
        raise RetryTask(after=SHORT_S)
    ledger.note(ledger.DONE)


def wait_for_opening(order: int) -> None:
    """Asks to be run later, which does not count as an attempt."""
    if not ledger.has_noted(ledger.AGAIN):
        ledger.note(ledger.AGAIN)
        raise Snooze(SHORT_S)
    ledger.note(ledger.DONE)


async def ask_exchange_rate(order: int) -> None:
    """A coroutine: it runs on the worker's event loop, beside a hundred others."""
    await asyncio.sleep(SHORT_S)
    ledger.note(ledger.DONE)


@dataclass
class Basket:
    """A small object that travels with its task, pickled."""

    order: int

    def pack(self, wrapping: str) -> None:
        """Deferred as a bound method."""
        ledger.note(ledger.DONE)

    @classmethod
    def count_all(cls, order: int) -> None:
        """Deferred as a class method."""
        ledger.note(ledger.DONE)


class Warehouse:
    """A long-lived object, registered by name; it never travels."""

    def restock(self, order: int) -> None:
        """Deferred as a method of a registered object."""
        ledger.note(ledger.DONE)


warehouse = Warehouse()
register("deferq.demo.warehouse", warehouse)


def resize_picture(number: int) -> None:
    """One of thousands."""
    ledger.note(ledger.DONE)
