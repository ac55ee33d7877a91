"""`assert_idempotent`: does a task leave the same behind if it dies anywhere and runs again?"""

from __future__ import annotations

import inspect
import random
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from deferq import default
from deferq.calls import Call
from deferq.errors import InvalidOption
from deferq.testing.crashing.children import CannotTell
from deferq.testing.crashing.databases import databases_of
from deferq.testing.crashing.inherited import django_transaction
from deferq.testing.crashing.points import Point
from deferq.testing.crashing.scene import How, Scene, scratch_folder
from deferq.testing.crashing.trials import Broke, Limits, Trials, try_all
from deferq.testing.effects import Effects

__all__ = ["CannotTell", "NotAllTried", "NotIdempotent", "Point", "Trials", "assert_idempotent"]

_GROUPS_SHOWN, _POINTS_SHOWN = 4, 6
_REPR_SHOWN = 80


class NotIdempotent(AssertionError):
    """The task leaves something else behind if it dies at a certain point and runs again. `trials` has them all."""

    def __init__(self, message: str, trials: Trials) -> None:
        super().__init__(message)
        self.trials = trials


class NotAllTried(UserWarning):
    """The task was not killed at every point: there were too many, or the time was over."""


def assert_idempotent(
    task: Call[Any] | Callable[..., Any],
    /,
    *args: Any,
    database: object = None,
    setup: Callable[[], object] | None = None,
    snapshot: Callable[[], object] | None = None,
    effects: Effects | None = None,
    ignore: Sequence[str] = (),
    commits: Sequence[tuple[Any, str]] = (),
    prepare: Callable[[], object] | None = None,
    only: int | None = None,
    points_max: int = 200,
    seed: int | None = None,
    seconds: float = 60.0,
    attempt_s: float = 30.0,
    start: str = "fork",
) -> Trials:
    """Kill the task at every commit, every await and every fault point, run it again, and compare what is left.

    First the task runs undisturbed, twice. Then, for each point that it came past, the database is put back, a process
    of its own runs the task and is killed there with SIGKILL, another one runs it again as deferq would (the attempt
    is spent, a RetryTask is followed at once), and what is left is compared with the undisturbed run: the rows of the
    database, the tasks that it deferred, how it ended, and its effects. Afterwards the database is as it was before.

    Args:
        task: `call(fn, 17)`, with options if you like; or a function.
        args: the positional arguments of that function.
        database: the SQLite file that the task works on, in the state before the task: a path, a `sqlite:///` URL, a
            connection, a function that opens one, a SQLAlchemy engine, a connection of Django's; or a list of them.
        setup: for other databases: brings it to the state before the task.
        snapshot: for other databases: returns what is to be compared, rows by the name of their table.
        effects: the record of what the task does beside the database, see `Effects`.
        ignore: what may differ: tables, `table.column`, patterns such as `*.created_at`.
        commits: methods that commit, beside those of SQLite: `[(psycopg.Connection, "commit")]`.
        prepare: called in each process before the task, to drop caches of connections, say.
        only: number of the one point to try; messages name it.
        points_max: if there are more points, so many of them are chosen by chance.
        seed: of that choice; None: another one each time.
        seconds: when so much time is over, no other trial begins.
        attempt_s: seconds that one attempt may take.
        start: "fork": the processes are forked from this one, so that what a test has patched is patched in them too.
            "spawn": they import everything anew; slower, and right where other threads run here.

    Returns what was tried; a warning `NotAllTried` says if that was not all.

    Raises:
        NotIdempotent: something differs; the message says at which points of your code, and what.
        CannotTell: the trials cannot be made, since the task fails undisturbed, say, or no two runs are alike.
        CallError: the call would be refused by `defer` too, or an argument makes no sense.
    """
    __tracebackhide__ = True  # pytest shows the line of the test, and not this one
    call = _call_of(task, args)
    _check(start, only, points_max)
    how = How(start=start, attempt_s=attempt_s, commits=tuple(commits), prepare=prepare)
    limits = Limits(only=only, points_max=points_max, seed=_seed(seed), seconds=seconds)
    with scratch_folder() as folder:
        scene = Scene(call, databases_of(database, setup, snapshot, folder), effects, ignore, how, folder)
        trials = _tried(scene, limits, _in_words(call))
    return _judged(trials, _in_words(call), only)


def _tried(scene: Scene, limits: Limits, what: str) -> Trials:
    """Every trial; afterwards the databases are as they were."""
    try:
        return try_all(scene, limits, what)
    finally:
        scene.restore()


def _judged(trials: Trials, what: str, only: int | None) -> Trials:
    """The trials, if none of them shows anything; with a warning if they were not all there are."""
    __tracebackhide__ = True
    if trials.broke:
        raise NotIdempotent(_told(what, trials), trials)
    if trials.cut_short and only is None:
        warnings.warn(f"{what}: {trials}", NotAllTried, stacklevel=3)
    return trials


def _seed(seed: int | None) -> int:
    return random.SystemRandom().randrange(1_000_000) if seed is None else seed


def _call_of(task: Call[Any] | Callable[..., Any], args: tuple[Any, ...]) -> Call[Any]:
    if not isinstance(task, Call):
        return Call(default.default, task, args, {})
    if args:
        raise InvalidOption("assert_idempotent: the arguments of a call(...) belong into the call.", field="args")
    return task


def _check(start: str, only: int | None, points_max: int) -> None:
    if start not in ("fork", "spawn"):
        raise InvalidOption("start: expected 'fork' or 'spawn'.", field="start")
    if points_max < 1:
        raise InvalidOption("points_max: expected a number from 1 on.", field="points_max")
    if django_transaction():
        raise CannotTell(
            "The test runs inside a transaction of Django's, and no other process sees what it did. Use"
            " TransactionTestCase, or @pytest.mark.django_db(transaction=True)."
        )


def _in_words(call: Call[Any]) -> str:
    """`pay_out(17)`"""
    name = getattr(inspect.unwrap(call.fn), "__qualname__", type(call.fn).__name__)
    shown = ", ".join([*map(_shown, call.args), *(f"{key}={_shown(value)}" for key, value in call.kwargs.items())])
    return f"{name}({shown})" if len(shown) <= _REPR_SHOWN else f"{name}({shown[:_REPR_SHOWN]}...)"


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # of the user's own class
        return f"<{type(value).__name__}: {traceback.format_exception_only(error)[0].strip()}>"


def _told(what: str, trials: Trials) -> str:
    scope = f" It was {trials}." if trials.cut_short or trials.not_reached else ""
    lines = [f"{what} is not idempotent: {len(trials.broke)} of {len(trials.killed_at)} kills show it.{scope}"]
    groups = _alike(trials.broke)
    for broke in groups[:_GROUPS_SHOWN]:
        lines += ["", *_one(broke)]
    if len(groups) > _GROUPS_SHOWN:
        lines += ["", f"Other points show {len(groups) - _GROUPS_SHOWN} other differences: trials.broke has them."]
    return "\n".join([*lines, "", f"To try one point alone: only={trials.broke[0].point.number}."])


def _alike(broke: list[Broke]) -> list[list[Broke]]:
    """Those that show the same difference belong together."""
    groups: dict[tuple[str, ...], list[Broke]] = {}
    for one in broke:
        groups.setdefault(tuple(one.lines), []).append(one)
    return list(groups.values())


def _one(alike: list[Broke]) -> list[str]:
    points = [broke.point for broke in alike]
    more = [f"  ... and at {len(points) - _POINTS_SHOWN} more points"] if len(points) > _POINTS_SHOWN else []
    return [
        "Killed",
        *(line for point in points[:_POINTS_SHOWN] for line in _shown_point(point)),
        *more,
        "and run again, it leaves something else than an undisturbed run:",
        *(f"  {line}" for line in alike[0].lines),
    ]


def _shown_point(point: Point) -> list[str]:
    code = point.place.code if point.place else ""
    return [f"  {point.number}. {point}", *([f"         {code}"] if code else [])]
