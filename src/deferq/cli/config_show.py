"""Every setting, its value, and where it came from. Secrets are not shown.

A value is taken from the first place that has one: the call in the application or the command's option, the environment
(DEFERQ_...), [tool.deferq] in the nearest pyproject.toml, the default.
"""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlsplit

from deferq.cli.arguments import EXIT_OK, add_json, add_store
from deferq.cli.loading import load
from deferq.cli.output import print_json, print_table
from deferq.config import SETTINGS, Settings, gather


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the settings that a command here would use; with --app, those of the application."""
    settings = load(args.app, args.url).deferq.settings if args.app else gather({"url": args.url})
    rows = [_row(name, settings) for name in SETTINGS]
    if args.json:
        print_json({"project": str(settings.project), "settings": rows})
        return EXIT_OK
    print(f"project  {settings.project}\n")
    print_table(
        ("setting", "value", "origin", "about"),
        [(row["name"], _for_people(row["value"]), row["origin"], row["help"]) for row in rows],
    )
    return EXIT_OK


def _row(name: str, settings: Settings) -> dict[str, Any]:
    setting, (value, origin) = SETTINGS[name], settings.values[name]
    shown = _redacted(value) if setting.secret else _without_password(value)
    return {"name": name, "value": shown, "origin": origin, "variable": setting.variable, "help": setting.help}


def _redacted(value: Any) -> str | None:
    return None if value is None else f"({len(value)} set)"


def _without_password(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if not isinstance(value, str) or "@" not in value or "://" not in value:
        return value
    parts = urlsplit(value)
    _, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()


def _for_people(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
