"""What the demo says at its end."""

from __future__ import annotations

from pathlib import Path

from deferq.demo.accounts import Accounts, KindAccount
from deferq.demo.server import ShopServer
from deferq.demo.web import THREADS

DIFFERENCES_SHOWN = 20


def print_opening(server: ShopServer) -> None:
    """Where it happens."""
    print(f"demo: a web application with a worker beside it listens on {server.url}")
    print(f"demo: its store and its ledger are in {server.folder} until the demo ends", flush=True)


def print_summary(accounts: Accounts, seconds: float) -> None:
    """A table, what it means, and the last line."""
    print(table(accounts))
    print(
        f"""
{bulk_line(accounts)}
{accounts.failed_attempts} attempts failed on purpose. Their tracebacks are kept with the tasks and left out here;
anything else that went wrong would be written above.
"deferred" is what the web application answered over HTTP, "ended" is what the store says, and a ledger
that the tasks wrote themselves says the same.

The code you have just seen at work: {Path(__file__).parent} (begin with web.py and tasks.py)
More to run: the folder examples/ of the repository. More to read: its README.md and docs/.
{last_line(accounts, seconds)}""",
        flush=True,
    )


def table(accounts: Accounts) -> str:
    """A row for each kind."""
    rows = [("kind", "deferred", "ended", "what it shows")]
    rows += [_row(account) for account in accounts.kinds]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{kind:<{widths[0]}}  {deferred:>{widths[1]}}  {ended:<{widths[2]}}  {shows}"
        for kind, deferred, ended, shows in rows
    )


def _row(account: KindAccount) -> tuple[str, str, str, str]:
    endings = ", ".join(f"{count:,} {words}" for words, count in sorted(account.endings.items()))
    return account.kind.name, f"{len(account.deferred):,}", endings, account.kind.shows


def bulk_line(accounts: Accounts) -> str:
    """How fast the bulk part was."""
    bulk = accounts.bulk
    deferring, running = bulk.tasks / max(bulk.deferring_s, 1e-6), bulk.tasks / max(bulk.running_s, 1e-6)
    return (
        f"In bulk {bulk.tasks:,} tasks were accepted at {deferring:,.0f}/s by {bulk.requests} requests. From the first"
        f" one accepted to the last one\nended, {running:,.0f}/s were run by {THREADS} threads beside all the rest,"
        " with every commit synced to the disk."
    )


def last_line(accounts: Accounts, seconds: float) -> str:
    """For people and for scripts."""
    return f"demo: ok, {accounts.deferred} deferred, {accounts.accounted} accounted for, {seconds:.1f} s"


def print_differences(accounts: Accounts) -> None:
    """Which tasks, and what about them."""
    print(f"demo: {accounts.deferred} deferred, {accounts.accounted} accounted for, and these differences:")
    for line in accounts.differences[:DIFFERENCES_SHOWN]:
        print(f"  {line}")
    if len(accounts.differences) > DIFFERENCES_SHOWN:
        print(f"  and {len(accounts.differences) - DIFFERENCES_SHOWN} more")
    print("demo: failed", flush=True)


def print_missing(accounts: Accounts, seconds: float) -> None:
    """What has not ended in time."""
    print(f"demo: not everything ended within {seconds:.0f} s. Missing:")
    for account in accounts.kinds:
        alive = sum(not task.state.finished for task in account.tasks)
        unanswered = account.kind.expected - len(account.deferred)
        if alive or unanswered:
            print(f"  {account.kind.name}: {alive} tasks have not ended, {unanswered} were not deferred")


def print_stay(server: ShopServer) -> None:
    """The address, and how to stop."""
    print(f"demo: the web application and its worker stay: {server.url}")
    print("demo: Ctrl-C stops them and removes the folder", flush=True)
