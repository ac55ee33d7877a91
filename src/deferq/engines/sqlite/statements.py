"""SQL as text: named statements, read once from the `.sql` files beside this one."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
#: A statement about tasks that are called, and under this name the same about those that are delivered.
_TWIN = re.compile(r"^-- twin: (\w+)$", re.MULTILINE)
_TO_DELIVERED = (("deferq_ready", "deferq_delivered"), ("url is null", "url is not null"))


@cache
def statements(room: str) -> dict[str, str]:
    """The statements of `statements/<room>.sql` by name, without their comments."""
    text = files(__package__).joinpath("statements", f"{room}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    found: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        found[name] = _bare(body)
        if twin := _TWIN.search(body):
            found[twin[1]] = _of_delivered(found[name])
    return found


@cache
def schema_scripts() -> tuple[str, ...]:
    """The schema files in the order in which they are applied."""
    folder = files(__package__).joinpath("schema")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def _of_delivered(statement: str) -> str:
    for called, delivered in _TO_DELIVERED:
        statement = statement.replace(called, delivered)
    return statement


def _bare(body: str) -> str:
    lines = (line for line in body.strip().splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).rstrip(";")
