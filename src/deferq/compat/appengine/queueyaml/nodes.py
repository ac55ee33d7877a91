"""Typed values out of nodes. What does not fit is reported with its place, and the reading goes on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import yaml

from deferq.compat.appengine.queueyaml.composing import NULL
from deferq.compat.appengine.queueyaml.problems import Report, shown
from deferq.suggest import did_you_mean

#: Without zeros in front: YAML reads 010 as 8.
_WHOLE = re.compile(r"([+-]?(?:0|[1-9][0-9_]{0,18}))(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?")
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Field(NamedTuple):
    """A key and its value."""

    key: yaml.Node
    value: yaml.Node


def is_null(node: yaml.Node) -> bool:
    """Whether nothing is said there."""
    return isinstance(node, yaml.ScalarNode) and node.tag == NULL


def fields(
    node: yaml.Node, where: str, known: Sequence[str], report: Report, elsewhere: Mapping[str, str]
) -> dict[str, Field]:
    """The fields of a mapping that are known and say something.

    `where` is what the mapping is, for people; `elsewhere` says of other keys where they belong.
    """
    if not isinstance(node, yaml.MappingNode):
        report.wrong(node, f"Expected {where}: keys with values, such as '{known[0]}: ...', and this is {kind(node)}.")
        return {}
    found: dict[str, Field] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name is None:
            report.wrong(key, f"A key of {where} is a word, and this is {kind(key)}.")
        elif name not in known:
            hint = elsewhere.get(name) or did_you_mean(name, known, otherwise=f" There are: {', '.join(known)}.")
            report.wrong(key, f"There is no {shown(name)} in {where}.{hint}")
        elif name in found:
            line = found[name].key.start_mark.line + 1
            report.wrong(key, f"{name!r} stands in {where} twice, first in line {line}. Keep one of them.")
        else:
            found[name] = Field(key, value)
    return {name: field for name, field in found.items() if not is_null(field.value)}


def items(field: Field | None, what: str, report: Report) -> Iterator[yaml.Node]:
    """The items of a list."""
    if field is None:
        return
    if isinstance(field.value, yaml.SequenceNode):
        yield from field.value.value
    else:
        report.wrong(field.value, f"Expected a list of {what}, each with a dash, and this is {kind(field.value)}.")


def text(field: Field | None, name: str, report: Report) -> str | None:
    """The text of a field, as it stands there: 010 is no 8, and no is not False."""
    if field is None:
        return None
    if isinstance(field.value, yaml.ScalarNode):
        return str(field.value.value).strip()
    report.wrong(field.value, f"{name}: expected one value, and this is {kind(field.value)}.")
    return None


def whole(field: Field | None, name: str, low: int, high: int | None, report: Report) -> int | None:
    """A whole number from `low` to `high`."""
    said = text(field, name, report)
    if said is None or field is None:
        return None
    match = _WHOLE.fullmatch(said)
    number = int(match[1].replace("_", "")) if match else None
    if number is None or number < low or (high is not None and number > high):
        expected = f"from {low:,} on" if high is None else f"from {low:,} to {high:,}"
        report.wrong(field.value, f"{name}: expected a whole number {expected}, and this is {shown(said)}.")
        return None
    return number


def seconds(field: Field | None, name: str, high: float, report: Report) -> float | None:
    """A number of seconds, not negative."""
    said = text(field, name, report)
    if said is None or field is None:
        return None
    number = float(said) if _NUMBER.fullmatch(said) else math.nan
    if not 0 <= number <= high:
        report.wrong(field.value, f"{name}: expected a number of seconds, not negative, and this is {shown(said)}.")
        return None
    return number


def truth(field: Field | None, name: str, report: Report) -> bool | None:
    """True or False, in any of YAML's spellings."""
    said = text(field, name, report)
    if said is None or field is None:
        return None
    if said.lower() in _TRUTHS:
        return _TRUTHS[said.lower()]
    report.wrong(field.value, f"{name}: expected True or False, and this is {shown(said)}.")
    return None


def kind(node: yaml.Node) -> str:
    """What a node is, for people."""
    if isinstance(node, yaml.MappingNode):
        return "keys with values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if is_null(node) else shown(str(node.value))
