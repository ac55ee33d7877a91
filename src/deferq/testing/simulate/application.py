"""The application whose tasks are simulated. Who has the stage says what each execution does."""

from __future__ import annotations

from collections.abc import Callable


def _nobody(number: int) -> object:
    raise RuntimeError("a simulated task was called outside a simulation")


_play: Callable[[int], object] = _nobody


def take_stage(play: Callable[[int], object]) -> None:
    """From now on tasks do what `play` says: it is called with the task's number, and returns or raises."""
    global _play
    _play = play


def work(number: int) -> object:
    """What a task calls."""
    return _play(number)
