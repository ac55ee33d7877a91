"""Who hears of events. What a listener does, or fails to do, never reaches the dispatcher."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from deferq.model.events import Event, EventName

#: Called with each event, in the dispatcher's thread; it must be quick. An attribute `names` (a set of EventName) says
#: which events it wants; without one it hears all.
Listener = Callable[[Event], object]

_log = logging.getLogger("deferq")


class Listeners:
    """The listeners of one worker."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = [(listener, _names(listener)) for listener in listeners]
        #: What anybody wants: other events need not be made at all.
        self.wanted: frozenset[EventName] = frozenset().union(*(names for _, names in self._listeners))

    def announce(self, event: Event) -> None:
        """Tell everybody who wants to know."""
        for listener, names in self._listeners:
            if event.name in names:
                _tell(listener, event)


def _names(listener: Listener) -> frozenset[EventName]:
    return frozenset(getattr(listener, "names", EventName))


def _tell(listener: Listener, event: Event) -> None:
    try:
        listener(event)
    except Exception:
        with suppress(Exception):  # logging may be broken too: a task has closed standard error, say
            _log.exception("a listener failed on %s; the worker goes on", event.name.value)
