"""`python -m tests.power --first 17 --images 300` tries power cuts and says in JSON what was found.

Seed after seed is tried until there are so many images, or the time is up; the last one is tried to its end.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.power.trying import PER_RUN, try_seeds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--step", type=int, default=1, help="from seed to seed (default: %(default)s)")
    parser.add_argument("--images", type=int, default=300, help="how many to judge at least (default: %(default)s)")
    parser.add_argument("--per-run", type=int, default=PER_RUN, help="how many of one run (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="to stop after (default: %(default)s)")
    parser.add_argument("--synchronous", default="FULL,FULL", help="of each engine (default: %(default)s)")
    options = parser.parse_args()
    wanted = options.synchronous.split(",")
    tally = try_seeds(
        range(options.first, sys.maxsize, options.step), options.images, options.per_run, options.seconds, wanted
    )
    json.dump(vars(tally), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
