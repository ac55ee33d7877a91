"""What is wrong with a queue.yaml, and where: all of it is gathered, and told at once."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from deferq.errors import QueueYamlError

#: So many are told; whoever makes more mends these first.
TOLD_MAX = 20
_SHOWN_MAX = 40


class Mark(Protocol):
    """A place as PyYAML has it, counted from 0."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


class Place(Protocol):
    """Whatever stands somewhere in the file."""

    @property
    def start_mark(self) -> Mark: ...


class Problem(NamedTuple):
    """One mistake, or one remark. Lines and columns (in characters) count from 1."""

    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.text}"


class Report:
    """Gathers what is wrong with one file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def wrong(self, place: Place, text: str) -> None:
        """What stands there is a mistake."""
        self.errors.append(_problem(place.start_mark, text))

    def remark(self, place: Place, text: str) -> None:
        """What stands there does not do what one may think."""
        self.warnings.append(_problem(place.start_mark, text))

    def check(self) -> None:
        """Raise QueueYamlError if anything is wrong."""
        if self.errors:
            raise mistakes(self.name, sorted(self.errors))


def mistakes(name: str, problems: list[Problem]) -> QueueYamlError:
    """The error that tells of all of them."""
    lines = [f"{name}:{problem}" for problem in problems[:TOLD_MAX]]
    if len(problems) > TOLD_MAX:
        lines.append(f"... and {len(problems) - TOLD_MAX} more.")
    return QueueYamlError("\n".join(lines), problems=tuple(problems))


def at_mark(name: str, mark: Mark, text: str) -> QueueYamlError:
    """The error for a mistake after which nothing more can be read."""
    return mistakes(name, [_problem(mark, text)])


def shown(text: str) -> str:
    """What stands in the file, shortened, and such that it commands no terminal."""
    return repr(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}...")


def _problem(mark: Mark, text: str) -> Problem:
    return Problem(mark.line + 1, mark.column + 1, text)
