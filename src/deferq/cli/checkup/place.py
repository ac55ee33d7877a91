"""The files of the store from outside: where they lie, whose they are, who may open them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from deferq import stores
from deferq.cli.checkup import mounts
from deferq.cli.checkup.finding import Case, Finding, note, right, wrong
from deferq.cli.checkup.machine import nearest_folder
from deferq.engines.sqlite import files
from deferq.errors import StoreError

_OPEN = "Whoever can read these files sees arguments and results; whoever can write them can have tasks run."


def file_kind(case: Case) -> Iterator[Finding]:
    """What deferq itself would refuse: a link, somebody else's file, a folder that everybody writes into."""
    try:
        files.check(case.file)
    except StoreError as error:
        yield wrong("store-file", str(error), "deferq refuses such a file, so nothing can be deferred or run.", "")
    else:
        yield right("store-file", f"{case.file} is a file of this user, in a folder that others cannot write into")


def modes(case: Case) -> Iterator[Finding]:
    """0600, and nothing else, for the database and what lies beside it."""
    parts = [case.file, *(_beside(case.file, end) for end in ("-wal", "-shm", "-gate"))]
    parts = [path for path in parts if os.path.exists(path)]
    open_ones = [path for path in parts if files.readable_by_others(path)]
    if open_ones:
        names = " ".join(f"'{path}'" for path in open_ones)
        yield wrong("modes", f"Other users may open {names}.", _OPEN, f"Run: chmod 600 {names}")
    else:
        yield right("modes", "only its owner may open the store (0600)")


def writable(case: Case) -> Iterator[Finding]:
    """Whether this user may write."""
    for path in (case.file, case.file.parent):
        if not os.access(path, os.W_OK):
            yield wrong(
                "writable",
                f"{path} may not be written by this user (uid {os.geteuid()}).",
                "Nothing can be deferred or run from here.",
                "Run deferq as the owner of the store, or mend owner and permissions; is the disk mounted read-only?",
            )
            return
    yield right("writable", "this user may write the store")


def secret(case: Case) -> Iterator[Finding]:
    """The file that signs payloads, where the settings have no secrets."""
    if case.settings["secrets"] is not None:
        yield right("secret", f"payloads are signed with the setting `secrets` ({_number(case)} set)")
        return
    path = stores.secret_path(case.file)
    if not os.path.lexists(path):
        yield wrong(
            "secret",
            f"The secret {path} is gone, and the settings have no `secrets`.",
            "Tasks that were signed with it wait and cannot be run; a new one would not fit them.",
            "Restore it from a backup. If the application configures its secrets in code, name it: deferq doctor APP.",
        )
        return
    try:
        stores.read_secret(path)
    except StoreError as error:
        yield wrong("secret", str(error), "deferq refuses it, so nothing can be deferred or run.", "")
    else:
        yield right("secret", "the secret beside the store is whole, and nobody else can read it")


def _number(case: Case) -> int:
    return len(case.settings["secrets"])


def network(case: Case) -> Iterator[Finding]:
    """SQLite's locks need one machine."""
    folder = nearest_folder(case.file)
    kind = mounts.file_system(folder.resolve(), mounts.read_mounts())
    if kind in mounts.NETWORK:
        yield wrong(
            "file-system",
            f"The store lies on a network file system ({kind}).",
            "SQLite's log and locks need the shared memory of one machine: on such a file system they can fail without"
            " a word, and damage the file.",
            "Move it to a disk of this machine. All workers of an SQLite store run on one machine.",
        )
    elif kind in mounts.PASSING:
        yield note(
            "file-system",
            f"The store lies on {kind}.",
            f"It goes with {mounts.PASSING[kind]}, and so do the tasks in it.",
            "Put it on a disk or a volume that stays, unless that is what you want.",
        )
    else:
        yield right("file-system", f"the store lies on {kind or 'a file system that the kernel does not name'}")


def bells(case: Case) -> Iterator[Finding]:
    """The folder through which processes wake each other."""
    folder = _beside(case.file, "-bells")
    try:
        mode = folder.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISDIR(mode) or mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield wrong(
            "bells",
            f"{folder} is no folder, or others may write into it.",
            "Through it the processes of a store wake each other; somebody else could keep workers from waking.",
            f"Stop the workers and remove it; they make it anew: rm -r '{folder}'",
        )
    else:
        yield right("bells", "only its owner rings the bells of the store")


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


#: Of a store that may not be there yet.
CHECKS = (network,)
#: Of one that is there.
CHECKS_OF_FILE = (file_kind, modes, writable, secret, bells)
