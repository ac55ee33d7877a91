"""What a task does to the world outside the database, written down where the death of its process cannot reach it."""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from collections.abc import Callable
from typing import Any


class Effects:
    """A record of effects, for tests: mails sent, services called.

    Put it in the place of what has the effect, and hand it to `assert_idempotent(..., effects=mails)`:

        mails = Effects()
        monkeypatch.setattr(shop, "send_mail", mails.recorder("mail"))

    It lies in a file, so that what a process did before it was killed is known.

    Args:
        repeats: whether an effect may come more often than in an undisturbed run. None may be missing, whatever this
            says. False: to send a mail twice is a fault.
    """

    def __init__(self, *, repeats: bool = False) -> None:
        self.repeats = repeats
        descriptor, self._path = tempfile.mkstemp(prefix="deferq-effects-")
        os.close(descriptor)
        weakref.finalize(self, _remove, self._path, os.getpid())

    def note(self, effect: object, /) -> None:
        """Write down that it has happened."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, json.dumps(str(effect)).encode() + b"\n")
        finally:
            os.close(descriptor)

    def recorder(self, name: str, result: Any = None) -> Callable[..., Any]:
        """A function that notes each of its calls as `name(arguments)`, and returns `result`."""

        def record(*args: Any, **kwargs: Any) -> Any:
            shown = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
            self.note(f"{name}({', '.join(shown)})")
            return result

        return record

    def seen(self) -> list[str]:
        """What has happened, in that order."""
        with open(self._path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def clear(self) -> None:
        """Forget it."""
        os.truncate(self._path, 0)


def _remove(path: str, owner: int) -> None:
    if os.getpid() == owner and os.path.exists(path):  # a forked child has this object too
        os.unlink(path)
