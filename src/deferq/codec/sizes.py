"""How large arguments and results may be."""

from __future__ import annotations

from typing import Final

from deferq.errors import PayloadTooLargeError

PAYLOAD_LIMIT: Final = 16 * 1024 * 1024


def oversized(what: str, size: int, limit: int, *, at_least: bool = False) -> PayloadTooLargeError:
    """The error for `size` bytes of arguments, or of a result, where `limit` can be stored."""
    shown = f"at least {size:,}" if at_least else f"{size:,}"
    return PayloadTooLargeError(
        f"{what}: {shown} bytes, and at most {limit:,} can be stored; keep the data in a file or a table and pass its"
        " key, or raise the payload limit.",
        size=size,
        limit=limit,
    )
