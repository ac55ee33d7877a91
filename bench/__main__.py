"""python -m bench [--only NAME,NAME] [--quick] [--json FILE] [--write]"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import machine, report, targets
from bench.compare import Bench, Row
from bench.measures import (
    beside,
    bulk,
    crowd,
    deaths,
    defer,
    drain,
    http,
    idle,
    lock,
    mixed,
    pickup,
    push,
    start,
    threads,
)
from bench.peers.redis_server import RedisServer
from bench.processes import ROOT, end_all

MEASURES: dict[str, Callable[[Bench], list[Row]]] = {
    "defer": defer.run,
    "threads": threads.run,
    "bulk": bulk.run,
    "drain": drain.run,
    "beside": beside.run,
    "pickup": pickup.run,
    "crowd": crowd.run,
    "mixed": mixed.run,
    "deaths": deaths.run,
    "idle": idle.run,
    "start": start.run,
    "lock": lock.run,
    "http": http.run,
    "push": push.run,
}
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print what came out."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=options.folder)).resolve()
    try:
        return _measure(options, folder)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        end_all()
        shutil.rmtree(folder, ignore_errors=True)


def _measure(options: argparse.Namespace, folder: Path) -> int:
    begun = time.monotonic()
    described = machine.describe(folder)
    server = RedisServer(folder / "redis", durable=options.redis_fsync)
    bench = Bench(folder=folder, server=server, repeats=options.repeats, quick=options.quick)
    rows: list[Row] = []
    broken = 0
    for bench.measure in options.only:
        bench.say("begins")
        try:
            rows += MEASURES[bench.measure](bench)
        except Exception:
            broken = 1
            bench.say(f"left out: {traceback.format_exc()}")
    described["run"] = "smoke run, no figures to keep" if options.quick else f"median of {options.repeats}"
    described["took"] = f"{time.monotonic() - begun:.0f} s"
    _publish(options, described, rows)
    return broken


def _publish(options: argparse.Namespace, described: dict[str, str], rows: list[Row]) -> None:
    rows = report.grouped(rows)
    verdicts = [] if options.quick else targets.judge(rows)
    (options.json or options.folder / "last.json").write_text(report.to_json(described, rows, verdicts))
    shown = report.text(described, rows, verdicts)
    print(shown)
    (options.folder / "last.txt").write_text(shown + "\n")
    if options.write:
        report.write_into(PAGE, report.markdown(described, rows, verdicts))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure deferq beside its peers.")
    parser.add_argument(
        "--only",
        type=_names,
        default=_names(os.environ.get("ONLY", "")),
        metavar="NAME[,NAME]",
        help=f"one or more of {', '.join(MEASURES)} (default: all, or those that ONLY names)",
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: short, one repeat, no figures to keep")
    parser.add_argument("--repeats", type=int, help="how often each figure is taken (default: 3)")
    parser.add_argument("--redis-fsync", action="store_true", help="let Redis fsync each write, as deferq does")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench", help="where stores and results go (.bench)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there (default: last.json)")
    parser.add_argument("--write", action="store_true", help=f"put the results into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    if options.write and options.quick:
        parser.error("a smoke run has no figures to write; leave out --quick or --write")
    options.repeats = options.repeats or (1 if options.quick else 3)
    return options


def _names(text: str) -> list[str]:
    chosen = [name for name in text.replace(",", " ").split() if name]
    unknown = [name for name in chosen if name not in MEASURES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no measure is called {unknown[0]}; there are {', '.join(MEASURES)}")
    return [name for name in MEASURES if name in chosen] or list(MEASURES)


if __name__ == "__main__":
    sys.exit(main())
