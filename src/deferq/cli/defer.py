"""Defer a call of a function: deferq defer shop.mail:send 42 '"hello"' --kw urgent=true

Arguments are JSON: numbers as they are, texts in double quotes (which a shell wants in single ones). The function is
imported from the current folder, to check the call; it does not run here.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from datetime import datetime
from typing import Any

from deferq.app import Deferq
from deferq.cli.arguments import EXIT_OK, CommandError, add_json, add_url, seconds
from deferq.cli.loading import load
from deferq.cli.output import print_json
from deferq.cli.waiting import wait_and_report
from deferq.codec.finding import check_allowed, resolve
from deferq.errors import TargetUnknown
from deferq.handles import TaskHandle
from deferq.registry import registry
from deferq.suggest import did_you_mean

EPILOG = (
    "Exit codes: 0 the task is stored (with --wait: it succeeded); 1 with --wait: it died or was cancelled; 2 the call"
    " was refused, wrong usage or configuration, the store cannot be used, or with --wait: the time is over."
)
_OPTIONS = ("queue", "countdown", "eta", "name", "if_exists", "priority", "timeout", "expires", "route")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    parser.add_argument("target", metavar="TARGET", help="module:function")
    parser.add_argument("args", metavar="ARG", nargs="*", help="arguments, as JSON")
    parser.add_argument("--kw", metavar="NAME=JSON", action="append", default=[], help="a keyword argument")
    add_url(parser)
    parser.add_argument("--app", help="import this application first, and use its store")
    parser.add_argument("--queue", metavar="Q")
    parser.add_argument("--countdown", type=seconds, metavar="S", help="not before S seconds from now")
    parser.add_argument("--eta", type=_instant, metavar="ISO", help="not before, such as 2030-01-31T08:00+01:00")
    parser.add_argument("--name", help="unique in its queue while the task lives, and for a while after")
    parser.add_argument("--if-exists", metavar="WHAT", help="raise, return or replace, if the name is taken")
    parser.add_argument("--priority", type=int, metavar="N", help="-100 to 100, higher first")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="seconds that an attempt may take")
    parser.add_argument("--expires", type=seconds, metavar="S", help="cancelled if not started in S seconds")
    parser.add_argument("--route", help="for workers of this route")
    parser.add_argument("--path", help="deliver it to this path of the application, such as /tasks/mail")
    parser.add_argument("--tag", metavar="TAG", action="append", dest="tags", help="may be repeated")
    parser.add_argument("--wait", metavar="S", nargs="?", type=seconds, const=math.inf, help="until it has ended")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Store the task, print its id, and wait if asked to."""
    values = [_json(f"argument {place}", text) for place, text in enumerate(args.args, 1)]
    keywords = dict(_keyword(text) for text in args.kw)
    with load(args.app, args.url).deferq as deferq:
        handle = _defer(deferq, args.target, values, keywords, _options(args))
        if args.json:
            print_json({"id": str(handle.id), "existed": handle.existed})
        else:
            print(handle.id, flush=True)
        if args.wait is None:
            return EXIT_OK
        show = (lambda _: None) if args.json else None  # one document is JSON, and a word behind it is not
        return wait_and_report(deferq, handle.id, None if args.wait == math.inf else args.wait, show)


def _defer(
    deferq: Deferq, target: str, values: list[Any], keywords: dict[str, Any], options: dict[str, Any]
) -> TaskHandle:
    if ":" not in target:
        raise CommandError(f"The target '{target}' is not module:function, such as shop.mail:send.")
    if deferq.settings["allow"] is not None:
        check_allowed(target, deferq.settings["allow"])  # before anything is imported
    try:
        fn = resolve(target, registry)
    except TargetUnknown as error:
        module = sys.modules.get(target.partition(":")[0])
        raise CommandError(f"{error}{did_you_mean(target.partition(':')[2], dir(module) if module else ())}") from error
    try:
        return deferq.call(fn, *values, **keywords).defer(**options)
    except TypeError as error:  # the arguments do not fit the function
        raise CommandError(str(error)) from error


def _options(args: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(args, name) for name in (*_OPTIONS, "tags")}
    given["url"] = args.path  # --url is the store
    return {name: value for name, value in given.items() if value is not None}


def _keyword(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise CommandError("--kw: expected NAME=JSON, such as --kw urgent=true.")
    return name, _json(f"--kw {name}", value)


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        # Not echoed: an argument may be what nobody else should read in a log.
        raise CommandError(f"{where} is no JSON. A text needs double quotes: '\"hello\"'.") from error


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no time in ISO 8601, such as 2030-01-31T08:00+01:00") from None
