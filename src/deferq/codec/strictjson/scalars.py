"""Values that JSON has no word for and that are stored as one text each: `{"$uuid": "…"}`."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any, NamedTuple
from uuid import UUID

from deferq.codec.strictjson import moments
from deferq.codec.strictjson.moments import Unwritable

#: Of our own, since that of the thread may round, trap, and write a small e.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, capitals=1, clamp=0, flags=[], traps=[])


class Scalar(NamedTuple):
    """How one type is stored."""

    kind: type
    tag: str
    #: Raises Unwritable for a value that would not come back.
    write: Callable[[Any], str]
    #: Raises ValueError, ArithmeticError or OSError for what is no such text, TargetUnknown for an unknown zone.
    read: Callable[[str], Any]


def restored(scalar: Scalar, text: str) -> Any:
    """The value that `text` stands for; raises ValueError for any text that `write` would not have written."""
    try:
        value = scalar.read(text)
        if type(value) is scalar.kind and scalar.write(value) == text:
            return value
    except (ValueError, ArithmeticError, OSError):
        pass
    raise ValueError


def _write_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise Unwritable("it is not a finite number; pass None, or its text.")
    return _EXACT.to_sci_string(value)


def _write_bytes(value: bytes) -> str:
    return b64encode(value).decode("ascii")


_ALL = (
    Scalar(bytes, "$bytes", _write_bytes, lambda text: b64decode(text, validate=True)),
    Scalar(datetime, "$datetime", moments.write_datetime, moments.read_datetime),
    Scalar(date, "$date", moments.write_date, moments.read_date),
    Scalar(time, "$time", moments.write_time, moments.read_time),
    Scalar(timedelta, "$timedelta", moments.write_timedelta, moments.read_timedelta),
    Scalar(Decimal, "$decimal", _write_decimal, lambda text: Decimal(text, _EXACT)),
    Scalar(UUID, "$uuid", str, UUID),
)
BY_TYPE: Mapping[type, Scalar] = {scalar.kind: scalar for scalar in _ALL}
BY_TAG: Mapping[str, Scalar] = {scalar.tag: scalar for scalar in _ALL}
