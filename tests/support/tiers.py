"""How much is tried: a slice in `make test`, the programme in `make proof`, a night in `make proof-long`.

A test of the programme asks `sized(...)` how many seeds, kills or images to try, and says by `tried(...)` what it did.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TypeVar

Size = TypeVar("Size")

#: "test", "proof" or "long".
TIER = os.environ.get("DEFERQ_TIER", "test")
_tried: Counter[str] = Counter()


def sized(test: Size, proof: Size, long: Size) -> Size:
    """The size of this run's tier."""
    return {"test": test, "proof": proof, "long": long}[TIER]


def tried(what: str, count: int) -> None:
    """Add to what is told at the end: `tried("seeds on memory", 300)`."""
    _tried[what] += count


def counts() -> dict[str, int]:
    """What was tried so far."""
    return dict(_tried)


def lines() -> list[str]:
    """What was tried, a line each."""
    return [f"{count:>11,} {what}" for what, count in sorted(_tried.items())]


def save(path: str) -> None:
    """Leave what was tried to whoever started this run."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(counts(), file)
