"""Print a script that completes verbs, options, files, states and names of queues in a shell.

bash: source <(deferq completion bash)    zsh: source <(deferq completion zsh)    fish: deferq completion fish | source

Put that line into the shell's start file. 'deferq completion queues' prints the names of queues, which is what the
scripts ask for; it reads the store and makes nothing.
"""

from __future__ import annotations

import argparse
from contextlib import closing

from deferq import stores
from deferq.cli.arguments import EXIT_OK, add_url
from deferq.cli.completing import SHELLS
from deferq.cli.loading import settings_of
from deferq.engines.sqlite.view import SqliteView
from deferq.errors import DeferqError

EPILOG = "Exit codes: 0 printed; 2 wrong usage."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    parser.add_argument("shell", choices=[*SHELLS, "queues"], help="bash, zsh or fish; or the names of queues")
    add_url(parser)


def run(args: argparse.Namespace) -> int:
    """Print the script, or the names."""
    if args.shell == "queues":
        for name in _queues(args.url):
            print(name)
    else:
        print(SHELLS[args.shell](), end="")
    return EXIT_OK


def _queues(url: str | None) -> list[str]:
    """Nothing where there is nothing to read: whoever presses a key wants no message."""
    try:
        path = stores.store_path(settings_of(url))
        if path is None:
            return []
        with closing(SqliteView(path)) as view:
            return [queue.name for queue in view.queues()]
    except DeferqError:
        return []
