"""Small versioned documents."""

from __future__ import annotations

from deferq.engines.base import Record, RecordChange


class Records:
    """The records of one engine."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Record]] = {}

    def page(self, kind: str, after: str | None, limit: int) -> list[Record]:
        """Records of a kind by key."""
        stored = self._kinds.get(kind, {})
        keys = sorted(key for key in stored if after is None or key > after)
        return [stored[key] for key in keys[:limit]]

    def change(self, change: RecordChange) -> bool:
        """Compare and set one record; says whether it applied."""
        stored = self._kinds.setdefault(change.kind, {})
        known = stored.get(change.key)
        if change.expected != (known.version if known else 0):
            return False
        if change.document is None:
            stored.pop(change.key, None)
        else:
            stored[change.key] = Record(change.kind, change.key, change.expected + 1, change.due, change.document)
        return True
