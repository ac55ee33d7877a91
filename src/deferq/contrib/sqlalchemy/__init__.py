"""Tasks in transactions of SQLAlchemy 2: `within=` a session or a connection, sync and async, and their detection.

`watch()` is called by deferq itself as soon as it sees that SQLAlchemy is loaded: when the application makes a Deferq
or declares a deferrable, and when it defers. Call it yourself where the very first transaction may begin before that.
"""

from deferq.contrib.sqlalchemy.joining import transaction
from deferq.contrib.sqlalchemy.watching import watch

__all__ = ["transaction", "watch"]
