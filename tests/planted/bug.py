"""What a planted bug is, and how it is planted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Bug(NamedTuple):
    """One small change of one file that breaks a promise."""

    #: What is wrong, as a sentence.
    name: str
    #: Below src/deferq.
    file: str
    #: Occurs exactly once in the file.
    old: str
    new: str
    #: On which engine the simulator is to notice it: "memory" or "sqlite".
    engine: str
    #: Within how many seeds, from 0 on.
    seeds: int
    #: Words of the violation; with " | " between them, any of these.
    shows: str
    #: Whether tasks run in child processes.
    children: bool = False
    #: Whether tasks are pushed to handlers.
    push: bool = False
    #: Whether `make test` tries it too.
    quick: bool = False

    @property
    def where(self) -> str:
        """The option of the simulator that says where tasks run."""
        return "--children" if self.children else "--push" if self.push else ""

    def is_shown_by(self, text: str) -> bool:
        """Whether a violation is the one that is expected."""
        return any(words in text for words in self.shows.split(" | "))


class CannotBePlanted(AssertionError):
    """The text of a bug is not in its file, or more than once: the code has changed, and the bug must be adapted."""


def plant(bug: Bug, package: Path) -> None:
    """Change the file in `package`, a copy of src/deferq."""
    path = package / bug.file
    text = path.read_text("utf-8")
    if (found := text.count(bug.old)) != 1:
        raise CannotBePlanted(f"{bug.file} has the text of {bug.name!r} {found} times, not once. Adapt the bug.")
    path.write_text(text.replace(bug.old, bug.new), "utf-8")
