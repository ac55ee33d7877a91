"""Amounts with a unit: rates, ages, sizes."""

from __future__ import annotations

import re

from deferq.compat.appengine.queueyaml.nodes import Field, text
from deferq.compat.appengine.queueyaml.problems import Report, shown
from deferq.errors import InvalidOption
from deferq.model.limits import US, check_rate, rate_of
from deferq.model.retry import SECONDS_MAX

#: Starts in a second, of one queue.
RATE_MAX = 500
PAUSED = "0"
_PLAIN = re.compile(r"[0-9]{1,12}(\.[0-9]+)?")
_RATE = re.compile(r"[0-9]+(\.[0-9]*)?\s*/\s*[smhd]")
_ZERO = re.compile(r"0+(\.0*)?(\s*/\s*[smhd])?")
_AMOUNT = r"([0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,2})?)"
_AGE = re.compile(_AMOUNT + r"\s*([smhd])")
_SIZE = re.compile(_AMOUNT + r"\s*([BKMGT]?)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def rate(field: Field | None, report: Report) -> str | None:
    """A rate as `Queue` takes it, or `PAUSED` for 0. None: none is given, or it is wrong."""
    said = text(field, "rate", report)
    if said is None or field is None:
        return None
    if _ZERO.fullmatch(said):
        return PAUSED
    try:
        checked = check_rate(said)
    except InvalidOption:
        report.wrong(field.value, _no_rate(said))
        return None
    if checked is not None and rate_of(checked).tokens * US > RATE_MAX * rate_of(checked).period_us:
        report.wrong(
            field.value, f"rate: a queue runs at {RATE_MAX} a second at most, and this is {shown(said)}. Lower it."
        )
        return None
    return checked


def _no_rate(said: str) -> str:
    if _RATE.fullmatch(said):
        return f"rate: {shown(said)} cannot be kept: it is less than one in a year, or has too many digits. Round it."
    meant = f" Did you mean '{said}/s'?" if _PLAIN.fullmatch(said) else ""
    return (
        "rate: expected a number of tasks per s, m, h or d, such as 5/s, 0.5/s or 100/h, or 0, which pauses the queue,"
        f" and this is {shown(said)}.{meant}"
    )


def age(field: Field | None, report: Report) -> float | None:
    """An age in whole seconds."""
    said = text(field, "task_age_limit", report)
    if said is None or field is None:
        return None
    match = _AGE.fullmatch(said)
    age_s = int(float(match[1]) * _SECONDS[match[2]]) if match else 0
    if 1 <= age_s <= SECONDS_MAX:
        return float(age_s)
    report.wrong(
        field.value,
        "task_age_limit: expected an age of a second or more with a unit (s, m, h or d), such as 2d, and this is"
        f" {shown(said)}.",
    )
    return None


def size(field: Field | None, report: Report) -> int | None:
    """A number of bytes."""
    said = text(field, "total_storage_limit", report)
    if said is None or field is None:
        return None
    match = _SIZE.fullmatch(said)
    if match is None:
        report.wrong(
            field.value,
            "total_storage_limit: expected an amount, with B, K, M, G or T if it is not in bytes, such as 120M, and"
            f" this is {shown(said)}.",
        )
        return None
    return int(float(match[1]) * 1024 ** "BKMGT".find(match[2] or "B"))
