"""Whether a function takes the arguments it is to be called with: said at the call, not hours later in a worker."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any, NamedTuple

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_KEYWORD = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_UNLIMITED = 1 << 30


class Shape(NamedTuple):
    """The part of a signature that most calls can be checked against by counting."""

    signature: inspect.Signature
    #: Positional arguments that must come, if there are no keywords.
    least: int
    most: int
    #: Keywords it takes; None: any.
    keywords: frozenset[str] | None
    #: Whether a keyword-only argument is required, so that counting is not enough.
    needs_keywords: bool


def check_arguments(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise TypeError if `fn(*args, **kwargs)` could not start. Callables without a signature pass."""
    shape = shape_of(fn)
    if shape is None:
        return
    if not kwargs and not shape.needs_keywords and shape.least <= len(args) <= shape.most:
        return
    try:
        shape.signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(fn, "__qualname__", type(fn).__name__)
        raise TypeError(f"{name}{_shown(shape.signature)} cannot be called with these arguments: {error}.") from None


def _shown(signature: inspect.Signature) -> str:
    """The names alone: a default value may be secret, and its `repr` is somebody else's code."""
    parameters = [_without_values(parameter) for parameter in signature.parameters.values()]
    return str(inspect.Signature(parameters)).replace("=Ellipsis", "=...")


def _without_values(parameter: inspect.Parameter) -> inspect.Parameter:
    default = parameter.empty if parameter.default is parameter.empty else ...
    return parameter.replace(annotation=parameter.empty, default=default)


def shape_of(fn: Callable[..., Any]) -> Shape | None:
    """The shape of `fn`, remembered for functions and methods; None if it has no signature."""
    if type(fn) is FunctionType:
        return _function_shape(fn)
    if type(fn) is MethodType and type(fn.__func__) is FunctionType:
        return _method_shape(fn.__func__)
    return _shape(fn)


@lru_cache(maxsize=4096)
def _function_shape(fn: FunctionType) -> Shape | None:
    return _shape(fn)


@lru_cache(maxsize=4096)
def _method_shape(fn: FunctionType) -> Shape | None:
    """The shape of a bound method, by its function: the first argument is there already."""
    return _shape(MethodType(fn, object()))


def _shape(fn: Callable[..., Any]) -> Shape | None:
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return None
    parameters = signature.parameters.values()
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    kinds = {parameter.kind for parameter in parameters}
    takes_any = inspect.Parameter.VAR_KEYWORD in kinds
    return Shape(
        signature=signature,
        least=sum(parameter.default is parameter.empty for parameter in positional),
        most=_UNLIMITED if inspect.Parameter.VAR_POSITIONAL in kinds else len(positional),
        keywords=None if takes_any else frozenset(p.name for p in parameters if p.kind in _KEYWORD),
        needs_keywords=any(
            parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
            for parameter in parameters
        ),
    )
