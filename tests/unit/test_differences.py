"""How two states of a database are compared, and how the difference reads."""

from __future__ import annotations

from typing import Any

import pytest

from deferq.testing import Effects
from deferq.testing.crashing.aftermath import differing_effects
from deferq.testing.crashing.tables import Table, differences, in_words, table_of


def keyed(*rows: tuple[Any, ...]) -> dict[str, Table]:
    return {"person": Table(("id", "name"), (0,), list(rows))}


def bag(*rows: tuple[Any, ...]) -> dict[str, Table]:
    return {"person": Table(("id", "name"), (), list(rows))}


def told(undisturbed: dict[str, Table], now: dict[str, Table], *ignore: str) -> list[str]:
    return in_words(differences(undisturbed, now, ignore))


@pytest.mark.parametrize("table", [keyed, bag])
def test_the_order_of_rows_does_not_matter(table) -> None:
    assert told(table((1, "ann"), (2, "bob")), table((2, "bob"), (1, "ann"))) == []


def test_rows_with_a_key_are_compared_value_by_value() -> None:
    lines = told(keyed((1, "ann"), (2, "bob"), (3, "eve")), keyed((2, "bill"), (3, "eve"), (4, "dan")))
    assert lines == [
        "person:",
        "  - (id=1, name='ann')",
        "  ~ (id=2): name is 'bill', and should be 'bob'",
        "  + (id=4, name='dan')",
    ]


def test_rows_without_a_key_are_counted() -> None:
    lines = told(bag((1, "ann"), (2, "bob")), bag((1, "ann"), (1, "ann"), (1, "ann")))
    assert lines == ["person:", "  + (id=1, name='ann') 2 times", "  - (id=2, name='bob')"]


@pytest.mark.parametrize("pattern", ["person", "person.name", "*.name", "p*"])
def test_what_is_ignored_may_differ(pattern: str) -> None:
    assert told(keyed((1, "ann")), keyed((1, "bob")), pattern) == []
    assert told(keyed((1, "ann")), keyed((1, "bob")), "person.id") != []


def test_without_its_key_a_table_is_a_bag() -> None:
    assert told(keyed((1, "ann")), keyed((7, "ann")), "person.id") == []
    assert told(keyed((1, "ann")), keyed((7, "ann"), (8, "ann")), "person.id") == ["person:", "  + (name='ann')"]


def test_a_table_that_comes_or_goes_is_a_difference() -> None:
    assert told({}, keyed()) == ["person:", "  the table is there, and was not after an undisturbed run"]
    assert told(keyed(), {}) == ["person:", "  the table is missing, and was there after an undisturbed run"]


def test_a_table_with_other_columns_is_a_difference() -> None:
    now = {"person": Table(("id", "age"), (0,), [(1, 7)])}
    assert told(keyed((1, "ann")), now) == ["person:", "  the table has other columns than after an undisturbed run"]


def test_many_rows_and_long_values_are_cut() -> None:
    lines = told(bag(), bag(*((number, "x" * 1000) for number in range(10))))
    assert lines[-1] == "  ... and 4 more"
    assert max(map(len, lines)) < 100


@pytest.mark.parametrize(
    ("snapshot", "rows"),
    [
        ([(1, "ann")], [(1, "ann")]),
        ([{"id": 1, "name": "ann"}, {"id": 2}], [(1, "ann"), (2, None)]),
        (["ann", "bob"], [("ann",), ("bob",)]),
        ({"ann"}, [("ann",)]),
        (7, [(7,)]),
        ("ann", [("ann",)]),
        ([[1], [2, []]], [(1,), (2, [])]),
    ],
)
def test_a_snapshot_may_be_of_any_form(snapshot: object, rows: list[tuple[Any, ...]]) -> None:
    table = table_of(snapshot)
    assert table.rows == rows
    assert differences({"it": table}, {"it": table_of(snapshot)}, ()) == []
    assert differences({"it": table}, {"it": table_of([*rows, ("more",)])}, ()) != []


def test_effects_are_counted_and_those_that_may_be_repeated_must_still_be_there() -> None:
    assert list(differing_effects(["a", "b"], ["b", "a"], repeats=False)) == []
    assert list(differing_effects(["a"], ["a", "a"], repeats=False)) == ["did twice instead of once: a"]
    assert list(differing_effects(["a"], ["a", "a"], repeats=True)) == []
    assert list(differing_effects(["a", "a"], ["a"], repeats=True)) == ["did once instead of twice: a"]
    assert list(differing_effects([], ["new"], repeats=True)) == ["did once instead of never: new"]


def test_effects_are_kept_in_their_order_until_they_are_cleared() -> None:
    effects = Effects()
    assert effects.recorder("send", result=7)("ann", subject="two\nlines") == 7
    effects.note("more")
    assert effects.seen() == [r"send('ann', subject='two\nlines')", "more"]
    effects.clear()
    assert effects.seen() == []
