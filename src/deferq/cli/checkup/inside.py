"""The file from inside: its schema, its length, its pages, its log, its clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from deferq.cli.checkup.finding import Case, Finding, note, right, wrong
from deferq.cli.output import number, plural, size
from deferq.cli.times import US, duration
from deferq.engines.base import COUNT_CAP
from deferq.engines.sqlite import readers
from deferq.engines.sqlite.view import Later
from deferq.errors import StoreCorrupt

#: Usually the log stays below a quarter of this.
LOG_BYTES_MAX = 64 * 1024 * 1024
#: A large payload may make it so much longer for a while.
LOG_BYTES_FAR_MAX = 4 * LOG_BYTES_MAX
#: Checked for damage without being asked to.
QUICK_BYTES_MAX = 1024 * 1024 * 1024
#: A reader that is there in each of so many looks keeps the log from being started over.
LOOKS, BETWEEN_LOOKS_S = 5, 0.1
#: Clocks of one machine differ by nothing; this is for those who were asked a moment later.
TOLERANCE_US = 5 * US
#: No lease is longer, and hardly a task is due later than this.
LEASE_MAX_US, DUE_MAX_US = 3600 * US, 366 * 86_400 * US
_RESTORE = "Stop the workers, keep a copy of the file, and restore it from a backup."


def length(case: Case) -> Iterator[Finding]:
    """Nothing in a log explains a file that is too short."""
    try:
        case.store.check_length()
    except StoreCorrupt as error:
        yield wrong("truncated", str(error), "Tasks are missing, and nothing can be stored.", _RESTORE)
    else:
        yield right("length", "the file is as long as its header says")


def integrity(case: Case) -> Iterator[Finding]:
    """SQLite's own check."""
    if not case.deep and int(case.store.info()["bytes"]) > QUICK_BYTES_MAX:
        yield note(
            "integrity",
            f"The file is larger than {size(QUICK_BYTES_MAX)}, and was not checked for damage.",
            "Reading all of it takes long.",
            "deferq doctor --deep",
        )
        return
    problems = case.store.check(full=case.deep)
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        yield wrong(
            "integrity",
            f"SQLite finds the file damaged: {problems[0].splitlines()[-1]}{more}.",
            "Tasks may be missing, and what is stored from now on may be lost.",
            _RESTORE,
        )
    elif case.deep:
        yield right("integrity", "SQLite finds the file sound, each index compared with its table")
    else:
        yield right("integrity", "SQLite finds the file sound (--deep compares indexes with their tables, too)")


def journal(case: Case) -> Iterator[Finding]:
    """The write-ahead log: that there is one, and that it is started over."""
    info = case.store.info()
    mode, log = info["journal_mode"], int(info["wal_bytes"])
    if mode != "wal":
        yield note(
            "journal",
            f"The file is in journal mode {mode}.",
            "Readers and writers keep each other out; somebody has changed it.",
            "The next worker or defer sets it to wal.",
        )
    elif log <= LOG_BYTES_MAX:
        yield right("log", f"the log is started over as it should be ({size(log)})")
    else:
        yield _large_log(case, log)


def _large_log(case: Case, log: int) -> Finding:
    names = ", ".join(readers.holders(case.file, LOOKS, lambda: time.sleep(BETWEEN_LOOKS_S)))
    do = "Find the program that keeps a transaction open on the file (a shell, a backup, a notebook) and end it."
    tell = wrong if names or log > LOG_BYTES_FAR_MAX else note
    return tell(
        "log",
        f"The log of the store is {size(log)}, and is not started over"
        + (f"; a read transaction is kept open by {names}." if names else "."),
        "While somebody reads from an old state, the log cannot be started over, and grows until the disk is full.",
        f"End {names}, or its transaction." if names else do,
    )


# ---- clocks


def clock(case: Case) -> Iterator[Finding]:
    """Times in the store that have not come yet: a clock ran ahead, or this one was set back."""
    view, now = case.store, case.store.now()
    odd = [*_from_the_future(case, now)]
    leases = view.leased_far_ahead(now + LEASE_MAX_US)
    if leases.number:
        odd.append(f"{_tasks(leases)} leased for more than an hour from now")
    if odd:
        yield wrong(
            "clock",
            f"The clock of this machine stands behind the store: {'; '.join(odd)}.",
            "A clock ran ahead when these were stored, or this one was set back. What is due by that clock waits until"
            " this one has caught up, and leases last as long.",
            "Let the clock be kept by NTP ('timedatectl' shows it). 'deferq tasks now ID' makes pending tasks due.",
        )
    else:
        yield right("clock", "nothing in the store bears a time that has not come yet")
    far = view.due_far_ahead(now + DUE_MAX_US)
    if far.number and far.last is not None:
        yield note(
            "far-eta",
            f"{_tasks(far)} due in more than a year, the last in {duration((far.last - now) / US)}.",
            "Few mean that: a countdown in milliseconds, or a wrong year, looks like this.",
            "'deferq tasks ls --state pending' shows them; 'deferq tasks cancel ID' ends them.",
        )


def _from_the_future(case: Case, now: int) -> Iterator[str]:
    view, soon = case.store, now + TOLERANCE_US
    made, settled = view.made_later(soon), view.totals_later(soon)
    if made.number:
        yield f"{_tasks(made)} deferred up to {_ahead(made, now)} from now"
    if settled.number:
        yield f"attempts ended up to {_ahead(settled, now)} from now"
    for worker in case.sight.workers:
        if worker.started is not None and worker.started > soon:
            yield f"worker {worker.key} started {duration((worker.started - now) / US)} from now"
    with suppress(OSError):
        changed = int(case.file.stat().st_mtime * US)
        if changed > soon:
            yield f"the file was changed {duration((changed - now) / US)} from now"


def _ahead(later: Later, now: int) -> str:
    return duration(((later.last or now) - now) / US)


def _tasks(later: Later) -> str:
    return plural(later.number, "task") if later.number < COUNT_CAP else f"{number(later.number, COUNT_CAP)} tasks"


CHECKS = (length, integrity, journal)
CHECKS_OF_TIMES = (clock,)
