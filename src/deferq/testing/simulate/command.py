"""The command: tries seeds and says what it tried, or which seed broke which promise."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.exhaustive import explore
from deferq.testing.simulate.memory import memory
from deferq.testing.simulate.running import simulate
from deferq.testing.simulate.scope import SCOPES
from deferq.testing.simulate.sqlite import SqliteFiles
from deferq.testing.simulate.stores import MakeEngine, StoreMaker

COMMAND = "python -m deferq.testing.simulate"
DESCRIPTION = """\
Try an engine and the dispatcher in simulated worlds. In each, several workers share the engine, and everything that
can go wrong does: crashes, pauses, leaps of the clock, a store that fails before or after it has committed. Everything
comes from the seed, so the same seed gives the same world.

Prints what was tried and ends with 0. At the first broken promise it prints the seed, what was broken, the history
that led there and the command that replays it, and ends with 1.

With --small nothing is left to chance: all interleavings of two workers and one task are tried, each with the faults
that its scope allows, on the memory engine, and on the engine you name as well.
"""
EPILOG = f"""\
examples:
  {COMMAND}                                  1,000 seeds in memory
  {COMMAND} --engine sqlite --seconds 60     as many seeds as a minute allows
  {COMMAND} --engine sqlite --seed 4711      one seed again
  {COMMAND} --small                          all interleavings of two workers and one task
  {COMMAND} --engine myengine:make           an engine of your own: make(clock) returns it
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = _parser().parse_args(argv)
    with _engine(args.engine) as make_engine:
        try:
            if args.small:
                return _try_all(args, make_engine)
            report = simulate(
                make_engine,
                seeds=_seeds(args),
                children=args.children,
                pushed=args.push,
                seconds=args.seconds,
                replay=lambda seed: replay_command(args.engine, seed, children=args.children, pushed=args.push),
            )
        except Broken as broken:
            print(broken)
            return 1
    if not args.quiet:
        kind = " with children" if args.children else ", pushed" if args.push else ""
        print(f"{args.engine}{kind}: {report}")
    return 0


def _try_all(args: argparse.Namespace, make_engine: MakeEngine | StoreMaker) -> int:
    """All paths of all scopes; the memory engine tells where they meet."""
    also = make_engine if callable(make_engine) and args.engine != "memory" else None
    for scope in SCOPES:
        explored = explore(scope, also=also, seconds=args.seconds)
        if not args.quiet:
            print(f"{args.engine}, {scope}: {explored}: nothing broken", flush=True)
    return 0


def replay_command(engine: str, seed: int, *, children: bool = False, pushed: bool = False) -> str:
    """The command line that tries one seed again."""
    kind = " --children" if children else " --push" if pushed else ""
    return f"{COMMAND} --engine {engine} --seed {seed}{kind}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--engine",
        default="memory",
        metavar="NAME",
        help="memory, sqlite, or module:function of your own (default: memory)",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="how many (default: 1000, or no limit with --seconds)")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N", help="where to begin (default: 0)")
    parser.add_argument("--seed", type=int, metavar="N", help="this one only")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="begin no further seed (with --small: path) after so long",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--children", action="store_true", help="tasks run in child processes, and not in threads")
    where.add_argument("--push", action="store_true", help="tasks are pushed to handlers that take their leases up")
    parser.add_argument("--small", action="store_true", help="all interleavings of two workers and one task")
    parser.add_argument("--quiet", action="store_true", help="print nothing unless a promise is broken")
    return parser


def _seeds(args: argparse.Namespace) -> Iterable[int]:
    if args.seed is not None:
        return [args.seed]
    if args.seeds is None and args.seconds is not None:
        return itertools.count(args.first_seed)
    return range(args.first_seed, args.first_seed + (1000 if args.seeds is None else args.seeds))


@contextmanager
def _engine(name: str) -> Iterator[MakeEngine | StoreMaker]:
    """How engines of that name are made."""
    if name == "memory":
        yield memory
    elif name == "sqlite":
        files = SqliteFiles()
        try:
            yield files
        finally:
            files.close()
    else:
        yield _imported(name)


def _imported(name: str) -> MakeEngine:
    """The function that `module:function` names; the current folder counts."""
    module, _, function = name.partition(":")
    if not function:
        raise SystemExit(f"{COMMAND}: --engine {name}: memory, sqlite or module:function is expected.")
    sys.path.insert(0, "")
    make_engine: MakeEngine = getattr(import_module(module), function)
    return make_engine
