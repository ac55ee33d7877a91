"""What the verbs' parsers have in common."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from typing import NoReturn

from deferq.errors import DeferqError
from deferq.suggest import did_you_mean

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
MEGABYTE = 1_000_000
EXIT_CODES = (
    "Exit codes: 0 done; 1 it failed, or something is wrong with the tasks; 2 wrong usage or configuration, or the"
    " store cannot be used."
)

#: How argparse begins when it misses something.
_MISSING = "the following arguments are required"
#: What argparse says of a word that is none of its choices; newer Pythons leave out the quotation marks.
_CHOICE = re.compile(r"invalid choice: '(.+?)' \(choose from (.*)\)")
_WORDS = re.compile(r"[^\s',]+")


class CommandError(DeferqError):
    """The command cannot be carried out as it was given."""


class Parser(argparse.ArgumentParser):
    """Refuses what it does not know in one message, and says what was probably meant."""

    def __init__(self, **settings: object) -> None:
        super().__init__(
            allow_abbrev=False,
            formatter_class=_Formatter,
            **settings,  # type: ignore[arg-type]
        )
        self._given: Sequence[str] = ()

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """What the words say; options may stand between the others."""
        self._given = words
        return self.parse_intermixed_args(words)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and leave with exit code 2."""
        if message.startswith(_MISSING) and (unknown := self._unknown()):
            # Perhaps nothing is missing, but misspelt.
            message = f"unrecognized arguments: {unknown}"
        stop = "" if message.endswith((".", "?")) else "."
        self.exit(EXIT_USAGE, f"{self.prog}: {message}{stop}{self._hint(message)} See '{self.prog} --help'.\n")

    def _unknown(self) -> str:
        """The first option that was given and does not exist."""
        options = (word.partition("=")[0] for word in self._given if re.match("--?[a-z]", word))
        return next((option for option in options if option not in self._option_string_actions), "")

    def _hint(self, message: str) -> str:
        chosen = _CHOICE.search(message)
        if chosen:
            return did_you_mean(chosen[1], _WORDS.findall(chosen[2]))
        _, unknown, words = message.partition("unrecognized arguments: ")
        options = [word.partition("=")[0] for word in words.split() if word.startswith("-")]
        if not unknown or not options:
            return ""
        return did_you_mean(options[0], self._option_string_actions)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Wraps paragraphs to the width of the terminal, and leaves lists alone."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(_filled(paragraph, width) for paragraph in text.strip().split("\n\n"))


def _filled(paragraph: str, width: int) -> str:
    import textwrap

    return paragraph if "\n  " in paragraph else textwrap.fill(paragraph, width)


def add_url(parser: argparse.ArgumentParser) -> None:
    """`--url`, which may stand before or after the verb."""
    parser.add_argument("--url", help="the store, such as sqlite:///jobs.db")


def add_store(parser: argparse.ArgumentParser) -> None:
    """How verbs that look into the store find it."""
    add_url(parser)
    parser.add_argument("--app", help="import this application, and use the store it configures")


def add_json(parser: argparse.ArgumentParser) -> None:
    """For every verb that reads: ids are text, times are UTC."""
    parser.add_argument("--json", action="store_true", help="print JSON; ids are text, times are UTC")


def add_ids(parser: argparse.ArgumentParser, *, nargs: str = "+") -> None:
    """One or more ids of tasks."""
    parser.add_argument("ids", metavar="ID", type=task_id, nargs=nargs, help="ids of tasks")


def task_id(text: str) -> int:
    """The id of a task."""
    if text.isascii() and text.isdigit() and int(text) < 2**63:
        return int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is no id of a task; an id is a number")


def plain(text: str) -> str:
    """A text that a store can be asked for. What is no UTF-8 on the command line comes as halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!a} is no UTF-8") from None
    return text


def count(text: str) -> int:
    """A whole number from 1 on."""
    if text.isascii() and text.isdigit() and 1 <= int(text) < 2**62:
        return int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 on")


def seconds(text: str) -> float:
    """A number of seconds."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if 0 <= number < math.inf:
        return number
    raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds")


def megabytes(text: str) -> int:
    """A number of megabytes, as bytes."""
    return count(text) * MEGABYTE
