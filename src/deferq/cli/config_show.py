"""Every setting, its value, and where it came from. Secrets are not shown, but the ids of their keys are.

A value is taken from the first place that has one: the call in the application (with its line, if --app is given) or
the command's option, the environment (DEFERQ_...), [tool.deferq] in the nearest pyproject.toml, the default.
"""

from __future__ import annotations

import argparse
import os
import sys

from deferq.app import Deferq
from deferq.cli.arguments import EXIT_OK, add_json, add_store
from deferq.cli.loading import AppNotLoaded, app_of, load, settings_of
from deferq.cli.output import print_json, print_table
from deferq.cli.showing import declared_by, for_people, queue_line, setting_rows, store_line
from deferq.config import unknown_variables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the settings that a command here would use: those of the application, if one is named or configured."""
    deferq = _application(args)
    settings = settings_of(args.url) if deferq is None else deferq.settings
    rows, declared, passed_over = setting_rows(settings), declared_by(deferq), unknown_variables(os.environ)
    if declared.trouble:
        print(f"deferq config show: without the queues: {declared.trouble}", file=sys.stderr)
    if args.json:
        document = {"project": str(settings.project), "store": store_line(settings), "settings": rows}
        queues = {"queue_file": declared.file, "queues": dict(declared.queues)}
        print_json({**document, **queues, "passed_over": passed_over})
        return EXIT_OK
    print(f"project  {settings.project}\nstore    {store_line(settings)}")
    print(f"queues   {declared.file}\n" if declared.file else "")
    print_table(
        ("setting", "value", "origin", "about"),
        [(row["name"], for_people(row), row["origin"], row["help"]) for row in rows],
    )
    for name, said in declared.queues.items():
        print(queue_line(name, said))
    for name, meant in passed_over.items():
        print(f"\nnote: {name} is no setting, and is passed over." + (f" Did you mean {meant}?" if meant else ""))
    return EXIT_OK


def _application(args: argparse.Namespace) -> Deferq | None:
    """The one that is named, or that a command would import to find its store."""
    if args.app:
        return load(args.app, args.url).deferq
    app = app_of(args.url)
    try:
        return load(app, args.url).deferq if app else None
    except AppNotLoaded as error:
        print(f"deferq config show: without what the application says: {error}", file=sys.stderr)
        return None
