"""Moving the write-ahead log into the database, one process at a time and never beside a writer.

SQLite before 3.51.3 can lose a reset of the log when two connections checkpoint and write at the same moment. Here a
checkpoint runs only behind the gate, where no other deferq process writes, and automatic checkpoints are off.

The log is also lengthened in larger pieces than SQLite does it: a commit that makes the file longer has to sync the
file's size as well, which takes twice as long as writing over what is there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress

from deferq.engines.sqlite.connections import BUSY_TIMEOUT_MS
from deferq.engines.sqlite.gate import Gate

logger = logging.getLogger("deferq.sqlite")

#: Move the log about every so many bytes; larger means fewer fsyncs and longer recoveries.
CHECKPOINT_BYTES = 16 * 1024 * 1024
#: A log that readers kept from starting over is cut once it is this large.
TRUNCATE_BYTES = 64 * 1024 * 1024
#: What a commit adds to the log besides its rows, and what a changed row adds: estimates, on the high side.
BYTES_PER_COMMIT, BYTES_PER_ROW = 6 * 1024, 400


#: Commits of a process between two looks at the log, unless they changed many rows.
LOOK_EVERY, MANY_ROWS = 8, 64
#: How much the log is lengthened at a time, from the second look on: a short script needs no room.
ROOM = bytes(1024 * 1024)


class Checkpointer:
    """Keeps the log bounded, and with some room in it. Its methods are called behind the gate.

    How much was written since the last checkpoint is estimated, over all processes, in the gate's number: the size of
    the log file does not tell, since after a checkpoint it is written from its start again. By how much it has grown
    since then tells of large payloads, which the estimate does not see.
    """

    def __init__(self, gate: Gate, path: str) -> None:
        self._gate = gate
        self._wal = f"{path}-wal"
        self._log: int | None = None
        self._changes = 0
        self._commits = 0
        #: Whether the last commit made the file longer, so that it wants room.
        self.outgrown = False

    def make_room(self) -> None:
        """Lengthen the log if the last commit had to. Call it inside a write transaction: nobody else appends then.

        SQLite passes over what stands behind the last valid frame, and later writes over it.
        """
        if not self.outgrown or self._log is None:
            return
        self.outgrown = False
        size = self.wal_bytes()
        if size < CHECKPOINT_BYTES:
            with suppress(OSError):  # a full disk is told by the commit that cannot do without
                self._gate.room_ends = size + os.pwrite(self._log, ROOM, size)

    def after_commit(self, connection: sqlite3.Connection) -> None:
        """Take note of a commit, and every few commits of what they wrote. Call it outside a transaction."""
        self._commits += 1
        if self._commits % LOOK_EVERY == 0 or connection.total_changes - self._changes > MANY_ROWS:
            self._look(connection)

    def _look(self, connection: sqlite3.Connection) -> None:
        """Checkpoint if enough has been written since the last one."""
        changes = connection.total_changes
        rows, self._changes = changes - self._changes, changes
        written = self._gate.logged + LOOK_EVERY * BYTES_PER_COMMIT + rows * BYTES_PER_ROW
        size = self.wal_bytes()
        if max(written, self._grown(size)) >= CHECKPOINT_BYTES:
            self.checkpoint(connection)
            self._gate.log_bytes = size = self.wal_bytes()
            written = 0
        self._gate.logged = written
        self.outgrown = size > self._gate.room_ends and self._commits > LOOK_EVERY

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move what can be moved; cut the log file if it has become far too large.

        Raises sqlite3.Error if the connection is not as it was before.
        """
        large = self.wal_bytes() >= TRUNCATE_BYTES
        connection.execute("pragma busy_timeout = 100")
        try:
            connection.execute(
                "pragma wal_checkpoint(truncate)" if large else "pragma wal_checkpoint(passive)"
            ).fetchone()
        except sqlite3.Error as error:
            # What was committed stays committed, in the log; a later commit tries again.
            # Told as text: a record that is kept would keep the error, and with it an open cursor.
            logger.warning("the log %s could not be moved into the database: %s", self._wal, str(error))
        finally:
            connection.execute(f"pragma busy_timeout = {BUSY_TIMEOUT_MS}")

    def _grown(self, size: int) -> int:
        """By how much the log file has grown since the last checkpoint, or since it was cut."""
        if size < self._gate.log_bytes:
            self._gate.log_bytes = self._gate.room_ends = size
        return size - self._gate.log_bytes

    def wal_bytes(self) -> int:
        """Size of the log file."""
        if self._log is None:
            try:
                self._log = os.open(self._wal, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return 0
        # Not by `stat`: after one, the next write has to keep a new time of change, and a commit takes a third longer.
        return os.lseek(self._log, 0, os.SEEK_END)

    def close(self) -> None:
        """Let go of the log file."""
        if self._log is not None:
            os.close(self._log)
            self._log = None
