"""What may stand on the disk after a power cut.

What was synced is there. Of what was not, each write is there, or not, or in some of its sectors; a sector that was
being written may hold anything where it was written, and what stands beside is untouched (SQLite relies on that, and
calls it powersafe overwrite). A file has its old length or its new one, whatever became of the bytes. A name that was
made or removed is there, or not, until its folder is synced.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.power.recording import Cut, Event, FolderSynced, Made, Removed, Synced, Written

SECTORS = (512, 4096)
#: The files of an image by name.
Image = dict[str, bytes]
Change = Written | Cut


class Disk:
    """What is safe, and what is under way, at one moment of a recording."""

    def __init__(self, before: Image | None = None) -> None:
        """`before` is what stood there when the recording began."""
        files = list(enumerate((before or {}).items(), start=1))
        self.names = {name: file for file, (name, _) in files}
        self.contents: dict[int, bytearray] = defaultdict(bytearray)
        self.contents.update((file, bytearray(content)) for file, (_, content) in files)
        #: Under way, in order.
        self.changes: dict[int, list[Change]] = defaultdict(list)
        self.moves: list[Made | Removed] = []

    def go_on(self, events: Iterable[Event]) -> None:
        """Let these happen."""
        for event in events:
            match event:
                case Made() | Removed():
                    self.moves.append(event)
                case Written(file=file) | Cut(file=file):
                    self.changes[file].append(event)
                case Synced(file=file):
                    for change in self.changes.pop(file, ()):
                        apply(self.contents[file], change)
                case FolderSynced():
                    self.names = moved(self.names, self.moves)
                    self.moves = []

    def image(self, fate: Fate) -> Image:
        """What stands on the disk if things go that way."""
        names = moved(self.names, [move for move in self.moves if fate.happens(move)])
        return {name: self._content(file, fate) for name, file in names.items()}

    def _content(self, file: int, fate: Fate) -> bytes:
        content = bytearray(self.contents[file])
        for change in self.changes.get(file, ()):
            for part in fate.of(change):
                apply(content, part)
        return bytes(content)


def apply(content: bytearray, change: Change) -> None:
    """Do to `content` what was done to the file."""
    match change:
        case Cut(size=size):
            del content[size:]
            content.extend(bytes(size - len(content)))
        case Written(at=at, data=data):
            if at > len(content):
                content.extend(bytes(at - len(content)))
            content[at : at + len(data)] = data


def moved(names: dict[str, int], moves: Iterable[Made | Removed]) -> dict[str, int]:
    """The names after these moves."""
    names = dict(names)
    for move in moves:
        if isinstance(move, Made):
            names[move.name] = move.file
        else:
            names.pop(move.name, None)
    return names


def write(path: Path, data: bytes) -> None:
    """A file that only its owner may read."""
    with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)


# ---- what becomes of each thing that was under way


@dataclass
class Fate:
    """One way in which it may go."""

    how: str
    random: Random
    #: Whether this one happens at all.
    happens: Callable[[Event], bool]
    #: Of a write that does not: whether the file has grown all the same.
    grows: bool = False
    #: How a write that happens is torn: sectors of this size; 0: not at all.
    sector: int = 0
    #: The share of torn sectors that hold garbage instead of what was there before.
    garbage: float = 0.0

    def of(self, change: Change) -> Iterable[Change]:
        """What is left of a change."""
        if isinstance(change, Cut):
            return [change] if self.happens(change) else []
        if not self.happens(change):
            return [self._length_of(change)] if self.grows else []
        return self._torn(change) if self.sector else [change]

    def _length_of(self, change: Written) -> Change:
        return Written(change.file, change.at + len(change.data), b"")

    def _torn(self, change: Written) -> Iterable[Change]:
        """Some of its sectors."""
        start, end = change.at, change.at + len(change.data)
        while start < end:
            stop = min(end, start - start % self.sector + self.sector)
            if self.random.random() < 0.5:
                yield Written(change.file, start, change.data[start - change.at : stop - change.at])
            elif self.random.random() < self.garbage:
                yield Written(change.file, start, self.random.randbytes(stop - start))
            start = stop
        if self.grows:
            yield self._length_of(change)


def fate(random: Random, disk: Disk) -> Fate:
    """Any way in which it may go, each kind about as often."""
    how = random.choice(KINDS)
    return how(random, disk)


def nothing(random: Random, disk: Disk) -> Fate:
    """All of it is lost."""
    return Fate("nothing", random, lambda event: False)


def everything(random: Random, disk: Disk) -> Fate:
    """All of it is there, as after a kill; only what processes share in memory is gone."""
    return Fate("everything", random, lambda event: True)


def lengths(random: Random, disk: Disk) -> Fate:
    """The files have grown, and what was written is not there."""
    return Fate("lengths", random, lambda event: not isinstance(event, Written), grows=True)


def in_order(random: Random, disk: Disk) -> Fate:
    """The first so many, file by file."""
    under_way: list[Sequence[Event]] = [*disk.changes.values(), disk.moves]
    kept = {id(event) for events in under_way for event in events[: random.randint(0, len(events))]}
    return Fate("in order", random, lambda event: id(event) in kept, random.random() < 0.5)


def some(random: Random, disk: Disk) -> Fate:
    """Any of them, in any order."""
    share = random.choice((0.1, 0.5, 0.9))
    kept = {id(event) for event in _under_way(disk) if random.random() < share}
    return Fate("some", random, lambda event: id(event) in kept, random.random() < 0.5)


def whole_files(random: Random, disk: Disk) -> Fate:
    """All that was done to some files, and nothing that was done to others."""
    kept = {file for file in disk.changes if random.random() < 0.5}
    names = random.random() < 0.5
    return Fate(
        "whole files",
        random,
        lambda event: names if isinstance(event, Made | Removed) else getattr(event, "file", None) in kept,
    )


def the_last(random: Random, disk: Disk) -> Fate:
    """The latest of each file without those before."""
    kept = {id(change) for changes in disk.changes.values() for change in changes[-random.randint(1, 3) :]}
    kept.update(map(id, disk.moves[-random.randint(1, 2) :]))
    return Fate("the last", random, lambda event: id(event) in kept, random.random() < 0.5)


def torn(random: Random, disk: Disk) -> Fate:
    """Every write in some of its sectors."""
    names = {id(move) for move in disk.moves if random.random() < 0.5}
    return Fate(
        "torn",
        random,
        lambda event: id(event) in names if isinstance(event, Made | Removed) else True,
        random.random() < 0.5,
        random.choice(SECTORS),
        random.choice((0.0, 0.0, 0.2)),
    )


KINDS: tuple[Callable[[Random, Disk], Fate], ...] = (
    nothing,
    everything,
    lengths,
    in_order,
    some,
    whole_files,
    the_last,
    torn,
    torn,
)


def _under_way(disk: Disk) -> Iterable[Event]:
    for changes in disk.changes.values():
        yield from changes
    yield from disk.moves
