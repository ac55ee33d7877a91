"""Where a page that is shown again and again goes: redrawn in place on a terminal, by rich or without it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deferq.cli.page import Line, Style

Show = Callable[[Sequence[Line]], None]

_CODES = {Style.HEADING: 1, Style.QUIET: 2, Style.SERIOUS: 31, Style.NOTE: 33}
_HOME, _TO_END_OF_LINE, _TO_END = "\033[H", "\033[K", "\033[J"
_OTHER_SCREEN, _BACK = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"


def size() -> tuple[int, int]:
    """Columns and rows of the terminal."""
    columns, rows = shutil.get_terminal_size((80, 24))
    return columns, rows


def print_page(lines: Sequence[Line]) -> None:
    """Print a page once."""
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print("\n".join(_painted(line) if coloured else line.text for line in lines))


@contextmanager
def redrawing() -> Iterator[Show]:
    """A second screen of the terminal, on which each page takes the place of the one before.

    However it ends, the terminal is left as it was: SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does.
    """
    before = [(number, signal.signal(number, signal.default_int_handler)) for number in (signal.SIGTERM, signal.SIGHUP)]
    try:
        with _by_rich() if _rich_is_there() else _plainly() as show:
            yield show
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _rich_is_there() -> bool:
    try:
        import rich.live  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def _by_rich() -> Iterator[Show]:
    from rich.live import Live
    from rich.text import Text

    with Live(screen=True, auto_refresh=False) as live:

        def show(lines: Sequence[Line]) -> None:
            whole: Any = Text("\n", no_wrap=True, overflow="crop").join(
                Text(one.text, one.style.value) for one in lines
            )
            live.update(whole, refresh=True)

        yield show


@contextmanager
def _plainly() -> Iterator[Show]:
    print(_OTHER_SCREEN, end="", flush=True)
    try:
        yield _draw
    finally:
        print(_BACK, end="", flush=True)


def _draw(lines: Sequence[Line]) -> None:
    """Line over line, and not on an emptied screen, which would flicker."""
    coloured = not os.environ.get("NO_COLOR")
    text = f"{_TO_END_OF_LINE}\n".join(_painted(line) if coloured else line.text for line in lines)
    print(f"{_HOME}{text}{_TO_END_OF_LINE}{_TO_END}", end="", flush=True)


def _painted(line: Line) -> str:
    return f"\033[{_CODES[line.style]}m{line.text}\033[0m" if line.style in _CODES and line.text else line.text
