"""Every error deferq raises, in one tree.

    DeferqError
    ├── CallError                  the call to defer() was refused; nothing was stored
    │   ├── NotDeferrable          this cannot be called later            (also a TypeError)
    │   ├── NotSerializable        an argument cannot be stored           (also a TypeError)
    │   ├── PayloadTooLargeError   the arguments are larger than the limit (also a ValueError)
    │   ├── PayloadTooDeep         the arguments are nested too deeply for strict JSON (also a ValueError)
    │   ├── PayloadTooComplex      the arguments have too many values for strict JSON (also a ValueError)
    │   ├── InvalidOption          an option has a value that makes no sense (also a ValueError)
    │   │   ├── InvalidName        a queue, task or route name
    │   │   ├── InvalidUrl         no path of the application that a task could be delivered to
    │   │   └── ScheduleError      eta, countdown, expires
    │   │       └── NaiveDatetime  a datetime without a time zone
    │   ├── UnknownQueueError      the application declared its queues, and this is none of them
    │   ├── TaskAlreadyExistsError the name belongs to a live task
    │   ├── TombstonedTaskError    the name was used a short while ago
    │   └── TransactionError       the transaction it was to be stored within cannot take it
    │       ├── NoTransaction      none is open, or it can only be rolled back
    │       ├── NotTransactional   no connection that deferq knows, or a store without transactions of others
    │       ├── OtherDatabase      the connection is on another database than the store
    │       ├── StoreNotPrepared   the store's tables are not there yet, and cannot be made now
    │       ├── AsyncTransaction   the session is an async one, and the call does not wait
    │       ├── CannotUpgrade      it has read, and SQLite does not let it write any more
    │       └── WriteBesideTransaction  its own lock keeps the store out  (also a StoreUnavailable)
    ├── PayloadError               stored bytes that will not be run
    │   ├── PayloadCorrupt         they are not an envelope, or end early
    │   │   └── PayloadFormatError strict JSON that breaks its rules
    │   ├── PayloadSignatureError  the signature does not fit these bytes, this task, this target
    │   ├── UnknownKey             signed with a key this process does not have
    │   ├── UnsupportedEnvelope    written by a newer deferq
    │   └── CodecNotAllowed        a codec this application does not accept
    ├── TargetNotAllowed           a target outside the application's allow-list, or an absolute url
    ├── TargetUnknown              a target this process cannot find (deploy skew)
    ├── TaskNotFound               no task has this id
    ├── TaskNotFinished            wait() ran out of time                 (also a TimeoutError)
    ├── TaskFailed                 wait() on a task that died
    ├── TaskCancelled              wait() on a task that was cancelled
    ├── NoCurrentTask              current_task() outside a task          (also a RuntimeError)
    ├── LeaseLost                  settle_within() by a task that another worker holds now
    ├── ConfigError                the configuration contradicts itself   (also a ValueError)
    │   └── QueueYamlError         a queue.yaml has mistakes
    ├── PermanentTaskFailure       raised by a task: never again
    └── StoreError
        ├── StoreUnavailable       busy, full or unreachable; trying again later may help
        ├── StoreCorrupt           not a database, or not ours
        ├── SchemaTooNew           made by a newer deferq
        ├── InsecurePath           others could read or replace the file
        └── ForkedEngineError      an engine object was used after a fork without being reopened

Asking to be run again is no error: `RetryTask` and `Snooze` stand outside the tree.
A message says what happened, why, and what to do. It names the field and never echoes a payload or a secret.
Each docstring says what the error means, when it is raised, and what to do; the reference is made from them.
"""

from __future__ import annotations

from datetime import timedelta


class DeferqError(Exception):
    """Base of every error deferq raises.

    When: something goes wrong that deferq knows of, as one of those below it; catch it to catch them all.
    Do: see the error that it is; its message says what to do.
    """


class CallError(DeferqError):
    """The call was refused. Nothing was stored.

    When: `defer` refuses a call, as one of those below it.
    Do: mend the call; nothing was stored, so it can be made again.
    """


class NotDeferrable(CallError, TypeError):
    """This object cannot be found again by another process, so it cannot be called later.

    When: a lambda, a function inside a function, a generator, a coroutine that was called already, or what cannot
    be found again under its own name is deferred.
    Do: move the function to the top of a module, and pass what it needs as arguments.
    """


class NotSerializable(CallError, TypeError):
    """An argument cannot be stored, or could not be restored.

    `path` says which one (`args[0]['user'].lock`), `type_name` what stands there.

    When: an argument, a value that is carried along, or a result cannot be pickled or read back.
    Do: pass plain values, or a key by which the task can load the rest.
    """

    def __init__(self, message: str, *, path: str = "", type_name: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.type_name = type_name


class PayloadTooLargeError(CallError, ValueError):
    """The stored form of the arguments is `size` bytes, more than the `limit` of bytes.

    When: the arguments or the result are larger than the setting `payload_limit`.
    Do: keep the data in a file or a table and pass its key, or raise the limit.
    """

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class PayloadTooDeep(CallError, ValueError):
    """An argument is nested more deeply than strict JSON stores. `path` says which one.

    When: with payload="json", lists, dicts or registered values stand in one another more than 64 deep.
    Do: pass the data flat, or keep it in a file or a table and pass its key.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class PayloadTooComplex(CallError, ValueError):
    """The arguments have more values in them than strict JSON stores. `path` says at which one it became too many.

    When: with payload="json", a call or a result holds more than 100,000 values.
    Do: keep the data in a file or a table and pass its key, or divide it among several tasks.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class InvalidOption(CallError, ValueError):
    """An option has a value that makes no sense. `field` names it.

    When: an option of a call, a queue, a retry policy or a worker has a value that is not allowed, or does not
    exist.
    Do: give the value that the message asks for.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class InvalidName(InvalidOption):
    """A name has characters, or a length, that names may not have.

    When: a queue, a task or a route is given such a name.
    Do: use ASCII letters, digits, '-' and '_', and nothing personal: names are shown and logged.
    """


class InvalidUrl(InvalidOption):
    """No task can be delivered there: it is no path of the application, or not the same one to every server.

    When: `url` has another scheme, no slash or two in front, segments of dots, a fragment, spaces, or is too long.
    Do: give a path of the application, percent-encoded and in ASCII, such as /tasks/mail?kind=daily.
    """


class ScheduleError(InvalidOption):
    """A time (`eta`, `countdown`, `expires`) that makes no sense.

    When: a time is no time, lies beyond what can be stored, or is given twice.
    Do: pass a number of seconds, a timedelta, or a datetime with a time zone.
    """


class NaiveDatetime(ScheduleError):
    """A datetime without a time zone could mean any of 38 instants.

    When: an `eta` or `expires` has no time zone.
    Do: use `datetime.now(UTC)`, or `value.replace(tzinfo=...)`.
    """


class TransactionError(CallError):
    """The task cannot be stored, or settled, within the caller's transaction. Nothing was stored.

    When: `within=`, `settle_within()`, or a transaction that is open here, as one of those below it.
    Do: see the error that it is; its message says what to do.
    """


class NoTransaction(TransactionError):
    """No transaction is open that the task could be stored within, or the one that is can only be rolled back.

    When: `within=True` or `_transactional=True` outside a transaction; `within=` a connection that has begun none and
    begins none by itself; a session or an atomic block in which a statement has failed.
    Do: begin a transaction first, or roll the broken one back; leave the option out to store the task at once.
    """


class NotTransactional(TransactionError):
    """`within` is nothing that deferq can write by, or the store takes part in no transaction of others.

    When: `within=` is no connection, session or alias that deferq knows, or the store is `memory://`.
    Do: pass a sqlite3 connection, a session or a connection of SQLAlchemy, or Django's connection, on the SQLite file
    that is the store as well.
    """


class OtherDatabase(TransactionError):
    """The connection is on another database than the store. deferq reads the database id to tell.

    When: `within=` a connection to another file, to a copy of the store, to a database in memory, or to one that has
    the store attached.
    Do: let application and deferq use the same file, with `configure("sqlite:///app.db")`.
    """


class StoreNotPrepared(TransactionError):
    """The tables of the store are not there yet, or of an older release, and cannot be made while this is open.

    When: the first use of the store in its file is within a transaction.
    Do: run `deferq db upgrade`, or start a worker, before the first transaction.
    """


class AsyncTransaction(TransactionError):
    """The transaction is that of an async session, and this call cannot wait for it.

    When: `defer(...)` is called, and not awaited, while an AsyncSession is in a transaction on the store's database.
    Do: `await defer_async(...)` or `await call(...).defer_async(within=session)`.
    """


class CannotUpgrade(TransactionError):
    """The transaction has read before, and SQLite does not let it write any more: another one has written meanwhile.

    When: `within=` a transaction that began with BEGIN (deferred) and a read, while others write.
    Do: begin with BEGIN IMMEDIATE, and run this transaction again from its start.
    """


class UnknownQueueError(CallError):
    """The application declares its queues, and this is none of them.

    When: a task is deferred to a queue that is not among `configure(queues={...})`.
    Do: use one of them (the message names the nearest), or declare it.
    """


class TaskAlreadyExistsError(CallError):
    """A live task of this queue has the name. `task_id` is that task.

    When: a task is deferred under a name that a pending or running task of the queue has.
    Do: let that one do, with if_exists='return', or put the new one in its place, with if_exists='replace'.
    """

    def __init__(self, message: str, *, task_id: int) -> None:
        super().__init__(message)
        self.task_id = task_id


class TombstonedTaskError(CallError):
    """The name was used by a finished task and stays taken until `until` (microseconds since the epoch, UTC).

    When: a task is deferred under a name that a task of the queue had a short while ago.
    Do: use another name, wait, or say if_exists='replace'. The setting `tombstone_s` says how long a name stays
    taken.
    """

    def __init__(self, message: str, *, task_id: int, until: int) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.until = until


class PayloadError(DeferqError):
    """Stored bytes that will not be run. The task is kept.

    When: a worker, or whoever reads a result, refuses what is stored, as one of those below it.
    Do: see the error that it is; `deferq doctor` says how many tasks are concerned.
    """


class PayloadCorrupt(PayloadError):
    """The bytes are not an envelope of ours, end early, or cannot be decoded.

    When: such a payload or result is read back.
    Do: find out what else writes to the store, and look for damage with `deferq doctor --deep`; the task dies with
    the reason corrupt, and is kept.
    """


class PayloadFormatError(PayloadCorrupt):
    """The bytes are not the strict JSON that deferq writes. `offset` is the byte of the body at which it shows.

    When: a payload or a result that is stored as JSON is damaged, or was written by something else.
    Do: look at it with `deferq tasks show`, and defer the task anew; it dies with the reason corrupt, and is kept.
    """

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class PayloadSignatureError(PayloadError):
    """The signature does not fit these bytes, this task and this target.

    When: a payload or a result was changed, or belongs to another task or target.
    Do: defer the task anew, and find out who changed the store; the task dies with the reason corrupt, and is kept.
    """


class UnknownKey(PayloadError):
    """The envelope is signed with a key this process does not have.

    When: a task was signed with a secret that is not among `secrets`.
    Do: add the former secret behind the new one; until then the task is parked.
    """


class UnsupportedEnvelope(PayloadError):
    """The envelope was written by a newer deferq.

    When: a task of a newer release is read.
    Do: upgrade deferq here; until then the task is parked.
    """


class CodecNotAllowed(PayloadError):
    """The envelope names a codec that this application does not accept.

    When: a payload or a result is genuine, but in a form that this application does not read.
    Do: defer the task anew in a form that it accepts, or accept that form.
    """


class TargetNotAllowed(DeferqError):
    """The target lies outside the module prefixes the application allows, or a task was to go to an absolute url.

    When: a function is deferred, or a target looked up by a worker, that `allow` does not cover; or a text that is no
        target; or `url` is absolute.
    Do: add the prefix of its module to the setting `allow`, if it is yours; what is stored already is parked until
        then. For another application use a route, which whoever pushes maps to a base url.
    """


class TargetUnknown(DeferqError):
    """This process cannot find the target: older or newer code put the task here.

    When: a worker looks up what a task calls, or a class among its arguments, and has none of that name.
    Do: start the release that has it, or keep the old name alive with `aliases`; until then the task is parked.
    """


class TaskNotFound(DeferqError):
    """No task has this id; perhaps its retention is over.

    When: a task is looked up that is not there, or by what cannot be an id.
    Do: check the store and the id; settings say how long finished tasks are kept.
    """


class TaskNotFinished(DeferqError, TimeoutError):
    """The task did not finish in the time that `wait()` was given.

    When: `wait()` was given a time, and it is over.
    Do: wait longer, or see with `deferq status` whether a worker runs.
    """


class TaskFailed(DeferqError):
    """The task died; the message carries its last error.

    When: `wait()` is called on a task that died, or that dies meanwhile.
    Do: mend the cause, which `deferq tasks show ID` tells with its traceback, and requeue the task.
    """


class TaskCancelled(DeferqError):
    """The task was cancelled or expired before it succeeded.

    When: `wait()` is called on a task that is cancelled, or that expires.
    Do: requeue the task if it is to run after all.
    """


class NoCurrentTask(DeferqError, RuntimeError):
    """`current_task()` was called outside a task.

    When: code asks for the current task and runs outside one.
    Do: ask `in_task()` first where code runs in both places.
    """


class LeaseLost(DeferqError):
    """The task is not this attempt's any more: its lease is over, or another worker holds it.

    When: a task calls `settle_within()` too late.
    Do: let it go through, so that the transaction rolls back: another attempt does the work.
    """


class ConfigError(DeferqError, ValueError):
    """The configuration contradicts itself, or names something that is not there.

    When: a setting from the call, the environment or the project file is unknown or has a value that is not
    allowed.
    Do: give the value that the message asks for; `deferq config show` tells where each comes from.
    """


class QueueYamlError(ConfigError):
    """A queue.yaml has mistakes. `problems` are all that were found, each with `line`, `column` and `text`.

    When: the file is read: with the first task, when a worker starts, or by `deferq queues load`.
    Do: mend the lines that the message names; `deferq queues load FILE --check` says whether all are right.
    """

    def __init__(self, message: str, *, problems: tuple[tuple[int, int, str], ...]) -> None:
        super().__init__(message)
        self.problems = problems


class PermanentTaskFailure(DeferqError):
    """Raise it in a task that can never succeed: the task dies at once, visibly.

    When: a task raises it; deferq itself never does.
    Do: nothing: the task is dead, and can be requeued when the cause is gone.
    """


class StoreError(DeferqError):
    """The store could not do what it was asked to do.

    When: the store fails, mostly as one of those below it.
    Do: see the error that it is; `deferq doctor` looks into the store.
    """


class StoreUnavailable(StoreError):
    """The store is busy, full, read-only or unreachable. Nothing was changed, or the message says: not certain.

    When: the file cannot be opened, read, written or found, or is held by another program for too long.
    Do: what the message says, then the same again. Where it is not certain whether a task was stored, defer it
    under a name.
    """


class WriteBesideTransaction(TransactionError, StoreUnavailable):
    """Another connection of this process holds the write lock of the store's file, in a transaction that is open.

    When: a task is stored apart from a transaction that this very thread has open on the same file: each would wait
    for the other.
    Do: store it within that transaction (`within=`), or after its commit.
    """


class StoreCorrupt(StoreError):
    """The file is not a database, is damaged, or belongs to another program. It was left as it is.

    When: such a file is opened or read.
    Do: restore it from a backup, or name another file. `deferq doctor --deep` looks for damage.
    """


class SchemaTooNew(StoreError):
    """The database was made by a newer deferq. It was left as it is.

    When: a newer release has upgraded the store.
    Do: upgrade deferq here, or name another store.
    """


class InsecurePath(StoreError):
    """Somebody else could read, replace or redirect the file.

    When: a store or a secret is opened that is a link, is another user's, or lies where others can write or read
    it.
    Do: mend owner and mode as the message says, or name a file in a folder of your own.
    """


class ForkedEngineError(StoreError):
    """An engine belongs to the process that opened it.

    When: an engine is used in a forked process, and cannot be opened anew there.
    Do: make a new one there, or start the process afresh (spawn).
    """


class RetryTask(Exception):
    """Raise it to run the task again, quietly: it counts as an attempt and leaves no traceback in the log.

    `after` is in seconds, or a timedelta; None means the retry policy's own backoff.

    When: a task raises it; deferq itself never does.
    Do: nothing: the task runs again. When its attempts are spent, it dies.
    """

    def __init__(self, after: float | timedelta | None = None, reason: str = "") -> None:
        super().__init__(reason or "retry")
        self.after_s = after.total_seconds() if isinstance(after, timedelta) else after
        self.reason = reason


class Snooze(Exception):
    """Raise it to run the task later. It does not count as an attempt. `after` is in seconds, or a timedelta.

    When: a task raises it; deferq itself never does.
    Do: nothing: the task runs again later.
    """

    def __init__(self, after: float | timedelta, reason: str = "") -> None:
        super().__init__(reason or "snooze")
        self.after_s = after.total_seconds() if isinstance(after, timedelta) else after
        self.reason = reason
