"""What the application's new version has, and the old one does not: workers of the old version park its tasks."""

from __future__ import annotations

from deferq.testing.simulate import application


def new_work(number: int) -> object:
    """What a task of the new version calls."""
    return application.work(number)
