"""Search for inputs that break a promise, for as long as you like: `python -m tests.fuzz`."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from tests.fuzz import campaign
from tests.fuzz.campaign import ROOT, Told, has_atheris
from tests.fuzz.catalogue import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default: %(default)s)")
    parser.add_argument("--executions", type=int, help="for each target, within these seconds")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000_000), help="default: another each time")
    parser.add_argument("--plain", action="store_true", help="without atheris: random changes of genuine inputs")
    parser.add_argument("--corpus", type=Path, default=ROOT / ".fuzz", help="what is kept for the next time")
    arguments = parser.parse_args()
    plain = arguments.plain or not has_atheris()
    if plain and not arguments.plain:
        print("atheris is not installed: genuine inputs are changed at random instead")
    told = Told(
        folder=arguments.corpus.absolute(),
        seconds=arguments.seconds,
        executions=arguments.executions,
        seed=arguments.seed,
        plain=plain,
    )
    print(f"seed {told.seed}; inputs are kept in {told.folder}", flush=True)
    chosen = [TARGETS[name] for name in arguments.target or TARGETS]
    reports = campaign.run(((target, told) for target in chosen), lambda report: print(report, flush=True))
    wrong = sum(not report.ok for report in reports)
    print(f"{sum(report.executions for report in reports):,} executions, {wrong or 'nothing'} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
