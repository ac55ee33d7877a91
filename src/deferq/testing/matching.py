"""Whether a task is the one that a test expects, and, if it is not, what is different."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from deferq.calls import Call
from deferq.codec.targets import locate
from deferq.options import OPTION_NAMES
from deferq.signatures import check_arguments, shape_of
from deferq.suggest import did_you_mean
from deferq.testing.deferred import DeferredTask, shown, shown_call

#: What a task can be asked for beside its call.
OPTIONS = tuple(name for name in OPTION_NAMES if name != "if_exists")
#: Options in seconds, which are stored as an instant.
_FROM_THE_CALL = {"countdown", "expires"}
_SHOWN_MAX = 10


class Expected(NamedTuple):
    """What a test expects of a task."""

    #: None: any.
    target: str | None
    fn: Callable[..., Any] | None
    #: None: any arguments.
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]

    def __str__(self) -> str:
        call = "any task" if self.target is None else f"{self.target} with any arguments"
        if self.target is not None and self.args is not None:
            call = shown_call(self.target, self.args, self.kwargs)
        options = ", ".join(f"{name} {shown(value)}" for name, value in self.options.items())
        return f"{call} ({options})" if options else call

    def differences(self, task: DeferredTask) -> list[str]:
        """What is different, in words; empty: it is the one."""
        if self.target is not None and task.target != self.target:
            return [f"it calls {task.target}"]
        return [*self._in_arguments(task), *self._in_options(task)]

    def _in_arguments(self, task: DeferredTask) -> list[str]:
        if self.args is None or self.fn is None:
            return []
        expected = _by_name(task.fn, self.args, self.kwargs)
        found = _by_name(task.fn, task.args, task.kwargs)
        missing = [f"{name} is not given, expected {shown(expected[name])}" for name in expected if name not in found]
        others = [
            f"{name} is {shown(value)}, expected {shown(expected[name])}"
            if name in expected
            else f"{name} is {shown(value)}, expected none"
            for name, value in found.items()
            if name not in expected or not same(value, expected[name])
        ]
        return others + missing

    def _in_options(self, task: DeferredTask) -> list[str]:
        return [
            f"{name} is {shown(found)}, expected {shown(value)}"
            for name, value in self.options.items()
            if not _fits(name, found := getattr(task, name), value)
        ]


def expected(fn: Callable[..., Any] | Call[Any] | None, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Expected:
    """What a test expects that calls `assert_deferred(fn, *args, **keywords)`.

    A keyword that the function takes is an argument of it; the others are options. A Call is taken as it is. Raises
    TypeError for a keyword that is neither, and for arguments that the function does not take.
    """
    if isinstance(fn, Call):
        if args:
            raise TypeError("The arguments belong into the call: assert_deferred(call(fn, 1), queue=...).")
        target, first, named = locate(fn.fn)
        given = {name: value for name, value in (fn.options or {}).items() if name in OPTIONS}
        options = {**given, **_checked(keywords, fn.fn)}
        check_arguments(fn.fn, fn.args, fn.kwargs)
        return Expected(target, fn.fn, (*first, *fn.args), {**named, **fn.kwargs}, options)
    if fn is None:
        return Expected(None, None, None, {}, _checked(keywords, None))
    target, first, named = locate(fn)
    own, options = _split(fn, keywords)
    if not args and not own:
        return Expected(target, fn, None, {}, options)
    check_arguments(fn, args, own)
    return Expected(target, fn, (*first, *args), {**named, **own}, options)


def _split(fn: Callable[..., Any], keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    shape = shape_of(fn)
    if shape is not None and shape.keywords is not None:
        own = {name: value for name, value in keywords.items() if name in shape.keywords}
    else:  # it takes any keyword: what deferq knows as an option is one
        own = {name: value for name, value in keywords.items() if name not in OPTIONS}
    return own, _checked({name: value for name, value in keywords.items() if name not in own}, fn)


def _checked(options: Mapping[str, Any], fn: Callable[..., Any] | None) -> dict[str, Any]:
    for name in options:
        if name not in OPTIONS:
            hint = did_you_mean(name, OPTIONS, otherwise=f" Options are: {', '.join(OPTIONS)}.")
            whose = "" if fn is None else " the function does not take, and which"
            raise TypeError(f"The keyword {name!r} is one that{whose} is no option of a call.{hint}")
    return dict(options)


def _by_name(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by the names of their parameters, defaults filled in: `f(1)` and `f(a=1)` are the same call."""
    shape = shape_of(fn)
    if shape is not None:
        try:
            bound = shape.signature.bind(*args, **kwargs)
        except TypeError:
            pass
        else:
            bound.apply_defaults()
            return _flat(shape.signature, bound.arguments)
    return {**{f"args[{index}]": value for index, value in enumerate(args)}, **kwargs}


def _flat(signature: inspect.Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            flat.update({f"{name}[{index}]": one for index, one in enumerate(value)})
        elif kind is inspect.Parameter.VAR_KEYWORD:
            flat.update(value)
        else:
            flat[name] = value
    return flat


def same(stored: object, wanted: object) -> bool:
    """Whether a restored value is the one that was given: equal, or, where a class says nothing of that, alike."""
    try:
        if wanted == stored:
            return True
    except Exception:  # an array, say, which is neither equal nor not
        pass
    if type(stored) is not type(wanted):
        return False
    try:
        return pickle.dumps(stored) == pickle.dumps(pickle.loads(pickle.dumps(wanted)))
    except Exception:
        return False


def _fits(option: str, found: Any, wanted: Any) -> bool:
    if isinstance(wanted, timedelta):
        wanted = wanted.total_seconds()
    if option in _FROM_THE_CALL and isinstance(wanted, int | float) and isinstance(found, int | float):
        return abs(found - wanted) < 0.002  # found is rounded
    if option == "tags" and wanted is not None:
        return tuple(found) == tuple(wanted)
    return same(found, wanted)


def told(wanted: Expected, tasks: Sequence[DeferredTask], matching: int, count: int | None) -> str:
    """Why an assertion fails: what was expected, and what came nearest to it."""
    head = f"expected {count} of" if count is not None else "expected"
    were = f"{matching} such tasks were" if matching > 1 else f"{matching or 'no'} such task was"
    lines = [f"{head} {wanted}; {were} deferred."]
    ranked = sorted(tasks, key=lambda task: task.target != wanted.target)
    if not ranked:
        return f"{lines[0]} Nothing was deferred at all."
    lines.append("Deferred were:")
    for task in ranked[:_SHOWN_MAX]:
        lines.append(f"  {task}")
        if task.target == wanted.target or wanted.target is None:
            lines += [f"      {difference}" for difference in wanted.differences(task)]
    if len(ranked) > _SHOWN_MAX:
        lines.append(f"  ... and {len(ranked) - _SHOWN_MAX} more")
    return "\n".join(lines)
