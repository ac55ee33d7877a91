"""Which due tasks are leased, for any lanes: how `share_out` divides what there is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from deferq.engines.sqlite.sharing import CutShort, Due, Lane, Line, share_out


class Stock(NamedTuple):
    """What really stands in one lane, beyond what is looked at."""

    ordinary: list[Due]
    at_most_once: list[Due]

    def seen(self, limit: int) -> Lane:
        return Lane(self.ordinary[:limit], self.at_most_once[:limit], limit)


Stocks = list[list[Stock]]
#: By queue, how many of its tasks its limits allow; None: it is not limited.
Allowances = Sequence[int | None]


@st.composite
def stocks(draw: st.DrawFn) -> Stocks:
    """Up to four queues of up to three lanes; ids are numbers, each used once."""
    shapes = draw(
        st.lists(
            st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=3), min_size=1, max_size=4
        )
    )
    number = 0
    queues: Stocks = []
    for shape in shapes:
        lanes = []
        for ordinary, once in shape:
            halves = []
            for size in (ordinary, once):
                halves.append(sorted((draw(st.integers(0, 5)), number + each) for each in range(size)))
                number += size
            lanes.append(Stock(*halves))
        queues.append(lanes)
    return queues


def looked_at(queues: Stocks, limit: int, allowances: Allowances = ()) -> list[Line]:
    lanes = [[lane.seen(limit) for lane in lanes] for lanes in queues]
    return [Line(*pair) for pair in zip_longest(lanes, allowances[: len(lanes)])]


def ids(dues: list[Due]) -> list[int]:
    return [task_id for _, task_id in dues]


rooms = st.integers(0, 30)
slots = st.integers(0, 6)
allowances = st.lists(st.none() | st.integers(0, 5), max_size=4)


@given(stocks(), slots, rooms)
def test_no_more_than_there_is_room_for_and_nothing_twice(queues: Stocks, free: int, room: int) -> None:
    picked = share_out(looked_at(queues, room), free, room)
    there = {task_id for lanes in queues for lane in lanes for half in lane for _, task_id in half}
    assert len(picked) <= room
    assert len(picked) == len(set(picked))
    assert set(picked) <= there


@given(stocks(), slots, rooms)
def test_tasks_of_a_single_start_are_no_more_than_free_slots_and_stand_in_front(
    queues: Stocks, free: int, room: int
) -> None:
    picked = share_out(looked_at(queues, room), free, room)
    once = {task_id for lanes in queues for lane in lanes for task_id in ids(lane.at_most_once)}
    in_front = [task_id in once for task_id in picked]
    assert sum(in_front) <= free
    assert in_front == sorted(in_front, reverse=True)


@given(stocks(), slots, rooms)
def test_nothing_that_could_be_leased_is_left_while_there_is_room(queues: Stocks, free: int, room: int) -> None:
    picked = set(share_out(looked_at(queues, room), free, room))
    ordinary = {task_id for lanes in queues for lane in lanes for task_id in ids(lane.ordinary)}
    once = {task_id for lanes in queues for lane in lanes for task_id in ids(lane.at_most_once)}
    if len(picked) < room:
        assert ordinary <= picked
        assert len(picked & once) == min(free, len(once))


@given(stocks(), slots, rooms)
def test_within_a_queue_a_lower_priority_waits_for_all_of_a_higher_one(queues: Stocks, free: int, room: int) -> None:
    picked = set(share_out(looked_at(queues, room), free, room))
    for lanes in queues:
        for higher, lower in pairwise(lanes):
            if picked & {*ids(lower.ordinary), *ids(lower.at_most_once)}:
                assert set(ids(higher.ordinary)) <= picked


@given(stocks(), slots, rooms)
def test_within_a_lane_what_was_due_first_is_taken_first(queues: Stocks, free: int, room: int) -> None:
    picked = share_out(looked_at(queues, room), free, room)
    for lanes in queues:
        for lane in lanes:
            for half in lane:
                taken = [task_id for task_id in picked if task_id in set(ids(half))]
                assert taken == ids(half)[: len(taken)]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(0, 60))
def test_every_queue_gets_an_equal_share_as_far_as_it_has_work(sizes: list[int], room: int) -> None:
    """No queue gets two more than another that still has work, and the first ones have the rest."""
    first = 0
    queues: Stocks = []
    for size in sizes:
        queues.append([Stock([(0, first + number) for number in range(size)], [])])
        first += size
    picked = set(share_out(looked_at(queues, room), 0, room))
    taken = [len(picked & set(ids(lanes[0].ordinary))) for lanes in queues]
    assert sum(taken) == min(room, sum(sizes))
    hungry = [count for count, size in zip(taken, sizes, strict=True) if count < size]
    assert all(count <= max(taken) for count in hungry)
    if room < sum(sizes):
        share = room // len(sizes)
        assert all(count >= min(size, share) for count, size in zip(taken, sizes, strict=True))


@given(stocks(), slots, rooms, st.integers(1, 12), allowances)
def test_looking_at_less_gives_the_same_answer_or_says_that_it_cannot_tell(
    queues: Stocks, free: int, room: int, limit: int, allowed: Allowances
) -> None:
    everything = share_out(looked_at(queues, room, allowed), free, room)
    try:
        answer = share_out(looked_at(queues, min(limit, room), allowed), free, room)
    except CutShort:
        event("cut short")
        answer = share_out(looked_at(queues, room, allowed), free, room)
    assert answer == everything


@given(stocks(), slots, rooms, allowances)
def test_of_a_limited_queue_no_more_is_taken_than_it_allows_and_all_of_it_for_free_slots(
    queues: Stocks, free: int, room: int, allowed: Allowances
) -> None:
    lines = looked_at(queues, room, allowed)
    picked = share_out(lines, free, room)
    tight = [line for line in lines if line.allowance is not None]
    assert all(line.count(picked) <= line.allowance for line in tight)
    once = {task_id for lanes in queues for lane in lanes for task_id in ids(lane.at_most_once)}
    needy = [task_id in once or any(line.count([task_id]) for line in tight) for task_id in picked]
    assert sum(needy) <= free
    assert needy == sorted(needy, reverse=True)


@given(stocks(), slots, rooms, allowances)
def test_a_queue_at_its_limit_leaves_its_share_to_the_others(
    queues: Stocks, free: int, room: int, allowed: Allowances
) -> None:
    """What is not limited is left behind only if there is no room; what is, also if no slot is free."""
    lines = looked_at(queues, room, allowed)
    picked = share_out(lines, free, room)
    if len(picked) == room:
        return
    once = {task_id for lanes in queues for lane in lanes for task_id in ids(lane.at_most_once)}
    slots_taken = sum(line.count(picked) for line in lines if line.allowance is not None)
    slots_taken += sum(
        task_id in once for line in lines if line.allowance is None for task_id in picked if line.count([task_id])
    )
    for lanes, line in zip(queues, lines, strict=True):
        ordinary = [task_id for lane in lanes for task_id in ids(lane.ordinary)]
        if line.allowance is None:
            assert set(ordinary) <= set(picked)
        elif slots_taken < free:
            everything = sum(len(half) for lane in lanes for half in lane)
            assert line.count(picked) == min(line.allowance, everything)


@given(stocks(), slots, rooms)
def test_looking_at_as_much_as_there_is_room_for_is_always_enough(queues: Stocks, free: int, room: int) -> None:
    assert share_out(looked_at(queues, room), free, room) == share_out(looked_at(queues, 10_000), free, room)


def test_a_lane_that_ends_exactly_where_it_was_cut_is_looked_at_again() -> None:
    lanes = [Lane([(0, 1), (0, 2)], [], limit=2)]
    with pytest.raises(CutShort):
        share_out([Line(lanes)], 0, 5)


def test_what_is_not_seen_may_stand_behind_the_first_half_that_was_cut() -> None:
    ordinary, once = [(0, 1), (5, 2)], [(0, 3), (1, 4)]
    assert Lane(ordinary, once, limit=2).horizon == (1, 4)
    assert Lane(ordinary, once[:1], limit=2).horizon == (5, 2)
    assert Lane(ordinary, once, limit=3).horizon is None
    with pytest.raises(CutShort):  # between 4 and 2 there may be a task of a single start
        share_out([Line([Lane(ordinary, once, limit=2)])], 5, 4)


def test_a_lane_is_served_up_to_where_it_was_cut() -> None:
    lane = Lane([(0, 1), (5, 2)], [(0, 3), (1, 4)], limit=2)
    assert share_out([Line([lane])], 5, 2) == [3, 1]


def test_without_room_or_without_lanes_nothing_is_leased() -> None:
    assert share_out([], 5, 5) == []
    assert share_out([Line([Lane([(0, 1)], [], 5)])], 5, 0) == []
