"""A newsletter: whoever subscribes gets a welcome, a reminder after three days, and each issue in its turn.

Its tests need no worker, no store and no waiting: python -m pytest examples/newsletter
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

import deferq
from deferq import PermanentTaskFailure, Queue, RetryPolicy, Snooze, call, call_deferred, defer, defer_many, deferrable

deferq.configure(queues={"mail": Queue(rate="20/s"), "pages": Queue()})


class MailboxGone(Exception):
    """The address does not exist any more."""


class ServerBusy(Exception):
    """Try again later."""


class Outbox:
    """Stands for a mail server."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def deliver(self, address: str, text: str) -> None:
        self.sent.append((address, text))


@dataclass
class Issue:
    title: str
    link: str
    approved: bool = False


outbox = Outbox()
subscribers: dict[str, bool] = {}
issues: dict[int, Issue] = {}
previews: dict[int, str] = {}


# ---- what the web application calls


def subscribe(address: str) -> None:
    """Subscribing twice, by a double click say, sends one welcome."""
    subscribers[address] = False
    once = f"welcome-{sha256(address.encode()).hexdigest()}"
    call(send, address, "Welcome! Please confirm.").defer(name=once, if_exists="return")
    call(remind, address).defer(countdown=timedelta(days=3))


def confirm(address: str) -> None:
    subscribers[address] = True


def publish(number: int) -> int:
    """Send an issue to everybody; returns to how many."""
    make_preview(number)
    confirmed = sorted(address for address, yes in subscribers.items() if yes)
    defer_many(call(send_issue, number, address) for address in confirmed)
    return len(confirmed)


# ---- tasks


@deferrable(queue="mail", retry=RetryPolicy(max_attempts=4, min_backoff_s=60, jitter=False))
def send(address: str, text: str) -> None:
    try:
        outbox.deliver(address, text)
    except MailboxGone as error:
        subscribers.pop(address, None)
        raise PermanentTaskFailure(f"{address} is gone") from error


def remind(address: str) -> None:
    if subscribers.get(address) is False:
        defer(send, address, "You have not confirmed yet.")


@deferrable(queue="mail")
def send_issue(number: int, address: str) -> None:
    issue = issues[number]
    if not issue.approved:
        raise Snooze(3600, reason="not approved")
    outbox.deliver(address, f"{issue.title} {issue.link}")


@call_deferred(queue="pages")
async def make_preview(number: int) -> None:
    previews[number] = await fetch_title(issues[number].link)


async def fetch_title(link: str) -> str:
    """Stands for a request over the network."""
    return f"Preview of {link}"
