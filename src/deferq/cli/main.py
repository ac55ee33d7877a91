"""`deferq`: finds the verb, imports its file and no other, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol, cast

from deferq.cli.arguments import EXIT_CODES, EXIT_USAGE, CommandError, Parser
from deferq.errors import DeferqError
from deferq.suggest import did_you_mean

EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 130, 141

#: Every verb and what it does. `tasks ls` lives in `tasks_ls.py`.
VERBS: Mapping[str, str] = {
    "dev": "run tasks here, and start anew whenever the source changes",
    "worker": "run tasks until it is stopped",
    "push": "send tasks to a web application until it is stopped",
    "status": "what waits, what runs, how fast, who works; exit code 1 if work stands still",
    "tasks ls": "list tasks, newest first",
    "tasks show": "everything about one task",
    "tasks now": "make pending tasks due now",
    "tasks requeue": "put dead or cancelled tasks back",
    "tasks cancel": "cancel tasks",
    "tasks wait": "wait until a task has ended",
    "queues ls": "list queues: what waits in each, and its limits",
    "queues pause": "lease no more tasks of a queue",
    "queues resume": "let a paused queue go on",
    "queues purge": "delete every pending task of a queue",
    "queues set": "set how fast a queue runs, and how many tasks at a time",
    "queues reset": "bring back the limits that the application declares",
    "queues load": "bring what a queue.yaml declares to the store, and say what changes",
    "defer": "defer a call of a function",
    "db info": "the database file: size, schema, settings",
    "db upgrade": "bring the database to this release's schema",
    "db check": "look for damage in the database",
    "db path": "where the database is",
    "config show": "every setting, its value and where it came from",
    "doctor": "what is wrong, why it matters and what to do; writes nothing",
    "report": "what belongs into a bug report, without secrets, arguments and names",
    "completion": "a script that completes deferq's words in bash, zsh or fish",
    "demo": "watch a small web application defer work of every kind",
}

#: Verbs that tell of misspelt variables in their own way, or whose output a shell reads.
SAY_IT_THEMSELVES = frozenset({"doctor", "config show", "report", "completion"})


class Verb(Protocol):
    """What the file of a verb offers; its docstring is the help text."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what the verb takes."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Errors nobody expected keep their traceback."""
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
        return code
    except DeferqError as error:
        print(f"deferq: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `deferq tasks ls | head`: whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except SystemExit as ended:  # argparse has printed help, the version or an error
        return ended.code if isinstance(ended.code, int) else 0


def _run(argv: Sequence[str]) -> int:
    before, words = _split(argv)
    parser = _top_parser()
    common = parser.parse_args(before)
    if not words:
        parser.print_help()
        return 0
    name, rest = _find(words)
    verb = cast(Verb, import_module("deferq.cli." + name.replace(" ", "_")))
    args = _parse(name, verb, rest)
    if getattr(args, "url", None) is None:
        args.url = common.url
    if name not in SAY_IT_THEMSELVES and "--child" not in rest:  # a child's parent has said it
        _warn_of_variables()
    return verb.run(args)


def _warn_of_variables() -> None:
    """A variable that is misspelt would be passed over without a word."""
    if not any(name.startswith("DEFERQ_") for name in os.environ):
        return
    from deferq.config import unknown_variables

    for name, meant in unknown_variables(os.environ).items():
        if meant:
            print(f"deferq: There is no setting {name}; it is passed over. Did you mean {meant}?", file=sys.stderr)


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The options before the verb, and the verb with what follows."""
    index = 0
    while index < len(argv) and argv[index].startswith("-"):
        index += 2 if argv[index] == "--url" else 1
    return argv[:index], argv[index:]


def _top_parser() -> Parser:
    parser = Parser(
        prog="deferq",
        usage="deferq [--url URL] VERB ...",
        description="Call functions later: durably, with retries.",
        epilog=f"verbs:\n{_listing('')}\n\n'deferq VERB --help' says what a verb takes. {EXIT_CODES}",
    )
    parser.add_argument("--url", help="the store; by default what the settings say, see 'deferq config show'")
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version")
    return parser


class _PrintVersion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from deferq.cli.version import version

        print(f"deferq {version()}")
        parser.exit()


def _find(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The verb that `words` begin with, and its arguments."""
    two = " ".join(words[:2])
    if two in VERBS:
        return two, words[2:]
    if words[0] in VERBS:
        return words[0], words[1:]
    if any(verb.startswith(f"{words[0]} ") for verb in VERBS):
        if len(words) == 1 or words[1] in ("-h", "--help"):
            print(f"usage: deferq {words[0]} VERB ...\n\nverbs:\n{_listing(words[0] + ' ')}")
            raise SystemExit(0)
        raise _unknown(two)
    raise _unknown(words[0])


def _unknown(verb: str) -> CommandError:
    groups = {name.split()[0] for name in VERBS}
    hint = did_you_mean(verb, [*VERBS, *groups], otherwise=" 'deferq --help' lists the verbs.")
    return CommandError(f"There is no verb '{verb}'.{hint}")


def _listing(prefix: str) -> str:
    width = max(map(len, VERBS))
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in VERBS.items() if name.startswith(prefix))


def _parse(name: str, verb: Verb, rest: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog=f"deferq {name}", description=verb.__doc__ or VERBS[name], epilog=getattr(verb, "EPILOG", EXIT_CODES)
    )
    verb.add_arguments(parser)
    return parser.parse(rest)
