"""Dates and times as text that holds all of them: ISO 8601, and in brackets what ISO 8601 has no place for.

2026-10-25T02:30:00                              no zone
2026-10-25T02:30:00+02:00                        a fixed offset
2026-10-25T02:30:00+02:00[name=CEST]             a fixed offset with a name of its own
2026-10-25T02:30:00[Europe/Berlin][fold=1]       a zone, at the second of two equal hours
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deferq.errors import TargetUnknown

_MOMENT = re.compile(
    r"""([0-9T:.-]*?)
        ( [+-][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{6})?)? )?
        (?: \[([A-Za-z][A-Za-z0-9_+/-]{0,99})\] )?
        ( \[fold=1\] )?
        (?: \[name=(.*)\] )?""",
    re.ASCII | re.DOTALL | re.VERBOSE,
)
_SPAN = re.compile(r"P(-?[0-9]{1,9})DT([0-9]{1,5})\.([0-9]{6})S", re.ASCII)


M = TypeVar("M", datetime, time)


class Unwritable(ValueError):
    """A value of a type that can be stored, but not this one; the message says why."""


class _Parts(NamedTuple):
    """What a text of a moment consists of."""

    plain: str
    offset: str | None
    zone: str | None
    fold: int
    name: str | None


def write_datetime(value: datetime) -> str:
    """The text of a datetime; raises Unwritable for a zone that would not come back."""
    return _tried(value, _write(value), read_datetime)


def read_datetime(text: str) -> datetime:
    """The datetime; raises ValueError, or TargetUnknown for a zone that this machine does not know."""
    parts = _parts(text)
    return datetime.fromisoformat(parts.plain).replace(tzinfo=_zone(parts), fold=parts.fold)


def write_time(value: time) -> str:
    """The text of a time of day; raises Unwritable for a zone that would not come back."""
    return _tried(value, _write(value), read_time)


def read_time(text: str) -> time:
    """The time of day; raises like `read_datetime`."""
    parts = _parts(text)
    return time.fromisoformat(parts.plain).replace(tzinfo=_zone(parts), fold=parts.fold)


def write_date(value: date) -> str:
    """The text of a date."""
    return value.isoformat()


def read_date(text: str) -> date:
    """The date; raises ValueError."""
    return date.fromisoformat(text)


def write_timedelta(value: timedelta) -> str:
    """The text of a span, as Python keeps it: days, of which there may be less than none, seconds, microseconds."""
    return f"P{value.days}DT{value.seconds}.{value.microseconds:06}S"


def read_timedelta(text: str) -> timedelta:
    """The span; raises ValueError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError
    days, seconds, microseconds = found.groups()
    return timedelta(int(days), int(seconds), int(microseconds))


def _tried(value: M, text: str, read: Callable[[str], M]) -> str:
    """`text`, unless its zone is not that of its key, as one of ZoneInfo.no_cache or ZoneInfo.from_file may be."""
    if type(value.tzinfo) is not ZoneInfo:
        return text
    with suppress(ValueError, TargetUnknown):
        if read(text) == value:
            return text
    raise Unwritable(f"its zone is not the one that ZoneInfo({value.tzinfo.key!r}) gives; use that one.")


def _write(value: datetime | time) -> str:
    zone = value.tzinfo
    plain = value.replace(tzinfo=None).isoformat()
    fold = "[fold=1]" if value.fold else ""
    if zone is None:
        return plain + fold
    if type(zone) is timezone:
        return f"{plain}{_write_offset(zone)}{fold}{_own_name(zone)}"
    if type(zone) is ZoneInfo and zone.key is not None:
        return f"{plain}[{zone.key}]{fold}"
    kind = type(zone)
    raise Unwritable(
        f"its time zone is a {kind.__module__}.{kind.__qualname__}; use datetime.UTC, a datetime.timezone or a"
        " zoneinfo.ZoneInfo with a key."
    )


def _write_offset(zone: timezone) -> str:
    """As isoformat() has it; it is not left to that, since fromisoformat() of Python 3.11 does not read all of them."""
    offset = zone.utcoffset(None)
    sign, offset = ("-", -offset) if offset < timedelta(0) else ("+", offset)
    minutes, seconds = divmod(offset.seconds, 60)
    text = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    if offset.microseconds:
        return f"{text}:{seconds:02}.{offset.microseconds:06}"
    return f"{text}:{seconds:02}" if seconds else text


def _read_offset(text: str) -> timedelta:
    hours, minutes, seconds, micro = text[1:3], text[4:6], text[7:9] or "0", text[10:] or "0"
    offset = timedelta(0, int(seconds), int(micro), minutes=int(minutes), hours=int(hours))
    return -offset if text[0] == "-" else offset


def _own_name(zone: timezone) -> str:
    """The name of a fixed offset, unless it is the one that any such offset has."""
    name = zone.tzname(None)
    return "" if name == timezone(zone.utcoffset(None)).tzname(None) else f"[name={name}]"


def _parts(text: str) -> _Parts:
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError
    plain, offset, zone, fold, name = found.groups()
    return _Parts(plain, offset, zone, 1 if fold else 0, name)


def _zone(parts: _Parts) -> tzinfo | None:
    if parts.offset is not None and parts.zone is None:
        offset = _read_offset(parts.offset)
        return timezone(offset) if parts.name is None else timezone(offset, parts.name)
    if parts.offset is not None or parts.name is not None:
        raise ValueError
    return None if parts.zone is None else _known_zone(parts.zone)


def _known_zone(key: str) -> ZoneInfo:
    try:
        return ZoneInfo(key)
    except ZoneInfoNotFoundError as error:
        raise TargetUnknown(f"The time zone {key} is not known on this machine; install tzdata.") from error
