"""The bounds of a document, which its writer keeps and its reader insists on."""

from __future__ import annotations

from typing import Final

#: Containers within each other, counted from an argument, or from the result. A tag is part of what it marks.
DEPTH_MAX: Final = 64
#: Values in all, each container and each item of it.
NODES_MAX: Final = 100_000
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1


def is_reserved(key: str) -> bool:
    """Whether an object with this key is a tag: `$` for our own, `@` for those of the application."""
    return key.startswith(("$", "@"))
