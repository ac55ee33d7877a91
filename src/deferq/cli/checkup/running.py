"""The order of checks: from the machine inwards, as far as one gets. A check that fails says so, and others go on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from typing import NamedTuple

from deferq import stores
from deferq.app import Deferq
from deferq.cli.checkup import configured, inside, machine, place, tasks, work
from deferq.cli.checkup.finding import Case, Check, Finding, Level, note, right, wrong
from deferq.cli.snapshot import take
from deferq.codec.signing import Keyring
from deferq.config import Settings
from deferq.engines.sqlite.migrations import newest_version
from deferq.engines.sqlite.view import SqliteView
from deferq.errors import DeferqError, StoreError


class Checkup(NamedTuple):
    """What all checks came to."""

    findings: tuple[Finding, ...]
    #: The store, as an URL; empty: the settings do not even say which.
    store: str

    def of(self, level: Level) -> list[Finding]:
        """Findings of one level."""
        return [finding for finding in self.findings if finding.level is level]

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.of(Level.WRONG)


def check_up(settings: Settings, app: Deferq | None = None, *, deep: bool = False) -> Checkup:
    """Look at the machine, the settings and the store. Writes nothing, and raises nothing that a store can cause."""
    case = Case(settings=settings, app=app, deep=deep, environ=os.environ)
    with ExitStack() as stack:
        findings = (*_all(case, stack), *_not_made(case))
    url = "" if case.path is None else f"sqlite:///{case.path}"
    return Checkup(findings, url)


def _all(case: Case, stack: ExitStack) -> Iterator[Finding]:
    yield from _run((*machine.CHECKS, *configured.CHECKS), case)
    try:
        case.path = stores.store_path(case.settings)
    except DeferqError as error:
        yield wrong("settings", str(error), "Nothing can be deferred or run with such a setting.", "")
        return
    if case.path is None:
        yield note(
            "store",
            "The store lives in the memory of a process.",
            "Nobody else can look into it, and it is gone with the process.",
            "Use sqlite:///jobs.db for what shall last.",
        )
        return
    yield from _run((configured.durability, machine.room, *place.CHECKS), case)
    try:
        case.path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        yield _no_store(case)
        return
    except OSError:  # nothing more is to be seen from here
        yield from _run([place.file_kind], case)
        return
    yield from _run(place.CHECKS_OF_FILE, case)
    yield from _open(case, stack)
    if case.view is not None:
        yield from _run(inside.CHECKS, case)
    if case.seen is not None:
        yield from _run((*inside.CHECKS_OF_TIMES, *work.CHECKS, *tasks.CHECKS), case)


def _run(checks: Iterable[Check], case: Case) -> Iterator[Finding]:
    for check in checks:
        try:
            yield from check(case)
        except Exception as error:
            told = str(error) if isinstance(error, StoreError) else type(error).__name__
            case.failed.setdefault(told, []).append(check.__name__.strip("_").replace("_", " "))


def _not_made(case: Case) -> Iterator[Finding]:
    for told, names in case.failed.items():
        checks = f"The check '{names[0]}'" if len(names) == 1 else f"{len(names)} checks ({', '.join(names)})"
        yield wrong(
            "check-failed",
            f"{checks} could not be made: {told}",
            "What would have been found is not known.",
            "If the other findings do not explain it, report it: 'deferq report' gathers what belongs to it.",
        )


def _no_store(case: Case) -> Finding:
    origin = case.settings.values["url"].origin
    return wrong(
        "store",
        f"There is no store {case.path} (url: {origin}).",
        "Nothing has been deferred here yet, or this looks into the wrong place.",
        "Is this the right folder, or is --url missing? The first task and the first worker make the store.",
    )


def _open(case: Case, stack: ExitStack) -> Iterator[Finding]:
    """Open the file, and look into it if it is of this release's schema."""
    try:
        synchronous = stores.synchronous_of(case.settings)
        case.view = stack.enter_context(closing(SqliteView(case.file, synchronous=synchronous)))
        schema = int(case.view.info()["schema"])
    except Exception as error:
        told = str(error) if isinstance(error, StoreError) else f"It cannot be read: {type(error).__name__}."
        case.view = None
        yield wrong("store", told, "Nothing can be deferred or run.", "")
        return
    case.keyring = _keyring(case)
    yield _schema(schema, newest_version(), str(case.path))
    if schema == newest_version():
        yield from _run([_look_inside], case)


def _look_inside(case: Case) -> Iterator[Finding]:
    """Queues, tasks and workers, as `deferq status` sees them."""
    yield from ()
    case.seen = take(case.store)


def _schema(schema: int, newest: int, path: str) -> Finding:
    if schema == newest:
        return right("schema", f"the store has the schema of this release ({schema})")
    if schema > newest:
        return wrong(
            "schema",
            f"The store {path} has schema {schema}, and this deferq knows {newest}: a newer deferq has made it.",
            "This release can neither defer to it nor run its tasks. The tasks were not looked at.",
            "Upgrade deferq here.",
        )
    if schema == 0:
        return wrong(
            "schema",
            f"The file {path} holds no tables of deferq.",
            "It is empty, or another program's. The tables are made by the first task and the first worker.",
            "Is it the right file? Then defer a task or start a worker.",
        )
    return note(
        "schema",
        f"The store {path} has schema {schema}, and this deferq works with {newest}. The tasks were not looked at.",
        "The next worker or defer of this release upgrades it; older workers then stop.",
        "When all of them are stopped: deferq db upgrade",
    )


def _keyring(case: Case) -> Keyring | None:
    """What would verify the tasks of this store; no secret is made. `place.secret` says what is wrong with a file."""
    try:
        if case.settings["secrets"] is not None:
            return Keyring(case.settings["secrets"])
        return Keyring([stores.read_secret(stores.secret_path(case.file))])
    except DeferqError:
        return None
