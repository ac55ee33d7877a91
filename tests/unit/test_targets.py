"""What can be deferred, under which name, how it is found again, and what is refused."""

from __future__ import annotations

import functools
import math
import operator
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferq.codec.targets import Located, find, find_target, forget_targets, locate
from deferq.errors import NotDeferrable, TargetNotAllowed, TargetUnknown
from deferq.registry import Registry
from tests.unit import callables
from tests.unit.scripts import python, write

HERE = callables.__name__


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget_targets()
    yield
    forget_targets()


@pytest.fixture
def registry() -> Registry:
    return Registry()


def again(located: Located, registry: Registry, *args: Any, **kwargs: Any) -> Any:
    """Call what was located as a worker does."""
    fn = find_target(located.target, registry)
    return fn(*located.args, *args, **{**located.kwargs, **kwargs})


# What can be deferred


def test_a_function_is_stored_by_module_and_name(registry: Registry) -> None:
    located = locate(callables.plain, registry)
    assert located == (f"{HERE}:plain", (), {})
    assert again(located, registry, 1, a=2) == (1, {"a": 2})
    assert locate(callables.plain, registry) is located


BASE = callables.Base(40)
TARGETS: list[tuple[Callable[..., Any], str, int, tuple[Any, ...], Any]] = [
    # callable, target, how many arguments it brings along, arguments of the call, what that returns
    (len, "builtins:len", 0, ("abc",), 3),
    (math.sqrt, "math:sqrt", 0, (4,), 2),
    (callables.Base.static, f"{HERE}:Base.static", 0, (2,), -2),
    (BASE.static, f"{HERE}:Base.static", 0, (2,), -2),
    (callables.Base.method, f"{HERE}:Base.method", 0, (BASE, 2), 42),
    (BASE.method, f"{HERE}:Base.method", 1, (2,), 42),
    (callables.Child(1).method, f"{HERE}:Base.method", 1, (2,), 3),
    (BASE.secret(), f"{HERE}:Base.__secret", 1, (), 40),
    (callables.Adder(1), f"{HERE}:Adder.__call__", 1, (2,), 3),
    ("a".upper, "builtins:str.upper", 1, (), "A"),
    (str.upper, "builtins:str.upper", 0, ("b",), "B"),
    ("-".join, "builtins:str.join", 1, (["a", "b"],), "a-b"),
    (dict.fromkeys, "builtins:dict.fromkeys", 0, ("a",), {"a": None}),
    (str.maketrans, "builtins:str.maketrans", 0, ({"a": "b"},), {97: "b"}),
    (functools.partial(callables.plain, 1, a=2), f"{HERE}:plain", 1, (3,), (1, 3, {"a": 2})),
    (functools.partial(BASE.method, 2), f"{HERE}:Base.method", 2, (), 42),
    (callables.decorated, f"{HERE}:decorated", 0, ("a",), "A"),
    (callables.cached, f"{HERE}:cached", 0, (4,), 8),
    (callables.reindex, f"{HERE}:reindex", 0, (4,), 40),
    (callables.Indexer(1).index, f"{HERE}:Indexer.index", 1, (4,), 5),
    (callables.Indexer.index_all, f"{HERE}:Indexer.index_all", 0, (4,), ("Indexer", 4)),
    (operator.itemgetter(1), "operator:itemgetter.__call__", 1, ("ab",), "b"),
]


@pytest.mark.parametrize(("fn", "target", "brought", "args", "result"), TARGETS, ids=[row[1] for row in TARGETS])
def test_every_kind_of_callable_is_found_again(
    registry: Registry, fn: Callable[..., Any], target: str, brought: int, args: tuple[Any, ...], result: Any
) -> None:
    located = locate(fn, registry)
    assert (located.target, len(located.args)) == (target, brought)
    assert again(located, registry, *args) == result


def test_classes_are_called_too_also_those_inside_classes(registry: Registry) -> None:
    assert again(locate(callables.Child, registry), registry, 5).number == 5
    inner = locate(callables.Base.Inner, registry)
    assert inner.target == f"{HERE}:Base.Inner"
    assert again(inner, registry, 6).value == 6
    assert again(locate(callables.Base.Inner.make, registry), registry, 7).value == 7


def test_an_inherited_class_method_keeps_its_class(registry: Registry) -> None:
    located = locate(callables.Child.create, registry)
    assert located.target == f"{HERE}:Child.create"
    assert type(again(located, registry, 1)) is callables.Child


def test_a_method_of_a_builtin_brings_the_instance_along(registry: Registry) -> None:
    items: list[int] = []
    located = locate(items.append, registry)
    assert located.target == "builtins:list.append"
    assert located.args[0] is items

    class Mine(list[int]):
        pass

    assert locate(Mine().append, registry).target == "builtins:list.append"


def test_nested_partials_are_flattened_and_later_keywords_win(registry: Registry) -> None:
    class Partial(functools.partial[Any]):
        pass

    nested = Partial(Partial(callables.plain, 1, a=1, b=1), 2, b=2)
    located = locate(nested, registry)
    assert located == (f"{HERE}:plain", (1, 2), {"a": 1, "b": 2})
    assert again(located, registry, 3, b=3) == (1, 2, 3, {"a": 1, "b": 3})


def test_async_functions_are_known_as_such(registry: Registry) -> None:
    located = locate(callables.asynchronous, registry)
    assert find(located.target, registry).is_async
    assert not find(f"{HERE}:plain", registry).is_async


def test_a_registered_object_stays_where_it_is(registry: Registry) -> None:
    base = callables.Base(1)
    registry.register("base", base)
    located = locate(base.method, registry)
    assert located == ("@base:method", (), {})
    assert again(located, registry, 2) == 3
    assert again(locate(functools.partial(base.method, 2), registry), registry) == 3


def test_a_registered_object_may_be_called_itself_or_be_a_class(registry: Registry) -> None:
    adder = callables.Adder(1)
    registry.register("add", adder)
    registry.register("base", callables.Base)
    assert locate(adder, registry).target == "@add:__call__"
    assert again(locate(adder, registry), registry, 2) == 3
    assert locate(callables.Base.create, registry).target == "@base:create"


def test_a_deferring_method_of_a_registered_object_is_run_and_not_deferred_again(registry: Registry) -> None:
    indexer = callables.Indexer(1)
    registry.register("indexer", indexer)
    located = locate(indexer.index, registry)
    assert located.target == "@indexer:index"
    assert again(located, registry, 2) == 3


def test_an_instance_that_compares_hashes_and_prints_badly_is_no_problem(registry: Registry) -> None:
    located = locate(callables.Hostile(), registry)
    assert located.target == f"{HERE}:Hostile.__call__"
    assert again(located, registry) == "called"


def test_an_object_that_names_its_own_target_is_believed(registry: Registry) -> None:
    wrapper = types.SimpleNamespace(__deferq_target__="elsewhere:f", __call__=len)
    assert not callable(wrapper)
    holder = callables.Adder(1)
    holder.__deferq_target__ = "elsewhere:f"  # type: ignore[attr-defined]
    assert locate(holder, registry) == ("elsewhere:f", (), {})


# What is refused at the call

NESTED, NESTED_CLASS, NESTED_INSTANCE = callables.made_inside()
REFUSED: list[tuple[Any, str]] = [
    (lambda: None, "A lambda has no stable name.*write a function with def"),
    (NESTED, "nested is defined inside the function made_inside.*move it to the top of a module"),
    (NESTED_CLASS, "Nested is defined inside the function"),
    (NESTED_CLASS.create, "Nested is defined inside the function"),
    (NESTED_INSTANCE.method, "Nested.method is defined inside the function"),
    (functools.partial(lambda: None), "A lambda has no stable name"),
    (callables.generator, "generator is a generator function: calling it runs none of its code"),
    (callables.async_generator, "async_generator is a generator function"),
    (BASE.items, "Base.items is a generator function"),
    (callables.generator(), "generator is a generator, and a generator cannot be stored"),
    (None, "None cannot be called; pass the function itself"),
    (42, "An object of type int cannot be called"),
    ("hello", "An object of type str cannot be called"),
    (math, "math is a module and cannot be called; pass a function of it"),
    (callables.nameless, "wrapper is defined inside the function careless"),
    (callables.first_version, "replaced names something else than what was passed: it was replaced"),
    (
        callables.decorated.__wrapped__,  # type: ignore[attr-defined]
        "decorated names a decorated version of this function.*call_deferred",
    ),
    ("a".__len__, "cannot be found again under its own name"),
    (callables.generator().send, "cannot be found again under its own name"),
    (list[int], "names something else"),
]


@pytest.mark.parametrize(("fn", "message"), REFUSED, ids=[str(row) for row in range(len(REFUSED))])
def test_what_no_worker_could_call_is_refused_with_the_fix(registry: Registry, fn: Any, message: str) -> None:
    with pytest.raises(NotDeferrable, match=f"(?s){message}"):
        locate(fn, registry)


def test_a_coroutine_is_refused_since_it_was_called_already(registry: Registry) -> None:
    coroutine = callables.asynchronous(1)
    with pytest.raises(NotDeferrable, match=r"was called already.*defer\(asynchronous, \.\.\.\)"):
        locate(coroutine, registry)  # type: ignore[arg-type]
    coroutine.close()


def test_a_function_that_was_deleted_or_renamed_is_refused(registry: Registry) -> None:
    gone = types.FunctionType(callables.plain.__code__, vars(callables), "gone")
    gone.__module__, gone.__qualname__ = HERE, "gone"
    with pytest.raises(NotDeferrable, match="cannot be found again under its own name"):
        locate(gone, registry)


def test_a_function_whose_module_cannot_be_imported_is_refused(registry: Registry) -> None:
    orphan = types.FunctionType(callables.plain.__code__, {"__name__": "no_such_module"}, "plain")
    with pytest.raises(NotDeferrable, match="no_such_module:plain cannot be found again"):
        locate(orphan, registry)


def test_a_refusal_is_a_type_error_and_calls_no_repr(registry: Registry) -> None:
    with pytest.raises(TypeError):
        locate(callables.HostileLocked.__eq__, registry)


# How a target is found


def test_an_alias_is_followed_before_anything_else(registry: Registry) -> None:
    registry.alias("module.of.last.year:send", f"{HERE}:plain")
    assert find_target("module.of.last.year:send", registry, (HERE,)) is callables.plain


def test_registering_anew_and_a_new_alias_take_effect_at_once(registry: Registry) -> None:
    registry.alias("old:f", f"{HERE}:plain")
    assert find_target("old:f", registry) is callables.plain
    first, second = (
        type("Module", (), {"__module__": "m", "__qualname__": "M", "go": lambda self: self})() for _ in "ab"
    )
    registry.register("module", first)
    assert find_target("@module:go", registry)() is first
    registry.register("module", second)
    assert find_target("@module:go", registry)() is second


def test_a_reloaded_function_is_found_after_forget_targets(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_target(f"{HERE}:plain", registry) is callables.plain
    monkeypatch.setattr(callables, "plain", callables.cached)
    assert find_target(f"{HERE}:plain", registry) is not callables.cached
    forget_targets()
    assert find_target(f"{HERE}:plain", registry) is callables.cached


MALFORMED = [
    "", ":", "a:", ":b", "a", "a:b:c", "a..b:c", ".a:b", "a.:b", "a:b.", "a:.b", "a:b..c", "a b:c", "a:b c",
    "app.tasks.os.system", "__main__:x", "app..tasks", "app.tasks:__class__", "a:b.__class__", "a:__call__",
    "a:__call__.b", "a.__init__:b", "a:b.__globals__.c", "a:b\n", "a\x00:b", "a:\u202eb", "a:b\x7f", "../a:b", "a/b:c",
    "@", "@:x", "@a:", "@a:b.c", "@a:__class__", "@a b:c", "@a\n:c", "a" * 10_240, "a:" + "b" * 400, "a:1b", "1:b",
]  # fmt: skip


@pytest.mark.parametrize("target", MALFORMED)
def test_text_that_is_no_target_is_refused_without_an_import(registry: Registry, target: str) -> None:
    before = set(sys.modules)
    for allow in (None, (HERE,)):
        with pytest.raises(TargetNotAllowed, match="The target is") as caught:
            find_target(target, registry, allow)
        assert len(str(caught.value)) < 200
    assert set(sys.modules) == before


@pytest.mark.parametrize("target", [None, 7, b"os:system"])
def test_what_is_no_text_is_no_target(registry: Registry, target: Any) -> None:
    with pytest.raises(TargetNotAllowed):
        find_target(target, registry)


@given(st.text(max_size=60))
def test_any_text_is_found_or_refused_and_never_crashes(text: str) -> None:
    with pytest.raises((TargetNotAllowed, TargetUnknown)):
        find_target("no_such_package." + text, Registry())


GADGETS = [
    "builtins:eval", "builtins:exec", "os:system", "posix:system", "subprocess:run", "subprocess:Popen",
    "pickle:loads", "importlib:import_module", "this:anything", "antigravity:x", "os.path:join",
]  # fmt: skip


@pytest.mark.parametrize("target", GADGETS)
def test_a_target_outside_the_allow_list_is_refused_before_any_import(registry: Registry, target: str) -> None:
    before = set(sys.modules)
    with pytest.raises(TargetNotAllowed, match=r"not on this application's allow-list"):
        find_target(target, registry, ("tests.", "myapp."))
    assert set(sys.modules) == before


def test_a_prefix_allows_its_module_and_what_lies_below(registry: Registry) -> None:
    for allow in [(HERE,), (HERE + ".",), ("tests.",), ("tests",), ("other", "tests.unit")]:
        assert find_target(f"{HERE}:plain", registry, allow) is callables.plain
    for allow in [("test",), ("tests.uni",), ("tests.unit.callables.more",), ()]:
        with pytest.raises(TargetNotAllowed):
            find_target(f"{HERE}:plain", registry, allow)


def test_an_allowed_module_is_no_way_into_another_one(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, lending="import os\nfrom os import system\nfrom subprocess import Popen\nalso = [].append\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for target in ["lending:os.system", "lending:system", "lending:Popen", "lending:Popen.communicate", "lending:also"]:
        with pytest.raises(TargetNotAllowed):
            find_target(target, registry, ("lending",))
    with pytest.raises(TargetNotAllowed, match="neither its module nor a class"):
        find_target("lending:os.system", registry)


def test_an_alias_does_not_widen_the_allow_list(registry: Registry) -> None:
    registry.alias("tests.old:f", "os:system")
    with pytest.raises(TargetNotAllowed):
        find_target("tests.old:f", registry, ("tests.",))


def test_a_registered_object_is_allowed_by_being_registered(registry: Registry) -> None:
    registry.register("base", callables.Base(1))
    assert find_target("@base:method", registry, ())(2) == 3


def test_only_what_its_class_defines_can_be_called_on_a_registered_object(registry: Registry) -> None:
    base = callables.Base(1)
    base.shell = os.system  # type: ignore[attr-defined]
    registry.register("base", base)
    for target in ["@base:shell", "@base:gone"]:
        with pytest.raises(TargetUnknown, match="the registered Base has no such method"):
            find_target(target, registry)
    with pytest.raises(TargetUnknown, match="No object is registered as 'ghost'"):
        find_target("@ghost:method", registry)


def test_what_is_missing_after_a_deploy_is_unknown_with_the_reason(registry: Registry) -> None:
    for target, reason in [
        ("no_such_module:f", "ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{HERE}:no_such_function", "AttributeError"),
        (f"{HERE}:Base.no_such_method", "AttributeError"),
        (f"{HERE}.plain:f", "is not a package"),
    ]:
        with pytest.raises(TargetUnknown, match=reason):
            find_target(target, registry)
    with pytest.raises(TargetUnknown, match="not callable"):
        find_target("math:pi", registry)


@pytest.mark.parametrize("line", ["raise SystemExit(1)", "1 / 0", "syntax error", "raise BaseException", "exit()"])
def test_a_module_that_fails_to_import_does_not_crash_the_worker(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    write(tmp_path, breaking=line + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TargetUnknown, match="breaking:f cannot be found in this process"):
        find_target("breaking:f", registry)


def test_an_interrupt_from_the_keyboard_is_not_swallowed(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, interrupted="raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        find_target("interrupted:f", registry)


def test_a_deferring_wrapper_is_run_and_not_deferred_again(registry: Registry) -> None:
    assert callables.reindex(4) == "deferred"
    assert find_target(f"{HERE}:reindex", registry)(4) == 40


# Scripts

SHOW = """
    from deferq.codec.targets import find_target, locate
    from deferq.errors import DeferqError
    from deferq.registry import registry

    def hello(name="world"):
        return "hello " + name

    class Greeter:
        def greet(self): ...

    if __name__ != "hello":
        try:
            print(locate(hello).target, locate(Greeter().greet).target)
            print(find_target(locate(hello).target, registry) is hello)
        except DeferqError as error:
            print(type(error).__name__, error)
"""


def test_a_function_of_a_script_is_stored_under_the_name_of_its_file(tmp_path: Path) -> None:
    write(tmp_path, hello=SHOW)
    assert python(tmp_path, "hello.py") == "hello:hello hello:Greeter.greet\nTrue"
    write(
        tmp_path,
        worker="""
        from deferq.codec.targets import find_target
        from deferq.registry import registry
        print(find_target("hello:hello", registry)())
        """,
    )
    assert python(tmp_path, "worker.py") == "hello world"


def test_a_module_run_with_m_is_stored_under_its_full_name(tmp_path: Path) -> None:
    write(tmp_path, pkg__mod=SHOW, pkg__main=SHOW)
    (tmp_path / "pkg" / "main.py").rename(tmp_path / "pkg" / "__main__.py")
    assert python(tmp_path, "-m", "pkg.mod") == "pkg.mod:hello pkg.mod:Greeter.greet\nTrue"
    assert python(tmp_path, "-m", "pkg") == "pkg.__main__:hello pkg.__main__:Greeter.greet\nTrue"


def test_a_script_whose_file_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    write(tmp_path, hello=SHOW)
    (tmp_path / "hello.py").rename(tmp_path / "my-script.py")
    assert "NotDeferrable hello is defined in 'my-script.py', which no worker can import" in python(
        tmp_path, "my-script.py"
    )
    (tmp_path / "my-script.py").rename(tmp_path / "script")
    assert "rename the file" in python(tmp_path, "script")


def test_an_interactive_session_is_refused(tmp_path: Path) -> None:
    for output in [
        python(tmp_path, "-c", "\n".join(line[4:] for line in SHOW.splitlines())),
        python(tmp_path, "-", given="\n".join(line[4:] for line in SHOW.splitlines())),
    ]:
        assert "NotDeferrable hello " in output
        assert "no worker can import" in output


def test_a_script_is_not_run_twice_to_find_what_it_lacks(tmp_path: Path) -> None:
    write(
        tmp_path,
        once="""
        from deferq.codec.targets import find_target
        from deferq.errors import TargetUnknown
        from deferq.registry import registry
        print("run")
        try:
            find_target("once:missing", registry)
        except TargetUnknown:
            print("unknown")
        """,
    )
    assert python(tmp_path, "once.py") == "run\nunknown"


def test_a_script_does_not_hide_the_package_it_is_called_like(tmp_path: Path) -> None:
    write(
        tmp_path,
        app__tasks="",
        tools__app="""
        import sys
        sys.path.remove(sys.path[0])
        from deferq.codec.targets import find_target
        from deferq.registry import registry
        print(find_target("app:send", registry).__module__)
        """,
    )
    (tmp_path / "app" / "__init__.py").write_text("def send(): ...\n")
    assert python(tmp_path, "tools/app.py") == "app"


def test_a_child_of_multiprocessing_uses_the_name_of_the_script(tmp_path: Path) -> None:
    write(
        tmp_path,
        spawning="""
        import multiprocessing
        from deferq.codec.targets import locate

        def hello(): ...
        def show(): print(locate(hello).target)

        if __name__ == "__main__":
            child = multiprocessing.get_context("spawn").Process(target=show)
            child.start()
            child.join()
        """,
    )
    assert python(tmp_path, "spawning.py") == "spawning:hello"
