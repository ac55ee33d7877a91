"""Every name of App Engine's deferred library is there, with its signature (sections 1.1 and 1.2 of the facts)."""

from __future__ import annotations

import copy
import http
import inspect
import logging
import pickle
from typing import Any

import pytest

from deferq import errors as core
from deferq.compat import appengine
from deferq.compat.appengine import deferred, taskqueue
from deferq.compat.appengine.deferred import deferred as module
from tests.compat import counting
from tests.compat.counting import Callable, Counter


@pytest.fixture(autouse=True)
def fresh() -> None:
    counting.forget()


def parameters(fn: Any) -> list[str]:
    return [str(one).partition(":")[0] for one in inspect.signature(fn).parameters.values()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("defer", ["obj", "*args", "**kwargs"]),
        ("serialize", ["obj", "*args", "**kwargs"]),
        ("run", ["data"]),
        ("run_from_datastore", ["key"]),
        ("invoke_member", ["obj", "membername", "*args", "**kwargs"]),
        ("set_log_level", ["log_level"]),
    ],
)
def test_a_function_has_app_engines_signature(name: str, expected: list[str]) -> None:
    assert parameters(getattr(deferred, name)) == expected
    assert getattr(module, name) is getattr(deferred, name)


def test_wrap_wsgi_app_has_app_engines_signature_and_defaults() -> None:
    signature = inspect.signature(appengine.wrap_wsgi_app)
    assert parameters(appengine.wrap_wsgi_app) == ["app", "use_legacy_context_mode", "use_deferred"]
    assert [one.default for one in signature.parameters.values()][1:] == [True, False]


def test_the_handler_has_app_engines_methods_and_application_is_one() -> None:
    assert isinstance(deferred.application, deferred.Handler)
    assert deferred.TaskHandler is deferred.Handler
    assert parameters(deferred.Handler.run_from_request) == ["self", "environ"]
    assert parameters(deferred.Handler.post) == ["self", "environ"]
    assert parameters(deferred.Handler.__call__) == ["self", "environ", "start_response"]
    deferred.Handler()


def test_the_private_names_that_are_relied_on_are_in_the_module() -> None:
    assert deferred.deferred is module
    assert module._DEFAULT_URL == "/_ah/queue/deferred"
    assert module._DEFAULT_QUEUE == "default"
    assert module._TASKQUEUE_HEADERS == {"Content-Type": "application/octet-stream"}
    assert module._curry_callable(counting.note, 1, key=2) == (counting.note, (1,), {"key": 2})
    assert module._DeferredTaskEntity(data=b"pickle").data == b"pickle"
    assert not hasattr(deferred, "_DEFAULT_URL")


def test_a_large_call_is_stored_with_its_task_and_never_alone() -> None:
    with pytest.raises(ValueError):
        module._DeferredTaskEntity()
    with pytest.raises(deferred.Error, match="together with its task"):
        module._DeferredTaskEntity(data=b"pickle").put()


def test_the_modules_that_the_package_shows_are_shown() -> None:
    assert (deferred.http, deferred.logging, deferred.pickle) == (http, logging, pickle)
    assert deferred.taskqueue is taskqueue
    assert (deferred.os.sep, deferred.types.ModuleType.__name__) == ("/", "module")
    with pytest.raises(AttributeError):
        deferred.nothing


def test_main_is_left_out_and_it_is_said_what_to_do() -> None:
    with pytest.raises(AttributeError, match=r"deferred\.application"):
        deferred.main


def test_the_import_lines_of_an_application_work() -> None:
    namespace: dict[str, Any] = {}
    exec("from deferq.compat.appengine import deferred, taskqueue, wrap_wsgi_app", namespace)
    exec("from deferq.compat.appengine.deferred import PermanentTaskFailure, defer", namespace)
    assert namespace["defer"] is namespace["deferred"].defer


# ---- errors


def test_the_errors_stand_in_app_engines_tree_and_in_deferqs() -> None:
    assert issubclass(deferred.Error, core.DeferqError)
    for error in (deferred.PermanentTaskFailure, deferred.SingularTaskFailure):
        assert issubclass(error, deferred.Error)
    assert issubclass(deferred.PermanentTaskFailure, core.PermanentTaskFailure)
    assert issubclass(deferred.SingularTaskFailure, core.RetryTask)
    assert not issubclass(deferred.SingularTaskFailure, core.PermanentTaskFailure)


@pytest.mark.parametrize("error", [deferred.Error, deferred.PermanentTaskFailure, deferred.SingularTaskFailure])
@pytest.mark.parametrize("args", [(), ("no",), ("no", 7), (ValueError("cause"),)])
def test_an_error_takes_anything_and_keeps_it(error: type[Exception], args: tuple[Any, ...]) -> None:
    assert error(*args).args == args
    assert repr(copy.copy(error(*args))) == repr(error(*args))
    assert type(pickle.loads(pickle.dumps(error("no")))) is error


# ---- what can be deferred

CALLABLES: list[Any] = [
    pytest.param(counting.note, (1, 2), (1, 2), id="a function"),
    pytest.param(Counter(10).add, (5,), ("add", 15), id="a bound method"),
    pytest.param(Counter.make, (3,), ("make", "Counter", 3), id="a class method"),
    pytest.param(Counter.static, (4,), ("static", 4), id="a static method"),
    pytest.param(Counter(1).static, (4,), ("static", 4), id="a static method of an instance"),
    pytest.param(Counter.Inner, (5,), ("inner", 5), id="a class in a class"),
    pytest.param(Callable("called"), (6,), ("called", 6), id="an instance with __call__"),
]


@pytest.mark.parametrize(("fn", "args", "expected"), CALLABLES)
def test_what_is_serialized_can_be_run(fn: Any, args: tuple[Any, ...], expected: Any) -> None:
    deferred.run(deferred.serialize(fn, *args))
    assert counting.seen == [expected]


@pytest.mark.parametrize(("fn", "args", "expected"), CALLABLES)
def test_the_old_protocol_does_as_well(
    monkeypatch: pytest.MonkeyPatch, fn: Any, args: tuple[Any, ...], expected: Any
) -> None:
    monkeypatch.setenv("DEFERRED_USE_CROSS_COMPATIBLE_PICKLE_PROTOCOL", "1")
    deferred.run(deferred.serialize(fn, *args))
    assert counting.seen == [expected]


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        pytest.param("abc".upper, (), "ABC", id="a method of a text"),
        pytest.param(max, (3, 7), 7, id="a built-in function"),
        pytest.param([].__len__, (), 0, id="a slot of an empty list"),
        pytest.param(str, (7,), "7", id="a built-in class"),
    ],
)
def test_built_in_callables_run_and_what_they_return_comes_back(fn: Any, args: tuple[Any, ...], expected: Any) -> None:
    assert deferred.run(deferred.serialize(fn, *args)) == expected


def test_methods_are_pickled_by_their_names_and_everything_else_as_it_is() -> None:
    curry = module._curry_callable
    counter, called = Counter(), Callable("x")
    assert curry(counter.add, 1, twice=True) == (deferred.invoke_member, (counter, "add", 1), {"twice": True})
    assert curry(Counter.make, 1) == (deferred.invoke_member, (Counter, "make", 1), {})
    assert curry("abc".upper) == (deferred.invoke_member, ("abc", "upper"), {})
    assert curry([1].append, 2) == (deferred.invoke_member, ([1], "append", 2), {})
    empty = [].append
    assert curry(empty, 2) == (empty, (2,), {})  # its owner is falsy, and it goes as it is
    assert curry(pickle.dumps, 1) == (pickle.dumps, (1,), {})  # that of a module
    for one in (counting.note, Counter, called, Counter.static):
        assert curry(one, 2, key=3) == (one, (2,), {"key": 3})


def test_a_serialized_call_is_a_bare_pickle_of_a_triple() -> None:
    assert pickle.loads(deferred.serialize(counting.note, 1, key=2)) == (counting.note, (1,), {"key": 2})


@pytest.mark.parametrize(("value", "protocol"), [(None, 5), ("", 5), ("1", 0), ("False", 0), ("0", 0)])
def test_any_text_in_the_variable_chooses_protocol_0(
    monkeypatch: pytest.MonkeyPatch, value: str | None, protocol: int
) -> None:
    name = "DEFERRED_USE_CROSS_COMPATIBLE_PICKLE_PROTOCOL"
    monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(name, value)
    body = deferred.serialize(counting.note, 1)
    assert body[:2] == (b"\x80\x05" if protocol == 5 else b"(c")


def test_methods_are_written_under_our_module() -> None:
    assert b"deferq.compat.appengine.deferred.deferred" in deferred.serialize(Counter().add, 1)


@pytest.mark.parametrize("thing", [None, 7, "text", ()])
def test_what_cannot_be_called_is_a_value_error(thing: Any) -> None:
    with pytest.raises(ValueError, match="obj must be callable"):
        deferred.serialize(thing)
    with pytest.raises(ValueError, match="obj must be callable"):
        deferred.defer(thing)


def a_nested_function() -> Any:
    def nested() -> None: ...

    return nested


def a_nested_class() -> Any:
    class Nested: ...

    return Nested


@pytest.mark.parametrize(
    ("thing", "error"),
    [
        (a_nested_function(), (AttributeError, pickle.PicklingError)),
        (a_nested_class(), (AttributeError, pickle.PicklingError)),
        (lambda: None, (AttributeError, pickle.PicklingError)),
        (counting.module_level_lambda, pickle.PicklingError),
    ],
)
def test_what_pickle_cannot_find_again_raises_pickles_own_error(thing: Any, error: Any) -> None:
    with pytest.raises(error):
        deferred.serialize(thing)
    with pytest.raises(error):
        deferred.defer(thing)


def test_a_generator_as_an_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        deferred.defer(counting.note, (number for number in ()))


# ---- run


def test_run_returns_what_the_callable_returns() -> None:
    assert deferred.run(deferred.serialize(counting.note, 1)) == "noted"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        pickle.dumps(7),
        pickle.dumps((counting.note, ())),
        pickle.dumps((counting.note, (), {}, 4)),
        b"cno.such.module\nfunction\n(t}t.",
        b"ctests.compat.counting\nno_such_function\n(t}t.",
        deferred.serialize(counting.note, counting.Unrestorable()),
    ],
)
def test_what_cannot_be_restored_is_a_permanent_failure_with_its_cause(body: bytes) -> None:
    with pytest.raises(deferred.PermanentTaskFailure) as caught:
        deferred.run(body)
    assert isinstance(caught.value.args[0], Exception)
    assert counting.seen == []


def test_the_callables_own_errors_pass_through_run() -> None:
    with pytest.raises(ZeroDivisionError):
        deferred.run(deferred.serialize(counting.fail, "any"))
    with pytest.raises(deferred.SingularTaskFailure):
        deferred.run(deferred.serialize(counting.fail, "singular"))


def test_arguments_that_the_callable_does_not_take_show_when_it_runs() -> None:
    body = deferred.serialize(counting.note_one, 1, countdown=3)
    with pytest.raises(TypeError):
        deferred.run(body)


def test_what_stands_behind_the_pickle_is_not_read() -> None:
    assert deferred.run(deferred.serialize(counting.note, 1) + b"more") == "noted"


def test_invoke_member_calls_a_method_by_its_name() -> None:
    assert deferred.invoke_member(Counter(1), "add", 2, twice=True) == 5
