"""Look for what is wrong with a store and its workers, and say why it matters and what to do.

Nothing is written: neither into the store nor beside it. APP is imported, if it is given: then what waiting tasks call
is looked for in it, and its settings hold. Only what is wrong or worth a note is printed; --verbose lists all.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from deferq.cli.arguments import EXIT_FAILED, EXIT_OK, add_json, add_url
from deferq.cli.checkup.finding import Finding, Level, wrong
from deferq.cli.checkup.running import Checkup, check_up
from deferq.cli.loading import AppNotLoaded, app_of, load, settings_of
from deferq.cli.output import plural, print_json, printable

EPILOG = (
    "Exit codes: 0 nothing is wrong (a note is worth a look, and does not count); 1 something is wrong; 2 wrong usage,"
    " or the settings cannot be read."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    parser.add_argument("app", metavar="APP", nargs="?", help="file, module or module:name to import")
    add_url(parser)
    add_json(parser)
    parser.add_argument("--deep", action="store_true", help="compare indexes with their tables, too; takes longer")
    parser.add_argument("-v", "--verbose", action="store_true", help="list what is right, too")


def run(args: argparse.Namespace) -> int:
    """Check everything, and print what was found."""
    checkup = examine(args.app, args.url, deep=args.deep)
    if args.json:
        print_json(document(checkup))
    else:
        _print_for_people(checkup, args.verbose)
    return EXIT_OK if checkup.healthy else EXIT_FAILED


def examine(app: str | None, url: str | None, *, deep: bool = False) -> Checkup:
    """Check what the settings or the application name. An application that cannot be imported is a finding."""
    app = app or app_of(url)
    if app is None:
        return check_up(settings_of(url), deep=deep)
    try:
        deferq = load(app, url).deferq
    except AppNotLoaded as error:
        checkup = check_up(settings_of(url), deep=deep)
        found = wrong("app", str(error), "A worker with this application cannot start.", "")
        return checkup._replace(findings=(found, *checkup.findings))
    return check_up(deferq.settings, deferq, deep=deep)


def document(checkup: Checkup) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "store": checkup.store,
        "ok": checkup.healthy,
        **{str(level): len(checkup.of(level)) for level in Level},
        "findings": [_finding(finding) for finding in checkup.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in ("code", "level", "text", "why", "do", "queue", "worker")}


def lines(checkup: Checkup, *, verbose: bool) -> list[str]:
    """What people read."""
    told: list[str] = []
    for finding in (*checkup.of(Level.WRONG), *checkup.of(Level.NOTE)):
        told += [f"{finding.level}: {finding.text} ({finding.code})", *_explained(finding), ""]
    if verbose:
        told += [*(f"right: {finding.text}" for finding in checkup.of(Level.RIGHT)), ""]
    return [*told, _last_line(checkup)]


def _explained(finding: Finding) -> Sequence[str]:
    return [f"  {text}" for text in (finding.why, finding.do) if text]


def _last_line(checkup: Checkup) -> str:
    wrongs, notes, rights = (len(checkup.of(level)) for level in (Level.WRONG, Level.NOTE, Level.RIGHT))
    store = f" with {checkup.store}" if checkup.store else ""
    what = f"{plural(wrongs, 'thing')} {'is' if wrongs == 1 else 'are'}" if wrongs else "nothing is"
    return f"{what} wrong{store}; {plural(notes, 'note')}, {rights} right"


def _print_for_people(checkup: Checkup, verbose: bool) -> None:
    for line in lines(checkup, verbose=verbose):
        print(printable(line))
