"""The bounds of a document, which its writer keeps and its reader insists on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any, Final

#: Containers within each other, counted from an argument, or from the result. A tag is part of what it marks.
DEPTH_MAX: Final = 64
#: Values in all, each container and each item of it.
NODES_MAX: Final = 100_000
#: Items of a set that have the same hash. Numbers can be chosen so, and a set of many takes quadratic time to make.
ALIKE_MAX: Final = 64
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1


def too_alike(items: Collection[Any]) -> bool:
    """Whether a set of these would take unduly long to make."""
    return len(items) > ALIKE_MAX and max(Counter(map(hash, items)).values()) > ALIKE_MAX


def is_reserved(key: str) -> bool:
    """Whether an object with this key is a tag: `$` for our own, `@` for those of the application."""
    return key.startswith(("$", "@"))
