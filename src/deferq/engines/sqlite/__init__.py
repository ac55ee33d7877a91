"""Tasks in one SQLite file: the embedded default.

Read in this order: `engine` (what it offers), `commits` (how a write becomes durable), `putting`, `leasing`,
`settling`, `reading`, `changing`, `sweeping`. The SQL stands in `schema/` and `statements/`.
"""

from deferq.engines.sqlite.engine import SqliteEngine

__all__ = ["SqliteEngine"]
