"""Tasks in the memory of this process: for tests, and for applications that may forget.

A real engine: it passes the same conformance suite as the others and knows no short cut. Every method is one *stroke*:
it holds the one lock, reads the clock once and rings the bells at its end.

How a lease stays cheap: a queue keeps what is due later in one agenda (a heap by time). What has become due moves into
*lanes*, one agenda for each priority and kind of task, so that a turn looks at the heads of lanes and at nothing else.
Nothing is ever searched in an agenda: a row carries a ticket that changes whenever the row moves, and entries with an
older ticket are dropped when they surface, or when they may be half of all.

Read in this order: `engine` (what it offers), `rows`, `agenda`, `queue`, `names`, `tasks` (how rows hang together),
then what is done with them: `putting`, `leasing`, `settling`, `reading`, `changing`, `sweeping`. The verbs are the same
as in the SQLite engine, so that the two can be read side by side.
"""

from deferq.engines.memory.engine import MemoryEngine

__all__ = ["MemoryEngine"]
