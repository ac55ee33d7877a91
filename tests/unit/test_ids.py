"""Ids: time-ordered, never the same twice in a process, and different in a forked child."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from deferq.ids import IdSource
from deferq.model.task import EPOCH_2020_US, ID_RANDOM_BITS
from tests.support import FakeClock


def zeros(bits: int) -> int:
    return 0


@pytest.fixture
def ids(clock: FakeClock) -> IdSource:
    return IdSource(clock, zeros)


def test_an_id_carries_the_time_it_was_made(ids: IdSource, clock: FakeClock) -> None:
    (task_id,) = ids.take(1)
    assert (task_id >> ID_RANDOM_BITS) + EPOCH_2020_US == clock.now


def test_later_ids_are_larger(ids: IdSource, clock: FakeClock) -> None:
    (first,) = ids.take(1)
    clock.advance(0.000001)
    (second,) = ids.take(1)
    assert second > first


def test_ids_ascend_while_the_clock_stands_still_or_goes_back(ids: IdSource, clock: FakeClock) -> None:
    taken = [*ids.take(1), *ids.take(3)]
    clock.advance(-3600)
    taken += [*ids.take(10_000), *ids.take(1)]
    assert taken == sorted(set(taken))


def test_an_id_taken_after_many_is_larger_than_all_of_them(ids: IdSource) -> None:
    many = ids.take(100_000)
    assert ids.next() > many[-1]


def test_no_ids_are_none(ids: IdSource) -> None:
    assert list(ids.take(0)) == []


def test_an_id_fits_into_63_bits_until_2091(clock: FakeClock) -> None:
    clock.now = 3_800_000_000_000_000  # June 2090
    assert IdSource(clock).next() < 1 << 63


def test_a_clock_before_2020_still_gives_positive_ids(clock: FakeClock) -> None:
    clock.now = 0
    assert IdSource(clock).next() > 0


def test_two_sources_at_the_same_time_differ_in_their_random_bits(clock: FakeClock) -> None:
    first, second = ([*IdSource(clock).take(1), *IdSource(clock).take(1)] for _ in range(2))
    assert first != second


def test_threads_never_take_the_same_id(clock: FakeClock) -> None:
    source = IdSource(clock)
    taken: list[int] = []
    threads = [threading.Thread(target=lambda: taken.extend(source.next() for _ in range(500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == len(taken) == 4000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_takes_other_ids_even_if_a_thread_held_the_lock(clock: FakeClock) -> None:
    random_numbers = iter([1, 2])
    source = IdSource(clock, lambda bits: next(random_numbers))
    # Both seed their generators by one number each: 1 before the fork, 2 in the child.
    lock: threading.Lock = source._lock  # as another thread may hold it at that moment
    with lock:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, b"%d" % source.next())
            os._exit(0)
        os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with os.fdopen(read, "rb") as pipe:
        theirs = int(pipe.read())
    assert theirs != source.next()


def test_making_a_source_reads_no_clock() -> None:
    def never() -> int:
        raise AssertionError

    clock: Callable[[], int] = never
    IdSource(clock)
