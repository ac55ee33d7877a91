"""`deferq status --watch`: the page again and again, through outages of the store, until Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deferq.cli.arguments import EXIT_OK
from deferq.cli.document import document
from deferq.cli.output import number, print_json, printable
from deferq.cli.page import Line, Style, labelled, page, per_s
from deferq.cli.screen import print_page, redrawing, size
from deferq.cli.snapshot import Snapshot, take
from deferq.cli.times import duration, utc
from deferq.cli.warning import Warned, waited, warnings_of
from deferq.engines.base import LeasingEngine, system_clock
from deferq.errors import StoreError


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the store came to."""

    seen: Snapshot | None
    warnings: Sequence[Warned]
    #: Why there is nothing new: then `seen` is what was seen last.
    trouble: str = ""


class Watcher:
    """Looks at a store, and remembers what it saw last."""

    def __init__(self, engine: LeasingEngine) -> None:
        self._engine = engine
        self._last: Snapshot | None = None

    def look(self) -> Look:
        """Never raises for a store that is out of reach."""
        try:
            self._last = take(self._engine)
        except StoreError as error:
            return Look(self._last, (), str(error))
        return Look(self._last, warnings_of(self._last))


def watch(engine: LeasingEngine, every_s: float, *, as_json: bool, pause: Callable[[float], object]) -> int:
    """Show what there is every so many seconds, until Ctrl-C."""
    watcher = Watcher(engine)
    try:
        if as_json or not sys.stdout.isatty():
            _line_by_line(watcher, every_s, as_json, pause)
        else:
            _in_place(watcher, every_s, pause)
    except KeyboardInterrupt:
        pass
    return EXIT_OK


def _line_by_line(watcher: Watcher, every_s: float, as_json: bool, pause: Callable[[float], object]) -> None:
    while True:
        look = watcher.look()
        if as_json:
            print_json(_document(look), indent=None)
        else:
            print(one_line(look))
        sys.stdout.flush()
        pause(every_s)


def _in_place(watcher: Watcher, every_s: float, pause: Callable[[float], object]) -> None:
    """The last page stays on the terminal."""
    look = watcher.look()
    try:
        with redrawing() as show:
            while True:
                width, height = size()
                show(lines_of(look, width, height))
                pause(every_s)
                look = watcher.look()
    except KeyboardInterrupt:
        print_page(lines_of(look, *size()))


def lines_of(look: Look, width: int, height: int) -> list[Line]:
    """What a terminal shows."""
    trouble: list[Line] = []
    if look.trouble:
        trouble = labelled(
            "error", f"the store is out of reach, this is what was seen last: {look.trouble}", Style.SERIOUS, width
        )
    if look.seen is None:
        return trouble
    height -= len(trouble)
    return [*trouble, *page(look.seen, look.warnings, width=width, height=height)]


def one_line(look: Look) -> str:
    """What a log shows: the sums over all queues, and the codes of the warnings."""
    if look.seen is None or look.trouble:
        return f"{utc(system_clock())} the store is out of reach: {printable(look.trouble)}"
    counts, rate = look.seen.counts, look.seen.windows[0].all
    sums = {
        name: sum(getattr(queue, name) for queue in counts.queues)
        for name in ("ready", "leased", "scheduled", "retrying", "parked")
    }
    oldest = max((waited(queue, counts.now) for queue in counts.queues), default=0.0)
    fields = [
        *(f"{name} {number(value, counts.cap)}" for name, value in sums.items()),
        f"workers {len(look.seen.alive)}",
        f"rate {per_s(rate.per_s)}",
        f"failed {rate.failed_share:.1%}",
        f"oldest {duration(oldest)}",
    ]
    codes = [warned.code for warned in look.warnings]
    return f"{utc(counts.now)} {', '.join(fields)}" + (f"; {', '.join(dict.fromkeys(codes))}" if codes else "")


def _document(look: Look) -> dict[str, object]:
    if look.seen is None or look.trouble:
        return {"now": utc(system_clock()), "error": look.trouble}
    return document(look.seen, look.warnings)
