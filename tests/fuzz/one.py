"""A process that runs one target: `python -m tests.fuzz.one NAME --folder F --executions N ...`.

With atheris the search is guided by what of deferq an input reaches; without it genuine inputs are changed at random.
It says how many inputs it has tried, and ends with another exit code than 0 at the first that is wrong, which it
leaves in `F/findings`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import plain
from tests.fuzz.catalogue import TARGETS, Target
from tests.fuzz.guard import SECONDS_MAX, Guard

#: Longer inputs find nothing that shorter ones do not.
BYTES_MAX = 2_048
MEGABYTES_MAX = 2_048


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fuzz.one", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="where inputs are kept")
    parser.add_argument("--executions", type=int, default=-1)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--replay", type=Path, help="run this input, and nothing else")
    arguments = parser.parse_args()
    target = TARGETS[arguments.target]
    if arguments.replay:
        load(target)[0](arguments.replay.read_bytes())
        print("nothing is wrong with it")
    elif arguments.plain:
        fuzz, seeds = load(target)
        plain.run(fuzz, seeds, arguments.folder, arguments.executions, arguments.seconds, arguments.seed)
    else:
        guided(target, arguments.folder, arguments.executions, arguments.seconds, arguments.seed)


def load(target: Target) -> tuple[Callable[[bytes], None], list[bytes]]:
    """The watched function, and its seeds. What is imported at first use is imported now: each seed runs once."""
    fuzz, seeds = target.load()
    for seed in seeds:
        fuzz(seed)
    return Guard(everywhere=True).guarded(fuzz), seeds


def guided(target: Target, folder: Path, executions: int, seconds: int, seed: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=list(target.concerns)):
        fuzz, seeds = load(target)
    corpus, genuine, findings = (folder / part for part in ("corpus", "seeds", "findings"))
    for place in (corpus, genuine, findings):
        place.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds):
        (genuine / f"{number:03}").write_bytes(data)
    limits = [f"-runs={executions}", f"-max_total_time={seconds}", f"-timeout={SECONDS_MAX}"]
    limits += [f"-rss_limit_mb={MEGABYTES_MAX}", f"-max_len={BYTES_MAX}", f"-seed={seed}"]
    said = ["-print_final_stats=1", f"-artifact_prefix={findings}/"]
    atheris.Setup([sys.argv[0], *limits, *said, str(corpus), str(genuine)], fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
