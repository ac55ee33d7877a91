"""A `connect` for the engine that notes each statement, and lets one of them go wrong."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple, cast

EXIT_CODE = 17
Do = Callable[[], sqlite3.Cursor]
Strike = Callable[["Trapped", Do], sqlite3.Cursor]


class Fault(NamedTuple):
    """What goes wrong with one statement."""

    name: str
    strike: Strike
    #: The process ends.
    ends: bool = False
    #: The rollback after it goes wrong as well.
    spoils_rollback: bool = False


#: Which fault a statement meets, by its number and text; None: none.
Choose = Callable[[int, str], Fault | None]


class Trap:
    """Notes statements from `arm` on; each meets the fault that is chosen for it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.connections: list[Trapped] = []
        #: The statements that went wrong.
        self.struck: list[str] = []
        self._choose: Choose | None = None
        self._spoil_rollback = False

    def __call__(self, path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256, factory=Trapped
        )
        connection.trap = self
        self.connections.append(connection)
        return connection

    def arm(self, choose: Choose = lambda number, sql: None) -> None:
        """From now on statements count."""
        self.seen.clear()
        self.struck.clear()
        self._choose = choose

    def arm_at(self, at: int, fault: Fault) -> None:
        """One statement is to meet a fault: the one with this number."""
        self.arm(lambda number, sql: fault if number == at else None)

    def arm_for(self, begins: str, fault: Fault) -> None:
        """One statement is to meet a fault: the first that begins so."""
        self.arm(lambda number, sql: fault if sql.startswith(begins) and not self.struck else None)

    def disarm(self) -> None:
        self._choose = None
        self._spoil_rollback = False

    def pass_through(self, connection: Trapped, sql: str, do: Do) -> sqlite3.Cursor:
        if self._choose is None:
            return do()
        number = len(self.seen)
        self.seen.append(sql)
        if sql == "rollback" and self._spoil_rollback:
            raise ERRORS["io"]()
        fault = self._choose(number, sql)
        if fault is None:
            return do()
        self.struck.append(sql)
        self._spoil_rollback = fault.spoils_rollback
        return fault.strike(connection, do)


class Trapped(sqlite3.Connection):
    """Passes every statement through its trap."""

    trap: Trap

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return self.trap.pass_through(self, sql, lambda: sqlite3.Connection.execute(self, sql, *parameters))

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return self.trap.pass_through(self, sql, lambda: sqlite3.Connection.executemany(self, sql, *parameters))


# ---- faults


def _of_sqlite(code: int, name: str, message: str) -> Callable[[], BaseException]:
    def make() -> BaseException:
        error = sqlite3.OperationalError(message)
        error.sqlite_errorcode, error.sqlite_errorname = code, name
        return error

    return make


#: What a statement may raise, by name.
ERRORS: dict[str, Callable[[], BaseException]] = {
    "busy": _of_sqlite(sqlite3.SQLITE_BUSY, "SQLITE_BUSY", "database is locked"),
    "io": _of_sqlite(sqlite3.SQLITE_IOERR_WRITE, "SQLITE_IOERR_WRITE", "disk I/O error"),
    "full": _of_sqlite(sqlite3.SQLITE_FULL, "SQLITE_FULL", "database or disk is full"),
    "corrupt": _of_sqlite(sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT", "database disk image is malformed"),
    "interrupt": _of_sqlite(sqlite3.SQLITE_INTERRUPT, "SQLITE_INTERRUPT", "interrupted"),
    "memory": MemoryError,
    "ctrl-c": KeyboardInterrupt,
}


def _before(make: Callable[[], BaseException]) -> Strike:
    def strike(connection: Trapped, do: Do) -> sqlite3.Cursor:
        raise make()

    return strike


def _after(make: Callable[[], BaseException]) -> Strike:
    """It was done, and for a COMMIT that means committed; but nobody hears of it."""

    def strike(connection: Trapped, do: Do) -> sqlite3.Cursor:
        do()
        raise make()

    return strike


class _Unreadable:
    """A cursor that fails once somebody wants a row of it."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.rowcount = cursor.rowcount
        self._cursor = cursor

    def fetchone(self) -> Any:
        raise ERRORS["io"]()

    fetchall = __iter__ = fetchone

    def close(self) -> None:
        self._cursor.close()


def _fail_at_rows(connection: Trapped, do: Do) -> sqlite3.Cursor:
    return cast(sqlite3.Cursor, _Unreadable(do()))


def _drop_before(connection: Trapped, do: Do) -> sqlite3.Cursor:
    connection.close()
    return do()


def _drop_after(connection: Trapped, do: Do) -> sqlite3.Cursor:
    do()
    connection.close()
    raise sqlite3.ProgrammingError("Cannot operate on a closed database.")


def _exit(connection: Trapped, do: Do) -> sqlite3.Cursor:
    os._exit(EXIT_CODE)


def _exit_after(connection: Trapped, do: Do) -> sqlite3.Cursor:
    do()
    os._exit(EXIT_CODE)


#: One of each kind: an error before, an error after, a dropped connection, the end of the process.
KINDS = (
    Fault("io before", _before(ERRORS["io"])),
    Fault("io after", _after(ERRORS["io"])),
    Fault("dropped before", _drop_before),
    Fault("exit before", _exit, ends=True),
)
#: The same with other errors, and at the other side of the statement.
VARIANTS = (
    *(Fault(f"{name} before", _before(make)) for name, make in ERRORS.items() if name != "io"),
    Fault("busy before, and no rollback", _before(ERRORS["busy"]), spoils_rollback=True),
    Fault("ctrl-c after, and no rollback", _after(ERRORS["ctrl-c"]), spoils_rollback=True),
    Fault("ctrl-c after", _after(ERRORS["ctrl-c"])),
    Fault("io at the rows", _fail_at_rows),
    Fault("dropped after", _drop_after),
    Fault("exit after", _exit_after, ends=True),
)
FAULTS = KINDS + VARIANTS
#: An error after the deed with a code by which SQLite says that nothing was done: for long nights.
CONTRADICTIONS = tuple(
    Fault(f"{name} after", _after(make)) for name, make in ERRORS.items() if name not in ("io", "ctrl-c")
)
