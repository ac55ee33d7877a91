"""What is raised where a promise is broken."""

from __future__ import annotations


class Broken(AssertionError):
    """A promise was broken: which, in which world, what led there, and how to see it again."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.seed: int | None = None
        #: The last things that happened, a line each.
        self.history = ""
        #: The command line that replays it.
        self.replay = ""

    def __str__(self) -> str:
        first = self.message if self.seed is None else f"seed {self.seed}: {self.message}"
        return "\n".join(part for part in (first, self.history, self.replay) if part)
