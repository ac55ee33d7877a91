"""What decorators and registration do to a function, from the declaration to the run."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deferq import (
    ConfigError,
    Deferq,
    InvalidName,
    InvalidOption,
    NotDeferrable,
    NotSerializable,
    ScheduleError,
    State,
    TaskHandle,
    call_deferred,
    deferrable,
    register,
)
from deferq.registry import Registry
from deferq.registry import registry as default_registry
from deferq.runtime.worker import Worker
from tests.support import sample_tasks
from tests.support.sample_tasks import Account, Savings, Unpicklable, reindex

WAIT_S = 10
MODULE = "tests.support.sample_tasks"


@pytest.fixture
def registered() -> Iterator[Unpicklable]:
    """An account that is registered as `account` during the test."""
    account = Unpicklable(100)
    register("account", account)
    yield account
    default_registry._objects.pop("account")
    default_registry._names.pop(id(account))
    default_registry.version += 1


# ---- deferrable


def test_calling_a_deferrable_runs_it() -> None:
    assert sample_tasks.send(5) == 5
    assert sample_tasks.plainly_deferrable(1) == 2


def test_a_deferrable_brings_its_options(app: Deferq) -> None:
    task = app.defer(sample_tasks.send, 5).task
    assert (task.queue, task.priority) == ("mail", 7)
    assert (task.options.tags, task.options.timeout_s, task.options.retry.max_attempts) == (("declared",), 30.0, 3)


def test_an_option_of_the_call_wins_and_tags_add_up(app: Deferq) -> None:
    task = app.call(sample_tasks.send, 5).defer(queue="other", priority=0, tags=("own",), timeout=None).task
    assert (task.queue, task.priority, task.options.timeout_s) == ("other", 0, None)
    assert task.options.tags == ("declared", "own")


def test_a_deferrable_that_expires_at_the_end_of_time_is_taken(app: Deferq) -> None:
    assert app.defer(sample_tasks.hardly_expires).state is State.PENDING


@pytest.mark.parametrize(
    ("fn", "target"),
    [
        (Account(1).pay, f"{MODULE}:Account.pay"),
        (Savings(1).pay, f"{MODULE}:Account.pay"),
    ],
)
def test_a_deferrable_method_brings_its_options_too(app: Deferq, fn: Any, target: str) -> None:
    task = app.defer(fn, 5).task
    assert (task.target, task.queue) == (target, "mail")


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"queue": "a b"}, InvalidName),
        ({"queue": ""}, InvalidName),
        ({"priority": 101}, InvalidOption),
        ({"priority": True}, InvalidOption),
        ({"timeout": 0}, InvalidOption),
        ({"timeout": "5"}, ScheduleError),
        ({"expires": -1}, ScheduleError),
        ({"retry": 5}, InvalidOption),
        ({"tags": "signup"}, InvalidOption),
        ({"tags": None}, InvalidOption),
        ({"aliases": "old.module:send"}, InvalidOption),
        ({"aliases": ["no target"]}, InvalidOption),
        ({"aliases": [5]}, InvalidOption),
        ({"aliases": None}, InvalidOption),
    ],
    ids=str,
)
@pytest.mark.parametrize("decorator", [deferrable, call_deferred])
def test_a_wrong_option_is_refused_where_it_is_declared(
    decorator: Callable[..., Any], option: dict[str, Any], error: type[InvalidOption]
) -> None:
    with pytest.raises(error) as caught:
        decorator(**option)
    assert caught.value.field == next(iter(option))


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="countdown"):
        deferrable(countdown=5)  # type: ignore[call-overload]
    for decorator in (deferrable, call_deferred):
        with pytest.raises(TypeError, match=r"no option 'quue'. Did you mean 'queue'\?"):
            decorator(quue="mail")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "decorator", [deferrable, call_deferred, deferrable(queue="mail"), call_deferred(queue="mail")]
)
def test_what_nobody_can_find_again_is_refused_where_it_is_declared(decorator: Callable[..., Any]) -> None:
    def nested() -> None: ...

    for fn, says in ((nested, "move it to the top"), (lambda: None, "lambda"), (5, "int has no name"), ({}, "dict")):
        with pytest.raises(NotDeferrable, match=says):
            decorator(fn)


# ---- renames


@pytest.mark.usefixtures("worker")
def test_a_task_stored_under_an_old_name_runs_the_renamed_function(app: Deferq) -> None:
    old_target = "tests.support.old_name:was_called"
    task_id = app.defer(sample_tasks.renamed, 5).id
    task = app.tasks.make(app.ids.next(), app.call(sample_tasks.renamed, 5), app.engine.now())
    payload = app.codec.keyring.seal(
        "payload", task.id, old_target, app.codec.keyring.open("payload", task.id, task.target, task.payload)[1]
    )
    app.engine.put([task._replace(target=old_target, payload=payload)])
    assert app.task(task.id).wait(WAIT_S) == app.task(task_id).wait(WAIT_S) == "renamed 5"


# ---- call_deferred


@pytest.mark.usefixtures("at_once")
def test_calling_it_defers_it_and_now_runs_it(default_app: Deferq) -> None:
    handle = reindex(7, deep=True)
    assert isinstance(handle, TaskHandle)
    assert (handle.task.queue, handle.task.options.tags, handle.task.target) == (
        "index",
        ("wrapped",),
        f"{MODULE}:reindex",
    )
    assert handle.wait(WAIT_S) == reindex.now(7, deep=True) == (7, True)


@pytest.mark.usefixtures("at_once")
def test_a_coroutine_function_can_be_wrapped(default_app: Deferq) -> None:
    assert sample_tasks.reindex_async(7).wait(WAIT_S) == 7


def test_it_makes_calls_with_options(default_app: Deferq) -> None:
    task = reindex.call(7).defer(priority=3).task
    assert (task.queue, task.priority) == ("index", 3)
    assert reindex(7, _queue="other").task.queue == "other"  # type: ignore[call-arg]


def test_it_looks_like_the_function_it_wraps() -> None:
    assert (reindex.__name__, reindex.__module__) == ("reindex", MODULE)


def test_wrong_arguments_are_refused_at_the_call(default_app: Deferq) -> None:
    with pytest.raises(TypeError, match="reindex"):
        reindex()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="close"):
        Account(1).close()  # type: ignore[call-arg]
    assert default_app.engine.queues() == []


ACCOUNT = Account(42)


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        (ACCOUNT.close, ("moved",), (42, "moved")),
        (Savings(7).close, ("moved",), (7, "moved")),
        (Account.close, (ACCOUNT, "moved"), (42, "moved")),
        (Account.close_all, ("moved",), ("Account", "moved")),
        (Savings.close_all, ("moved",), ("Savings", "moved")),
        (ACCOUNT.close_all, ("moved",), ("Account", "moved")),
        (Account.close_one, (5,), 5),
        (ACCOUNT.close_one, (5,), 5),
        (Account.close_two, (5,), 10),
        (Savings(1).close_two, (5,), 10),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
@pytest.mark.usefixtures("at_once")
def test_methods_of_every_kind_defer_themselves(
    default_app: Deferq, fn: Any, args: tuple[Any, ...], expected: object
) -> None:
    handles = [fn(*args), fn.call(*args).defer(), default_app.defer(fn, *args)]
    assert [handle.wait(WAIT_S) for handle in handles] == [expected] * 3
    assert [handle.task.queue for handle in handles] == ["index"] * 3
    assert fn.now(*args) == expected


@pytest.mark.parametrize("owner", [Account, Savings, ACCOUNT])
@pytest.mark.usefixtures("at_once")
def test_below_classmethod_a_call_is_deferred_for_its_class(default_app: Deferq, owner: Any) -> None:
    assert owner.upside_down("moved").wait(WAIT_S) == "moved"
    assert default_app.defer(owner.upside_down, "moved").wait(WAIT_S) == "moved"


def test_a_method_of_a_local_class_is_refused_at_the_call(default_app: Deferq) -> None:
    class Local(Account): ...

    with pytest.raises(NotDeferrable):
        Local.close_all("moved")
    assert Local.close_all.now("moved") == ("Local", "moved")


# ---- registered objects


@pytest.mark.usefixtures("at_once")
def test_a_method_of_a_registered_object_is_stored_by_name(app: Deferq, registered: Unpicklable) -> None:
    handle = app.defer(registered.refund, 1)
    assert handle.wait(WAIT_S) == 99
    assert (handle.task.target, handle.task.queue) == ("@account:refund", "mail")


@pytest.mark.usefixtures("at_once")
def test_a_deferring_method_of_a_registered_object_is_stored_by_name(
    default_app: Deferq, registered: Unpicklable
) -> None:
    handles = [
        registered.close("moved"),
        registered.close.call("moved").defer(),
        default_app.defer(registered.close, "moved"),
    ]
    for handle in handles:
        assert handle.wait(WAIT_S) == (100, "moved")
        assert (handle.task.target, handle.task.queue) == ("@account:close", "index")


def test_a_registered_object_never_travels(app: Deferq, registered: Unpicklable) -> None:
    with pytest.raises(NotSerializable, match="lock"):
        app.defer(Unpicklable(1).refund, 1)
    app.defer(registered.refund, 1)


def test_a_worker_without_the_object_parks_the_task(
    app: Deferq, registered: Unpicklable, start_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = app.defer(registered.refund, 1)
    parked = parking(app)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Registry, "object", Registry().object)
        worker = start_worker(app)
        parked(handle)
        worker.stop()
    assert (handle.state, handle.task.attempts) == (State.PENDING, 0)


def test_names_of_registered_objects_are_checked() -> None:
    with pytest.raises(ConfigError, match="register"):
        register("a b", object())


def parking(app: Deferq) -> Callable[[TaskHandle], None]:
    """Call it with a handle to wait until that task is parked."""
    from threading import Event

    from deferq.model.events import Event as Announced
    from deferq.model.events import EventName

    parked: dict[int, Event] = {}

    def listen(event: Announced) -> None:
        if event.name is EventName.TASK_PARKED and event.task_id is not None:
            parked.setdefault(event.task_id, Event()).set()

    app.listeners.append(listen)

    def wait(handle: TaskHandle) -> None:
        assert parked.setdefault(handle.id, Event()).wait(WAIT_S)

    return wait


# ---- in a script


def test_decorated_functions_of_a_script_run_in_the_script_and_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        textwrap.dedent(
            """
            from deferq import call_deferred, configure, deferrable, defer

            app = configure("sqlite:///jobs.db")

            @deferrable(queue="mail")
            def send(user):
                return user

            @call_deferred(queue="index")
            def reindex(document):
                return document

            if __name__ == "__main__":
                handles = [defer(send, 1), reindex(2)]
                worker = app.worker(threads=1)
                worker.start()
                print([handle.wait(10) for handle in handles])
                print([(handle.task.target, handle.task.queue) for handle in handles])
                worker.stop()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["[1, 2]", "[('script:send', 'mail'), ('script:reindex', 'index')]"], done.stderr
