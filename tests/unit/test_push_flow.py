"""How many requests a base gets: no time passes unless the test says so."""

from __future__ import annotations

from deferq.http.push.flow import LONGEST_S, RETRY_AFTER_S_MAX, Flow


def flow(most: int = 8) -> Flow:
    return Flow(most, lambda: 0.0)


def test_a_base_that_answers_gets_as_many_as_are_allowed() -> None:
    one = flow()
    for _ in range(20):
        one.went_well()
    assert (one.window, one.open(0.0), one.in_trouble, one.recovering) == (8, True, False, False)


def test_who_does_not_answer_is_left_alone_longer_and_longer_and_then_asked_by_one() -> None:
    one, now, pauses = flow(), 100.0, []
    for _ in range(14):
        one.slow_down(sent_at=now, now=now + 1)
        now += 1
        assert not one.open(now)
        assert one.window == 1
        pauses.append(one.until - now)
        now = one.until
        assert one.open(now)
    assert [round(pause, 6) for pause in pauses[:4]] == [0.1, 0.2, 0.4, 0.8]
    assert round(pauses[-1], 6) == LONGEST_S


def test_the_pauses_are_spread() -> None:
    spread = Flow(8, lambda: 0.5)
    spread.slow_down(sent_at=0.0, now=1.0)
    assert round(spread.until - 1.0, 6) == 0.075


def test_the_others_that_were_under_way_say_nothing_new() -> None:
    one = flow()
    assert one.slow_down(sent_at=0.0, now=1.0)
    until = one.until
    for _ in range(7):
        assert not one.slow_down(sent_at=0.5, now=1.05)
    assert one.until == until


def test_retry_after_is_obeyed_within_reason() -> None:
    one = flow()
    one.slow_down(sent_at=0.0, now=1.0, after_s=30.0, answered=True)
    assert one.until == 31.0
    one.slow_down(sent_at=0.5, now=2.0, after_s=60.0, answered=True)
    assert one.until == 62.0
    one.slow_down(sent_at=70.0, now=71.0, after_s=1e9, answered=True)
    assert one.until == 71.0 + RETRY_AFTER_S_MAX


def test_who_wants_less_gets_half_as_many() -> None:
    one = flow()
    one.slow_down(sent_at=0.0, now=1.0, answered=True)
    assert one.window == 4
    one.slow_down(sent_at=2.0, now=3.0, answered=True)
    assert one.window == 2


def test_after_trouble_the_window_doubles_with_each_round_up_to_the_half_and_then_grows_slowly() -> None:
    one = flow()
    one.slow_down(sent_at=0.0, now=1.0)
    assert one.went_well()
    windows = [one.window]
    while one.recovering:
        for _ in range(one.window):
            assert not one.went_well()
        windows.append(one.window)
    assert windows == [2, 4, 4, 5, 6, 7, 8]
