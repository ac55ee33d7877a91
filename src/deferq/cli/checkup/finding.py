"""What a check finds, and what it is given to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from deferq.app import Deferq
from deferq.cli.snapshot import Snapshot
from deferq.codec.signing import Keyring
from deferq.config import Settings
from deferq.engines.sqlite.view import SqliteView


class Level(StrEnum):
    """How bad it is."""

    #: All is well.
    RIGHT = "right"
    #: Worth a look; the exit code stays 0.
    NOTE = "note"
    #: Somebody has to do something.
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    #: For programs; it does not change.
    code: str
    level: Level
    #: What there is.
    text: str
    #: Why that matters; empty where all is well.
    why: str = ""
    #: What to do about it.
    do: str = ""
    queue: str | None = None
    #: The key of a worker's record.
    worker: str | None = None


def right(code: str, text: str) -> Finding:
    """All is well."""
    return Finding(code=code, level=Level.RIGHT, text=text)


def note(code: str, text: str, why: str, do: str, *, queue: str | None = None) -> Finding:
    """Worth a look."""
    return Finding(code=code, level=Level.NOTE, text=text, why=why, do=do, queue=queue)


def wrong(code: str, text: str, why: str, do: str, *, queue: str | None = None) -> Finding:
    """Somebody has to do something."""
    return Finding(code=code, level=Level.WRONG, text=text, why=why, do=do, queue=queue)


@dataclass(slots=True, kw_only=True)
class Case:
    """What the checks look at. Nothing of it is ever written to."""

    settings: Settings
    #: The file of the store; None: it is in no file.
    path: Path | None = None
    #: The application, if one was named.
    app: Deferq | None = None
    #: Whether the whole file is compared, and not the quickest part alone.
    deep: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    #: The open file, once it could be opened and is of this release's schema.
    view: SqliteView | None = None
    seen: Snapshot | None = None
    #: What verifies the payloads; None: there is no secret here.
    keyring: Keyring | None = None
    #: Checks that could not be made, by why not.
    failed: dict[str, list[str]] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The file of a store that is in one."""
        assert self.path is not None
        return self.path

    @property
    def store(self) -> SqliteView:
        """The file of a store that could be opened."""
        assert self.view is not None
        return self.view

    @property
    def sight(self) -> Snapshot:
        """What the store says of its queues and workers."""
        assert self.seen is not None
        return self.seen


Check = Callable[[Case], Iterator[Finding]]
