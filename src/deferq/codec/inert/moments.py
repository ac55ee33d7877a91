"""Dates and times, as everybody writes them."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone

from deferq.codec.inert.nodes import Made, Name, Node
from deferq.codec.inert.recognising import Part, Parts, args_of, bytes_of, is_plain
from deferq.codec.inert.text import text_of


def datetime_(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """`datetime(2026-11-21 09:52:29+02:00)`."""
    raw = bytes_of(args[0], data) if 1 <= len(args) <= 2 else None
    if raw is None or len(raw) != 10 or not is_plain(made):
        return None
    year, month, micros = raw[0] * 256 + raw[1], raw[2] & 0x7F, int.from_bytes(raw[7:], "big")
    moment = datetime(year, month, raw[3], raw[4], raw[5], raw[6], micros)
    return _with_zone("datetime", str(moment), args[1:], data)


def time_(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """`time(09:52:29)`."""
    raw = bytes_of(args[0], data) if 1 <= len(args) <= 2 else None
    if raw is None or len(raw) != 6 or not is_plain(made):
        return None
    moment = time(raw[0] & 0x7F, raw[1], raw[2], int.from_bytes(raw[3:], "big"))
    return _with_zone("time", str(moment), args[1:], data)


def _with_zone(kind: str, moment: str, zone: list[Node], data: bytes) -> Parts:
    if not zone or zone == [None]:
        return (f"{kind}({moment})",)
    offset = _offset(zone[0])
    return (f"{kind}({moment}{offset})",) if offset else (f"{kind}({moment} ", Part(zone[0]), ")")


def _offset(zone: Node) -> str | None:
    """`+02:00`, for a zone that is nothing more."""
    if not isinstance(zone, Made) or not isinstance(zone.of, Name) or zone.of.key != "datetime.timezone":
        return None
    args = args_of(zone)
    if args is None or len(args) != 1 or not isinstance(args[0], Made) or not is_plain(zone):
        return None
    delta = _delta(args[0])
    return None if delta is None else datetime(2000, 1, 1, tzinfo=timezone(delta)).isoformat()[19:]


def zone_(made: Made, data: bytes) -> Parts | None:
    """`ZoneInfo._unpickle(key, 1)`."""
    method, args = made.of, args_of(made)
    if not isinstance(method, Made) or not isinstance(method.of, Name) or method.of.key != "builtins.getattr":
        return None
    path = args_of(method)
    if path is None or len(path) != 2 or args is None or len(args) != 2 or not is_plain(made):
        return None
    is_zone = isinstance(path[0], Name) and path[0].key == "zoneinfo.ZoneInfo" and text_of(data, path[1]) == "_unpickle"
    key = text_of(data, args[0])
    return (f"ZoneInfo({key!r})",) if is_zone and key is not None else None


def date_(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """`date(2026-11-21)`."""
    raw = bytes_of(args[0], data) if len(args) == 1 else None
    if raw is None or len(raw) != 4 or not is_plain(made):
        return None
    return (f"date({date(raw[0] * 256 + raw[1], raw[2], raw[3])})",)


def timedelta_(made: Made, args: list[Node], data: bytes) -> Parts | None:
    """`timedelta(1 day, 0:00:05)`."""
    delta = _delta(made)
    return None if delta is None else (f"timedelta({delta})",)


def _delta(made: Made) -> timedelta | None:
    args = args_of(made)
    known = isinstance(made.of, Name) and made.of.key == "datetime.timedelta" and is_plain(made)
    if not known or args is None or len(args) > 3 or not all(type(arg) is int for arg in args):
        return None
    return timedelta(*args)  # type: ignore[arg-type]
