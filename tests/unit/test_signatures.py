"""Whether a function takes its arguments is said at the call."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from deferq.signatures import check_arguments, shape_of
from tests.support import sample_tasks
from tests.support.sample_tasks import Account, add, note, takes_nothing, takes_two


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        (add, (1,), {}),
        (add, (1, 2), {}),
        (add, (1,), {"b": 2}),
        (add, (), {"a": 1, "b": 2}),
        (note, (), {}),
        (note, tuple(range(50)), {"any": 1}),
        (takes_nothing, (), {}),
        (takes_two, (1,), {"second": 2}),
        (partial(add, 1), (2,), {}),
        (partial(takes_two, second=1), (2,), {}),
        (Account, (), {}),
        (Account, (1,), {}),
        (Account(1).pay, (1,), {}),
        (Account.create, (1,), {}),
        (Account.fee, (1,), {}),
        (Account(2), (1,), {}),
        (sample_tasks.reindex, (1,), {"deep": True}),
        (Account(1).close, ("moved",), {}),
        (Account.close_all, ("moved",), {}),
        (Account.close_one, (1,), {}),
        ("a".upper, (), {}),
        (dict, (), {"anything": "goes"}),
    ],
)
def test_what_the_function_takes_passes(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    check_arguments(fn, args, kwargs)


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "named"),
    [
        (add, (), {}, "add"),
        (add, (1, 2, 3), {}, "add"),
        (add, (1,), {"a": 1}, "'a'"),
        (add, (1,), {"c": 1}, "'c'"),
        (takes_nothing, (1,), {}, "takes_nothing"),
        (takes_two, (1,), {}, "'second'"),
        (takes_two, (1, 2), {}, "takes_two"),
        (Account, (1, 2), {}, "Account"),
        (Account(1).pay, (), {}, "pay"),
        (Account.create, (1, 2), {}, "create"),
        (partial(add, 1), (2, 3), {}, "partial"),
        (sample_tasks.reindex, (1, 2), {}, "reindex"),
        (Account(1).close, (), {}, "close"),
        (Account.close_all, (), {}, "close_all"),
        (Account.close_one, (), {}, "close_one"),
    ],
)
def test_what_the_function_does_not_take_is_a_type_error_that_names_it(
    fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], named: str
) -> None:
    with pytest.raises(TypeError, match="cannot be called with these arguments") as caught:
        check_arguments(fn, args, kwargs)
    assert named in str(caught.value)


def test_the_message_shows_neither_arguments_nor_default_values() -> None:
    with pytest.raises(TypeError) as caught:
        check_arguments(sample_tasks.with_default, (1, 2, "a secret value"), {})
    assert "secret" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "with_default(value, token=...)" in str(caught.value)


def test_a_default_value_that_cannot_be_printed_does_not_matter() -> None:
    with pytest.raises(TypeError, match="with_hostile_default"):
        check_arguments(sample_tasks.with_hostile_default, (), {})


def test_a_callable_without_a_signature_passes() -> None:
    check_arguments(min, (1, 2, 3), {"anything": 1})
    assert shape_of(min) is None


def test_the_shape_names_the_keywords_and_nothing_stands_for_any() -> None:
    assert shape_of(takes_two).keywords == {"first", "second"}  # type: ignore[union-attr]
    assert shape_of(note).keywords is None  # type: ignore[union-attr]


def test_positional_only_parameters_are_no_keywords() -> None:
    def fn(first: int, /, second: int) -> None: ...

    assert shape_of(fn).keywords == {"second"}  # type: ignore[union-attr]
    with pytest.raises(TypeError):
        check_arguments(fn, (), {"first": 1, "second": 2})
