"""Frozen values: never changed, equal by their fields, and dataclasses to whoever treats them as such."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from deferq import InvalidOption, Queue, RetryPolicy
from deferq.frozen import Frozen


class Point(Frozen):
    __slots__ = ("x", "y")

    x: int
    y: int

    def __init__(self, x: int, y: int = 0) -> None:
        self._fill(x=x, y=y)


class Other(Point):
    pass


def test_a_field_cannot_be_set_or_deleted_and_no_other_name_either() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(AttributeError):
        point.z = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'y'"):
        del point.y
    assert (point.x, point.y) == (1, 0)


def test_equal_fields_make_equal_values_with_equal_hashes() -> None:
    assert Point(1, 2) == Point(1, 2)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert Point(1, 2) != Point(2, 1)


def test_a_value_of_another_class_is_never_equal() -> None:
    assert Point(1, 2) != (1, 2)
    assert Point(1, 2) != Other(1, 2)


def test_a_value_is_true_whatever_it_holds() -> None:
    assert Queue()
    assert Point(0, 0)


def test_the_repr_names_the_fields_in_their_order() -> None:
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"
    assert repr(Queue(rate="5/s")).startswith("Queue(rate='5/s', bucket_size=None, max_concurrent=None, retry=None, ")
    assert repr(RetryPolicy(max_attempts=3)) == (
        "RetryPolicy(max_attempts=3, min_backoff_s=0.1, max_backoff_s=3600.0, max_doublings=16, max_age_s=None,"
        " jitter=True)"
    )


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [Point(1, 2), RetryPolicy(max_attempts=3), Queue(retry=RetryPolicy())], ids=repr)
def test_a_pickle_comes_back_equal(value: Frozen, protocol: int) -> None:
    assert pickle.loads(pickle.dumps(value, protocol)) == value


def test_copies_are_equal() -> None:
    queue = Queue(retry=RetryPolicy(max_attempts=3))
    assert copy.copy(queue) == queue
    assert copy.deepcopy(queue) == queue


def test_dataclasses_can_replace_list_and_unfold_a_value() -> None:
    policy = RetryPolicy(max_attempts=3, jitter=False)
    assert dataclasses.replace(policy, max_attempts=4) == RetryPolicy(max_attempts=4, jitter=False)
    assert [field.name for field in dataclasses.fields(policy)] == list(RetryPolicy.__slots__)
    assert dataclasses.is_dataclass(RetryPolicy)
    assert dataclasses.asdict(Queue(retry=policy))["retry"]["max_attempts"] == 3


def test_copy_can_replace_a_value() -> None:
    # Python 3.13 has it; before, what it calls is there already.
    replace = getattr(copy, "replace", lambda value, **changes: value.__replace__(**changes))
    assert replace(RetryPolicy(jitter=False), max_attempts=4) == RetryPolicy(max_attempts=4, jitter=False)


def test_replacing_checks_the_new_values() -> None:
    with pytest.raises(InvalidOption, match="max_attempts"):
        dataclasses.replace(RetryPolicy(), max_attempts=0)


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"RetryPolicy.__init__\(\) got an unexpected keyword argument 'attempts'"):
        RetryPolicy(attempts=3)  # type: ignore[call-arg]


def test_fields_come_by_keyword_only() -> None:
    with pytest.raises(TypeError):
        Queue(RetryPolicy())  # type: ignore[misc]
