"""FakeClock: the time of a test."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from deferq import NaiveDatetime, ScheduleError
from deferq.testing import FakeClock

NINE = datetime(2030, 1, 1, 9, tzinfo=UTC)


def test_it_goes_with_the_system_until_it_is_moved() -> None:
    clock = FakeClock()
    before = time.time_ns() // 1_000
    assert before <= clock() <= time.time_ns() // 1_000
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=30)


def test_once_moved_it_stands_still() -> None:
    clock = FakeClock()
    later = clock.advance(60)
    assert clock.now() == later == clock.now()
    assert clock.advance(timedelta(minutes=1)) == later + timedelta(minutes=1)


def test_it_can_be_told_the_time() -> None:
    clock = FakeClock()
    assert clock.move_to(NINE.astimezone(timezone(timedelta(hours=2)))) == NINE == clock.now()
    assert clock.now().tzinfo is UTC
    assert clock.move_to(NINE - timedelta(days=365)) < NINE
    assert FakeClock(NINE)() == 1_893_488_400_000_000


def test_it_can_be_frozen() -> None:
    clock = FakeClock()
    assert clock.freeze() == clock.now() == clock.now()


def test_it_follows_whoever_moves_the_system_s_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """freezegun and time-machine do it like this."""
    clock = FakeClock()
    monkeypatch.setattr(time, "time_ns", lambda: 1_893_488_400_000_000_000)
    assert clock.now() == NINE


def test_skipping_lets_it_go_on_as_it_did() -> None:
    clock = FakeClock()
    goal = clock() + 60_000_000
    clock.skip_to(goal)
    assert goal <= clock() < goal + 30_000_000
    clock.skip_to(goal - 1_000_000)
    assert clock() >= goal
    frozen = FakeClock(NINE)
    frozen.skip_to(frozen() + 5)
    assert frozen.now() == NINE + timedelta(microseconds=5) == frozen.now()


def test_it_tells_that_it_was_moved_and_not_that_it_skipped() -> None:
    clock, seen = FakeClock(NINE), []
    stop = clock.when_moved(lambda: seen.append(clock.now()))
    clock.advance(1)
    clock.skip_to(clock() + 1_000_000)
    stop()
    clock.advance(1)
    assert seen == [NINE + timedelta(seconds=1)]


def test_times_that_make_no_sense_are_refused() -> None:
    clock = FakeClock()
    with pytest.raises(NaiveDatetime):
        clock.move_to(datetime(2030, 1, 1))
    with pytest.raises(NaiveDatetime):
        FakeClock(datetime(2030, 1, 1))
    with pytest.raises(ScheduleError):
        clock.advance(-1)
    with pytest.raises(ScheduleError):
        clock.advance("60")  # type: ignore[arg-type]


def test_it_says_what_time_it_is() -> None:
    assert repr(FakeClock(NINE)) == "<FakeClock 2030-01-01T09:00:00+00:00, stands still>"
