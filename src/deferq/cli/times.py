"""Times, which are microseconds since the epoch inside: local ones for people, UTC for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

US = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(at: int | None) -> str | None:
    """ISO 8601 with microseconds, in UTC."""
    if at is None:
        return None
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def local(at: int | None) -> str:
    """Date and time on the clock of whoever reads, with its distance from UTC."""
    if at is None:
        return ""
    return (_EPOCH + timedelta(microseconds=at)).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def relative(at: int | None, now: int) -> str:
    """`3 min ago`, `in 2 h`."""
    if at is None:
        return ""
    away = (at - now) / US
    return f"in {duration(away)}" if away > 0 else f"{duration(-away)} ago"


def duration(seconds: float) -> str:
    """A span of time in the unit that fits it."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for unit, length in (("min", 60), ("h", 3600)):
        if seconds < 100 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
