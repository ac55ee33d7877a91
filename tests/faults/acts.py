"""What the engine can do, in acts. Each begins with a file as `prepare` leaves it.

A step may be repeated after a failure of which nobody knows how far it had got. So it makes the same tasks each time,
and what it may only expect of a first call it asks for with `play.again or ...`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from deferq.engines.answers import Clash, Existing, Stored, TakeUp, Tombstoned
from deferq.engines.base import Cancel, Delete, Filter, RecordChange, Reschedule, Retention
from deferq.engines.sqlite.statements import schema_scripts
from deferq.model.outcome import SUCCEEDED, Cancelled, ErrorText, Failed, Parked, Retried, Snoozed, Succeeded
from deferq.model.queue import Queue
from deferq.model.retry import RetryPolicy
from deferq.model.settings import Declare, Pause, ResetLimits, Resume, SetLimits
from deferq.model.state import State
from deferq.model.transitions import US
from deferq.transactions.bare import BareConnection
from tests.faults.stage import DISPATCHER, LEASE_S, TOMBSTONE_S, Act, Play

LARGE = b"large " * 400
ERROR = ErrorText(error_type="ValueError", message="no", traceback="line 1")
FAILED = Failed(error=ERROR)
DIED = Failed(error=ERROR, permanent=True, reason="permanent")
ONCE = RetryPolicy(max_attempts=1)
NO_JITTER = RetryPolicy(max_attempts=30, jitter=False, min_backoff_s=1, max_backoff_s=1)


def id_of(number: int) -> int:
    return 10_000 + number


def states(play: Play, *numbers: int) -> list[State]:
    return [task.state for task in play.engine.get([id_of(number) for number in numbers])]


# ---- opening


def open_it(play: Play) -> None:
    play.engine.open()


def look_at_the_file(play: Play) -> None:
    assert play.engine.info()["schema"] == len(schema_scripts())


def check_the_file(play: Play) -> None:
    assert play.engine.check() == []
    assert play.engine.check(full=True) == []


def use_it(play: Play) -> None:
    assert play.engine.put([play.task(1)]) == [Stored(id_of(1))]


def some_tasks(play: Play) -> None:
    play.engine.put([play.task(number) for number in range(90, 95)])


def go_back_to_the_first_schema(play: Play) -> None:
    """The file as the first release left it."""
    play.engine.open()
    with closing(sqlite3.connect(play.engine.path, isolation_level=None)) as connection:
        for (name,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            connection.execute(f"drop table {name}")
        connection.executescript(schema_scripts()[0])
        connection.execute("insert into deferq_meta (key, value) values ('schema', '1'), ('database_id', 'it')")


# ---- putting


def put_plain(play: Play) -> None:
    for number in (1, 2, 3):
        assert play.engine.put([play.task(number)]) == [Stored(id_of(number))]
    assert play.engine.put([play.task(2)]) == [Stored(id_of(2))]


def put_what_clashes(play: Play) -> None:
    assert play.engine.put([play.task(3, payload=b"of somebody else")]) == [Clash(id_of(3))]


def put_large(play: Play) -> None:
    for _ in range(2):
        assert play.engine.put([play.task(4, "other", payload=LARGE)]) == [Stored(id_of(4))]


def put_with_a_spill(play: Play) -> None:
    """The task and what belongs to it are stored together, or neither is."""
    tasks = [play.task(50, "spilt", spill=LARGE), play.task(51, "spilt", name="spilt", spill=LARGE)]
    for task in tasks:
        assert play.engine.put([task]) == [Stored(task.id)]
    assert play.engine.put([play.task(52, "spilt", name="spilt", spill=LARGE)]) == [Existing(id_of(51))]
    assert [play.engine.spill(id_of(number)) for number in (50, 51, 52)] == [LARGE, LARGE, None]


def put_batch(play: Play) -> None:
    tasks = [play.task(number, "batch", payload=LARGE if number % 50 == 0 else None) for number in range(100, 225)]
    assert play.engine.put(tasks) == [Stored(task.id) for task in tasks]
    play.engine.put([*tasks[:2], play.task(226, "batch")])


def put_named(play: Play) -> None:
    name = play.task(5, name="once")
    assert play.engine.put([name]) == [Stored(id_of(5))]
    assert play.engine.put([play.task(6, name="once")]) == [Existing(id_of(5))]
    assert play.engine.holders("default", ["once", "nobody"]) == [id_of(5), None]
    answers = play.engine.put([play.task(7, name="two"), play.task(8), play.task(9, name="two")])
    assert answers == [Stored(id_of(7)), Stored(id_of(8)), Existing(id_of(7))]


def replace_pending(play: Play) -> None:
    (answer,) = play.engine.put([play.task(10, name="two", if_exists="replace")])
    assert answer == Stored(id_of(10), id_of(7)) or (play.again and answer == Stored(id_of(10)))
    assert states(play, 7) == [State.CANCELLED]


def replace_leased(play: Play) -> None:
    assert play.engine.put([play.task(11, "held", name="held", if_exists="replace")]) == [Stored(id_of(11))]


def tombstone_holds(play: Play) -> None:
    """I7: one acceptance of a name, until its tombstone is over."""
    (answer,) = play.engine.put([play.task(12, "done", name="done")])
    assert answer == Tombstoned(id_of(81), play.clock.now + round(TOMBSTONE_S * US))
    (answer,) = play.engine.put([play.task(13, "gone", name="gone", if_exists="replace")])
    assert answer == Stored(id_of(13))


def one_is_leased_and_two_are_done(play: Play) -> None:
    play.engine.put([play.task(80, "held", name="held"), play.task(81, "done", name="done")])
    play.engine.put([play.task(82, "gone", name="gone")])
    play.lease("held", queues=("held",))
    play.lease("done", queues=("done", "gone"))
    play.engine.turn([play.settlement(task, SUCCEEDED) for task in play.notes["done"]], None)


# ---- within a transaction of somebody else's


@contextmanager
def transaction_of_a_caller(play: Play) -> Iterator[BareConnection]:
    """Nothing goes wrong with what is not ours: its beginning and its end."""
    with closing(play.engine.connect()) as connection:
        sqlite3.Connection.execute(connection, "begin immediate")
        yield BareConnection(connection)
        sqlite3.Connection.execute(connection, "commit")


def put_within(play: Play) -> None:
    tasks = [play.task(number, "within", payload=LARGE if number % 2 else None) for number in range(1, 5)]
    with transaction_of_a_caller(play) as connection:
        answers = play.engine.within.put(connection, tasks, {"within": Queue(rate="5/s")})
    assert answers == [Stored(task.id) for task in tasks]


def put_within_what_is_named(play: Play) -> None:
    with transaction_of_a_caller(play) as connection:
        play.engine.within.prepare(connection)
        assert play.engine.within.is_on(connection)
        tasks = [play.task(5, "within", name="once"), play.task(6, "within", name="once")]
        assert play.engine.within.put(connection, tasks, {}) == [Stored(id_of(5)), Existing(id_of(5))]
    assert play.engine.within.ring([id_of(5)]) in (True, None, False)


def settle_within(play: Play) -> None:
    for task in play.notes["held"]:
        with transaction_of_a_caller(play) as connection:
            assert play.engine.within.settle(connection, play.settlement(task, Succeeded(b"result")))
        assert play.engine.within.is_settled(play.settlement(task, SUCCEEDED))


def look_whether_the_store_is_free(play: Play) -> None:
    play.engine.within.check_free()


def a_few_are_leased(play: Play) -> None:
    play.engine.put([play.task(number, "held", name=f"n{number}") for number in (80, 81)])
    play.lease("held", queues=("held",))


# ---- leasing and settling


def work_in_three_queues(play: Play) -> None:
    first = [play.task(number, f"q{number % 3}", priority=number % 2) for number in range(1, 13)]
    once = [play.task(number, "q0", retry=ONCE) for number in (13, 14)]
    named = [play.task(number, "q1", name=f"n{number}", payload=LARGE) for number in (15, 16)]
    patient = [play.task(number, "patient", retry=NO_JITTER) for number in range(20, 28)]
    play.engine.put([*first, *once, *named, *patient])
    play.engine.put([play.task(30, "often", retry=NO_JITTER)])
    for _ in range(20):  # its failures fill what is kept of them
        (task,) = play.lease("often", queues=("often",)).leased
        play.engine.turn([play.settlement(task, FAILED)], None)
        play.clock.advance(2)


def lease_some(play: Play) -> None:
    leased = play.lease("first", 4, ahead=4, queues=("q0", "q1", "q2")).leased
    assert len(leased) == 8


def settle_in_a_turn_that_leases(play: Play) -> None:
    first = play.notes["first"]
    done = [
        play.settlement(first[0], Succeeded(b"result"), then=[play.task(40, "later"), play.task(41, "later")]),
        play.settlement(first[1], Succeeded(LARGE), duration_s=0.5),
        *(play.settlement(task, SUCCEEDED, duration_s=0.1) for task in first[2:]),
    ]
    turn = play.lease("second", 20, done, queues=("q0", "q1", "q2"))
    assert not turn.lost
    assert len(turn.leased) == 8


def settle_the_rest(play: Play) -> None:
    play.engine.turn([play.settlement(task, Succeeded(b"r")) for task in play.notes["second"]], None)


def lease_the_patient(play: Play) -> None:
    assert len(play.lease("patient", 8, queues=("patient",)).leased) == 8


def lease_the_one_that_fails_often(play: Play) -> None:
    (task,) = play.lease("often", queues=("often",)).leased
    assert task.starts == 21


def settle_in_every_way(play: Play) -> None:
    tasks = play.leased("patient")
    outcomes = {
        20: FAILED,
        21: DIED,
        22: Retried(after_s=5, reason="not yet"),
        23: Snoozed(after_s=7),
        24: Parked(error=ERROR),
        25: Cancelled(),
        26: Failed(error=ERROR, reason="timed out"),
        27: SUCCEEDED,
    }
    follow_up = [play.task(42, "later", name="then"), play.task(43, "later", payload=LARGE)]
    settlements = [play.settlement(tasks[number], outcome) for number, outcome in outcomes.items()]
    settlements[0] = settlements[0]._replace(then=tuple(follow_up))
    settlements.append(play.settlement(play.notes["often"][0], FAILED))
    assert not play.engine.turn(settlements, None).lost
    ended = [State.PENDING, State.DEAD, *[State.PENDING] * 3, State.CANCELLED, State.PENDING, State.SUCCEEDED]
    assert states(play, *range(20, 28)) == ended


def settle_again(play: Play) -> None:
    """I4: who settles again what stands already changes nothing, and somebody else's lease is lost."""
    tasks = play.leased("patient")
    repeated = [play.settlement(tasks[27], SUCCEEDED), play.settlement(tasks[21], DIED)]
    other = play.settlement(tasks[22], SUCCEEDED)
    turn = play.engine.turn([*repeated, other], None)
    assert [task.id for task in turn.lost] == [id_of(22)]
    assert states(play, 22, 27) == [State.PENDING, State.SUCCEEDED]


def lease_in_a_hurry(play: Play) -> None:
    """One at a time, as an idle worker does."""
    for number in (50, 51, 52):
        play.engine.put([play.task(number, "hurry")])
    for word in ("h1", "h2", "h3"):
        if word not in play.notes:
            assert len(play.lease(word, 1, hurry=True, queues=("hurry",)).leased) == 1
            play.again = False


def lease_under_limits(play: Play) -> None:
    play.lease("limited", 10, queues=("fast", "narrow"))
    assert len(play.notes["limited"]) == 5


def settle_under_limits(play: Play) -> None:
    done = [play.settlement(task, SUCCEEDED) for task in play.notes["limited"] if task.queue == "narrow"]
    assert not play.engine.turn(done, None).lost


def two_queues_with_limits(play: Play) -> None:
    limits = [("fast", Queue(rate="2/s", bucket_size=10)), ("narrow", Queue(max_concurrent=2))]
    play.engine.change_queues([(name, Declare(limit)) for name, limit in limits])
    play.engine.put([play.task(number, "fast" if number < 58 else "narrow") for number in range(55, 65)])


# ---- renewing and burying


def some_are_leased(play: Play) -> None:
    play.engine.put([play.task(number, f"q{number}") for number in range(1, 7)])
    play.lease("mine", 3, queues=("q1", "q2", "q3"))
    play.lease("theirs", 3, queues=("q4", "q5", "q6"))
    play.engine.change([id_of(1)], Cancel())


def renew(play: Play) -> None:
    lost, unwanted = play.engine.renew(play.notes["mine"], play.clock.now + 100 * US)
    assert not lost
    assert [task.id for task in unwanted] == [id_of(1)]


def take_up(play: Play) -> None:
    """One that cannot be certain that it was first must not run the task; another one it can."""
    (first, *others), wrong = play.notes["theirs"], (id_of(99), 1)
    (answer,) = play.engine.take_up([(first.id, first.lease_id)])
    assert answer is TakeUp.TAKEN or (play.again and answer is TakeUp.TAKEN_BEFORE)
    answers = play.engine.take_up([(first.id, first.lease_id), *((one.id, one.lease_id) for one in others), wrong])
    assert answers[0] is TakeUp.TAKEN_BEFORE
    assert play.again or answers[1:-1] == [TakeUp.TAKEN] * 2
    assert answers[-1] is TakeUp.NOT_HELD


def time_passes(play: Play) -> None:
    play.clock.advance(LEASE_S + 1)


def bury_the_stalled(play: Play) -> None:
    stalled = [task for task in play.engine.stalled() if task.id in {id_of(number) for number in (4, 5, 6)}]
    lost = Failed(error=ERROR, reason="worker lost")
    turn = play.engine.turn([play.settlement(task, lost)._replace(only_if_over=True) for task in stalled], None)
    assert not turn.lost
    assert states(play, 1, 2, 3, 4, 5, 6) == [*[State.LEASED] * 3, *[State.PENDING] * 3]


def the_holder_dies(play: Play) -> None:
    """Its bell hangs, and nobody holds it."""
    import os

    play.engine.open()
    play.engine.bells.mkdir(exist_ok=True)
    bell = play.engine.bells / f"{DISPATCHER:08x}-0001"
    if not bell.exists():
        os.mkfifo(bell)
    play.engine._gate.bells_changed()


def bury_the_orphaned(play: Play) -> None:
    stalled = play.engine.stalled()
    if play.again and not stalled:
        return
    assert {task.id for task in stalled} == {id_of(number) for number in (1, 2, 3)}
    lost = Failed(error=ERROR, reason="worker lost")
    turn = play.engine.turn([play.settlement(task, lost)._replace(only_if_over=True) for task in stalled], None)
    assert not turn.lost


def a_stale_lease_changes_nothing(play: Play) -> None:
    """I4: it can neither be renewed nor settled."""
    theirs = play.notes["theirs"]
    assert play.engine.renew(theirs, play.clock.now + 100 * US) == (theirs, [])
    assert len(play.engine.turn([play.settlement(task, SUCCEEDED) for task in theirs], None).lost) == 3
    assert states(play, 4, 5, 6) == [State.PENDING] * 3


# ---- changing


def some_of_each(play: Play) -> None:
    play.engine.put([play.task(number) for number in range(1, 5)])
    play.engine.put([play.task(number, "leased", name=f"n{number}", payload=LARGE) for number in range(5, 13)])
    play.lease("leased", 8, queues=("leased",))
    tasks = play.leased("leased")
    play.engine.turn([play.settlement(tasks[number], DIED) for number in (6, 7, 8)], None)
    play.engine.turn([play.settlement(tasks[number], Parked(error=ERROR)) for number in (9, 10)], None)
    play.engine.turn([play.settlement(tasks[11], Succeeded(b"result"))], None)
    play.engine.put([play.task(13, "leased", name="n8", if_exists="replace")])
    play.engine.put([play.task(number, "full") for number in range(20, 30)])
    play.engine.put([play.task(number, "full", url="/jobs") for number in range(30, 33)])


def lease_to_deliver(play: Play) -> None:
    """Called and delivered ones in one turn, under a limit."""
    play.engine.change_queues([("full", SetLimits({"max_concurrent": 13}))])
    play.lease("delivered", 30, queues=("full",), delivers=True)
    assert len(play.notes["delivered"]) == 13


def find_no_room_to_deliver(play: Play) -> None:
    play.engine.put([play.task(40, "full", url="/jobs")])
    assert play.engine.turn((), play.want(5, queues=("full",), delivers=True)).leased == []


def settle_delivered(play: Play) -> None:
    """The end of a lease lets another one begin: somebody looks whether there is one to deliver."""
    task = play.notes["delivered"][0]
    play.engine.turn([play.settlement(task, SUCCEEDED)], None)
    assert play.engine.get([task.id])[0].state is State.SUCCEEDED


def cancel(play: Play) -> None:
    changed = play.engine.change([id_of(1), id_of(5), id_of(11), id_of(99)], Cancel("a person"))
    assert changed == [id_of(1), id_of(5)] or (play.again and changed == [id_of(5)])
    assert states(play, 1, 5, 11) == [State.CANCELLED, State.LEASED, State.SUCCEEDED]


def reschedule(play: Play) -> None:
    assert play.engine.change([id_of(2), id_of(5)], Reschedule(play.clock.now + 60 * US)) == [id_of(2)]


def delete(play: Play) -> None:
    changed = play.engine.change([id_of(3), id_of(5), id_of(11), id_of(6)], Delete())
    assert changed == [id_of(3), id_of(11), id_of(6)] or (play.again and changed == [])
    assert play.engine.get([id_of(number) for number in (3, 6, 11)]) == []


def requeue(play: Play) -> None:
    changed = play.engine.requeue([id_of(7), id_of(8), id_of(12)])
    assert changed == [id_of(7), id_of(8)] or (play.again and changed == [])
    assert [task.name for task in play.engine.get([id_of(7), id_of(8)])] == ["n7", None]


def wake(play: Play) -> None:
    assert play.engine.wake() == 2 or play.again


def purge(play: Play) -> None:
    purged = play.engine.purge("full", 5)
    while purged:
        purged = play.engine.purge("full", 5)
    assert play.engine.get([id_of(20), id_of(32)]) == []


def change_queues(play: Play) -> None:
    declared = Queue(rate="5/s", max_concurrent=3)
    changes = [("mail", Declare(declared)), ("mail", SetLimits({"rate": None})), ("default", Pause()), ("new", Pause())]
    mail, _, default, _ = play.engine.change_queues(changes)
    assert (mail.limits.rate, mail.declared.rate) == (None, "5/s")
    assert default.paused
    play.engine.change_queues([("mail", ResetLimits()), ("default", Resume())])
    assert [queue.paused for queue in play.engine.queues()] == [False, False, False, False, True]


def change_records(play: Play) -> None:
    changes = [RecordChange("worker", key, 0, 5, "{}") for key in ("a", "b", "c")]
    assert play.engine.change_records(changes) == [True] * 3 or play.again
    (wrong,) = play.engine.change_records([RecordChange("worker", "a", 9, 5, "wrong")])
    assert not wrong


def change_records_again(play: Play) -> None:
    changes = [RecordChange("worker", "a", 1, 6, '{"n": 2}'), RecordChange("worker", "b", 1, None, None)]
    assert play.engine.change_records(changes) == [True] * 2 or play.again
    assert [(record.key, record.version) for record in play.engine.records("worker")] == [("a", 2), ("c", 1)]


# ---- upkeep and reading


def a_past(play: Play) -> None:
    play.engine.put([play.task(number, name=f"n{number}", payload=LARGE) for number in range(1, 13)])
    play.engine.put([play.task(20, expires_in_s=10, in_s=100_000, name="late"), play.task(21)])
    play.lease("past", 12)
    tasks = play.leased("past")
    for number in range(1, 7):
        play.engine.turn([play.settlement(tasks[number], Succeeded(b"result"), duration_s=1)], None)
        play.clock.advance(30)
    play.engine.turn([play.settlement(tasks[number], FAILED) for number in (7, 8)], None)
    play.engine.turn([play.settlement(tasks[number], DIED) for number in (9, 10)], None)
    play.engine.change([id_of(7)], Cancel())
    play.clock.advance(7200)
    play.engine.put([play.task(30)])
    play.lease("now", 5)
    play.engine.turn([play.settlement(play.notes["now"][-1], SUCCEEDED)], None)


def sweep(play: Play) -> None:
    retention = Retention(succeeded_s=7250, succeeded_max=5, cancelled_s=3600, dead_s=600, totals_s=7200 + 60)
    swept = play.engine.sweep(retention)
    assert play.again or (swept.expired, swept.purged, swept.folded) == (1, 8, 8)
    while play.engine.sweep(retention).more:
        pass


def read(play: Play) -> None:
    engine = play.engine
    assert len(engine.get([id_of(1), id_of(2)])) == 2
    assert engine.details(id_of(1)).result == b"result"
    assert [failure.message for failure in engine.details(id_of(9)).failures] == ["no"]
    assert engine.find(Filter(state=State.SUCCEEDED), limit=2).next_after is not None
    assert [task.id for task in engine.find(Filter(state=State.DEAD)).tasks] == [id_of(10), id_of(9)]
    assert [queue.name for queue in engine.queues()] == ["default"]
    counts = engine.counts()
    assert (counts.succeeded, counts.dead, counts.cancelled) == (7, 2, 1)
    assert sum(total.attempts for total in engine.totals(0, play.clock.now + 1)) == 11
    assert sum(total.failures for total in engine.totals(0, play.clock.now + 1)) == 4
    assert engine.records("worker") == []


# ---- the log


def put_in_turn(play: Play) -> None:
    for number in range(1, 4):
        assert play.engine.put([play.task(number, payload=LARGE)]) == [Stored(id_of(number))]
    for number in range(4, 7):
        assert play.engine.put([play.task(number)]) == [Stored(id_of(number))]


def lease_all(play: Play) -> None:
    play.lease("all", 20)


def settle_all(play: Play) -> None:
    play.engine.turn([play.settlement(task, SUCCEEDED) for task in play.notes["all"]], None)


ALWAYS = {"CHECKPOINT_BYTES": 1, "LOOK_EVERY": 1}

ACTS = (
    Act("a new store is opened", (open_it, look_at_the_file, check_the_file, use_it), opens=True),
    Act("a store is opened again", (open_it, use_it, check_the_file), (some_tasks,), opens=True),
    Act("an older store is opened", (open_it, use_it), (go_back_to_the_first_schema,), opens=True),
    Act(
        "tasks are put",
        (
            put_plain,
            put_what_clashes,
            put_large,
            put_with_a_spill,
            put_batch,
            put_named,
            replace_pending,
            replace_leased,
            tombstone_holds,
        ),
        (one_is_leased_and_two_are_done,),
    ),
    Act(
        "tasks are put and settled within transactions of others",
        (put_within, put_within_what_is_named, settle_within, look_whether_the_store_is_free),
        (a_few_are_leased,),
    ),
    Act(
        "tasks are leased and settled",
        (
            lease_some,
            settle_in_a_turn_that_leases,
            settle_the_rest,
            lease_the_patient,
            lease_the_one_that_fails_often,
            settle_in_every_way,
            settle_again,
        ),
        (work_in_three_queues,),
    ),
    Act("tasks are leased in a hurry", (lease_in_a_hurry,), (some_tasks,)),
    Act(
        "tasks are leased to be delivered",
        (lease_to_deliver, find_no_room_to_deliver, settle_delivered),
        (some_of_each,),
    ),
    Act("tasks are leased under limits", (lease_under_limits, settle_under_limits), (two_queues_with_limits,)),
    Act(
        "leases are renewed and buried",
        (
            renew,
            take_up,
            time_passes,
            bury_the_stalled,
            a_stale_lease_changes_nothing,
            the_holder_dies,
            bury_the_orphaned,
        ),
        (some_are_leased,),
    ),
    Act(
        "tasks and queues are changed",
        (
            cancel,
            reschedule,
            delete,
            requeue,
            wake,
            purge,
            change_queues,
            change_records,
            change_records_again,
        ),
        (some_of_each,),
    ),
    Act("the janitor sweeps", (sweep,), (a_past,)),
    Act("people read", (read,), (a_past,)),
    Act("the log is moved", (put_in_turn, lease_all, settle_all), (some_tasks,), checkpoint=ALWAYS),
    Act(
        "the log is cut",
        (put_in_turn, lease_all, settle_all),
        (some_tasks,),
        checkpoint={**ALWAYS, "TRUNCATE_BYTES": 1},
    ),
)
