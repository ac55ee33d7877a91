"""Which keywords of `defer` are for the queue, and which for the callable."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from deferq.signatures import shape_of
from deferq.suggest import did_you_mean

#: Those that go to the task as they are, without the underscore.
_OF_THE_TASK: Final = ("countdown", "eta", "name", "target", "retry_options")
OPTIONS: Final = (*(f"_{name}" for name in _OF_THE_TASK), "_url", "_transactional", "_headers", "_queue")
#: How like an option a keyword must be that a callable takes only because it takes any.
_NEAR = 0.8


class Keywords(NamedTuple):
    """The keywords of one call."""

    #: For `taskqueue.Task`.
    task: dict[str, Any]
    #: None: not given.
    url: str | None
    headers: Mapping[str, Any]
    queue: str | None
    #: None: not given.
    transactional: bool | None
    #: For the callable.
    own: dict[str, Any]


def sorted_out(fn: Any, given: Mapping[str, Any], default_url: str) -> Keywords:
    """The keywords of `defer(fn, **given)`. Raises TypeError for an option that is misspelt."""
    own = {name: value for name, value in given.items() if name not in OPTIONS}
    for name in own:
        if name.startswith("_"):
            _check(fn, name)
    return Keywords(
        task={name: given.get(f"_{name}") for name in _OF_THE_TASK},
        url=given.get("_url", default_url),
        headers=given.get("_headers") or {},
        queue=given.get("_queue"),
        transactional=bool(given["_transactional"]) if given.get("_transactional") is not None else None,
        own=own,
    )


def _check(fn: Any, name: str) -> None:
    """An underscore that the callable has no parameter for was meant for us."""
    shape = shape_of(fn) if callable(fn) else None
    if shape is not None and name in shape.signature.parameters:
        return
    takes_any = shape is None or shape.keywords is None
    if takes_any and not get_close_matches(name, OPTIONS, 1, _NEAR):
        return
    hint = did_you_mean(name, OPTIONS, otherwise=f" There are: {', '.join(OPTIONS)}.")
    raise TypeError(f"defer() has no option {name!r}, and the callable has no parameter of that name.{hint}")
