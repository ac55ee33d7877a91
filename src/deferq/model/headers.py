"""Headers that a task may bring along to its delivery."""

from __future__ import annotations

_RESERVED = {"host", "content-length", "transfer-encoding", "connection", "authorization"}
_RESERVED_FAMILIES = ("x-appengine-", "x-cloudtasks-", "x-deferq-")
#: Those of a family that whoever makes a task sets.
_OF_THE_MAKER = {"x-appengine-failfast", "x-appengine-current-namespace", "x-appengine-default-namespace"}


def is_reserved(name: str) -> bool:
    """Whether deferq, or HTTP itself, sets this header."""
    name = name.lower()
    if name in _OF_THE_MAKER:
        return False
    return name in _RESERVED or name.startswith(_RESERVED_FAMILIES)
