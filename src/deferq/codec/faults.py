"""Which argument it was.

pickle says that something somewhere inside could not be stored. This file walks down to it, one level at a time and
only after the failure, so that a good call pays nothing. It never calls `repr` of what it finds, it remembers where it
has been, and it goes a limited number of levels deep.
"""

from __future__ import annotations

import copyreg
import io
from collections.abc import Callable, Iterable, Iterator
from pickle import dumps, loads
from types import (
    AsyncGeneratorType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
    TracebackType,
)
from typing import Any, NamedTuple

from deferq.errors import NotSerializable

Roots = list[tuple[str, Any]]
Check = Callable[[Any], BaseException | None]

_LEVELS_MAX = 100
_KEY_SHOWN_MAX = 40


class _Fault(NamedTuple):
    path: str
    value: Any
    error: BaseException


def explain_unstorable(roots: Roots, error: BaseException) -> NotSerializable:
    """The error for arguments that pickle refused; `roots` are the arguments by name."""
    fault = _deepest(roots, _storing, error)
    kind = type_name(fault.value)
    return NotSerializable(f"{fault.path} cannot be stored: {_what(kind, fault)}", path=fault.path, type_name=kind)


def explain_unrestorable(roots: Roots, error: BaseException) -> NotSerializable:
    """The error for arguments that pickle took, but could not give back."""
    fault = _deepest(roots, _restoring, error)
    kind = type_name(fault.value)
    return NotSerializable(
        f"{fault.path} could not be restored: a {kind} was stored, and loading it again raised"
        f" {type(fault.error).__name__}. Give the class a __reduce__ that fits its __init__, or pass plain values.",
        path=fault.path,
        type_name=kind,
    )


def _storing(value: Any) -> BaseException | None:
    try:
        dumps(value, 5)
    except Exception as error:
        return error
    return None


def _restoring(value: Any) -> BaseException | None:
    try:
        loads(dumps(value, 5))
    except (Exception, SystemExit) as error:
        return error
    return None


def _deepest(roots: Roots, check: Check, error: BaseException) -> _Fault:
    """Follow the first failing part down until all parts of a value are good in themselves."""
    fault = _Fault("arguments", roots, error)
    parts: Iterable[tuple[str, Any]] = roots
    prefix, seen = "", set[int]()
    for _ in range(_LEVELS_MAX):
        found = _first_failing(parts, check, seen)
        if found is None:
            break
        fault = found._replace(path=prefix + found.path)
        if isinstance(fault.error, RecursionError):
            break
        prefix, parts = fault.path, _parts(fault.value)
    return fault


def _first_failing(parts: Iterable[tuple[str, Any]], check: Check, seen: set[int]) -> _Fault | None:
    try:
        for step, value in parts:
            if id(value) in seen:
                continue
            error = check(value)
            if error is not None:
                seen.add(id(value))
                return _Fault(step, value, error)
    except Exception:  # a part that cannot even be looked at: its owner is the answer
        return None
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What pickle would store of `value`, each with the step that leads to it."""
    kind = type(value)
    if kind in (list, tuple):
        yield from _items(value)
    elif kind in (set, frozenset):
        yield from ((f"{{item {index}}}", item) for index, item in enumerate(value))
    elif kind is dict:
        yield from _entries(value.items())
    elif not isinstance(value, type | FunctionType | ModuleType):
        yield from _reduced_parts(value)


def _items(values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"[{index}]", item) for index, item in enumerate(values))


def _entries(items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    for index, (key, value) in enumerate(items):
        yield f"{{key {index}}}", key
        yield f"[{key_step(key)}]", value


def _reduced_parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of an object as its own `__reduce__` gives them: what it leaves out cannot be the cause."""
    reduce = copyreg.dispatch_table.get(type(value))
    reduced = reduce(value) if reduce else value.__reduce_ex__(5)
    if not isinstance(reduced, tuple):
        return
    padded: list[Any] = [*reduced, None, None, None]
    function, args, state, items, entries = padded[:5]
    yield from _state(state)
    yield from _items(items or ())
    yield from _entries(entries or ())
    yield ".__reduce__[0]", function
    yield from ((f".args[{index}]", arg) for index, arg in enumerate(args))


def _state(state: Any) -> Iterator[tuple[str, Any]]:
    """Attributes: a dict, or a pair of dicts when the class has slots."""
    halves = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if all(half is None or isinstance(half, dict) for half in halves):
        yield from ((f".{name}", value) for half in halves if half for name, value in half.items())
    else:
        yield ".__getstate__()", state


def key_step(key: Any) -> str:
    """A key as people write it; of a key with code of its own only the type."""
    if type(key) not in (str, int, bool, bytes, float, type(None)):
        return f"<{type(key).__qualname__}>"
    shown = repr(key[: _KEY_SHOWN_MAX + 1]) if isinstance(key, str | bytes) else repr(key)
    return shown if len(shown) <= _KEY_SHOWN_MAX + 3 else shown[:_KEY_SHOWN_MAX] + "…"


def type_name(value: Any) -> str:
    """The type of `value`, with its module unless it is built in."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def advice_for(value: Any) -> str | None:
    """What to pass instead of something that belongs to this process alone; None: it is no such thing."""
    return next((advice for applies, advice in _ADVICE if applies(value)), None)


def _what(kind: str, fault: _Fault) -> str:
    if isinstance(fault.error, RecursionError):
        return f"this {kind} is nested too deeply; pass a flat list, or a reference to where the data lies."
    return advice_for(fault.value) or (
        f"pickle refuses a {kind} ({type(fault.error).__name__}); pass plain values, or a key by which the task"
        " can load it."
    )


def _is_function(value: Any, mark: str) -> bool:
    return _is(value, FunctionType, type) and mark in value.__qualname__


def _is(value: Any, *kinds: type) -> bool:
    """Like isinstance, which asks an object that is no such thing for its `__class__`, and so runs code of its own."""
    return issubclass(type(value), kinds)


def _from_module(*modules: str) -> Callable[[Any], bool]:
    """By name, so that nothing has to be imported to recognise what nobody uses."""
    return lambda value: type(value).__module__ in modules


_ADVICE: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (
        lambda value: _is_function(value, "<lambda>"),
        "a lambda has no stable name; pass a function from the top of a module.",
    ),
    (
        lambda value: _is_function(value, "<locals>"),
        "it is defined inside a function; move the function or class to the top of a module.",
    ),
    (
        lambda value: _is(value, GeneratorType, AsyncGeneratorType),
        "a generator exists only in this process; pass a list of its items.",
    ),
    (
        lambda value: _is(value, CoroutineType),
        "a coroutine exists only in this process; await it and pass its result.",
    ),
    (lambda value: _is(value, ModuleType), "a module cannot be stored; import it in the task."),
    (
        lambda value: _is(value, io.IOBase),
        "an open file belongs to this process; pass its path and open it in the task.",
    ),
    (
        lambda value: _is(value, TracebackType, FrameType),
        "a traceback exists only in this process; pass its text.",
    ),
    (
        _from_module("socket", "_socket", "ssl"),
        "a socket belongs to this process; pass the address and connect in the task.",
    ),
    (
        _from_module("_thread", "threading", "multiprocessing.synchronize"),
        "a lock or thread belongs to this process; make it in the task, or leave it out in __getstate__.",
    ),
    (
        _from_module("sqlite3", "psycopg", "psycopg2.extensions", "sqlalchemy.engine.row", "sqlalchemy.orm.session"),
        "a database connection or row belongs to this process; pass the key, or the row as a tuple or dict.",
    ),
)
