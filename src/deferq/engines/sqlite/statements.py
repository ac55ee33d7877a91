"""SQL as text: named statements, read once from the `.sql` files beside this one."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def statements(room: str) -> dict[str, str]:
    """The statements of `statements/<room>.sql` by name, without their comments."""
    text = files(__package__).joinpath("statements", f"{room}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: _bare(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}


@cache
def schema_scripts() -> tuple[str, ...]:
    """The schema files in the order in which they are applied."""
    folder = files(__package__).joinpath("schema")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def _bare(body: str) -> str:
    lines = (line for line in body.strip().splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).rstrip(";")
