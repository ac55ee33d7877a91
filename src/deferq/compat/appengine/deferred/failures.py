"""What a deferred callable raises to say how it failed."""

from __future__ import annotations

from deferq import errors as core


class Error(core.DeferqError):
    """Base of the errors of `deferred`."""


class PermanentTaskFailure(Error, core.PermanentTaskFailure):
    """Never again: the task is dead, and kept."""


class SingularTaskFailure(Error, core.RetryTask):
    """This attempt has failed, and the next may not: the task runs again, quietly."""

    def __init__(self, *args: object) -> None:
        """Takes anything: App Engine's has no fields either."""
        Exception.__init__(self, *args)
        self.after_s = None
        self.reason = " ".join(map(str, args))
