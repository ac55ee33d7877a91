"""The generator by itself: effects out, answers in, no time passes unless the test says so."""

from __future__ import annotations

from typing import Any

import pytest

from deferq.engines.base import Turn, holder_of, new_lease_id
from deferq.errors import InvalidName, InvalidOption, StoreUnavailable
from deferq.model.events import Event, EventName
from deferq.model.outcome import SUCCEEDED, Outcome
from deferq.model.state import State
from deferq.model.task import Leased
from deferq.runtime.config import WorkerConfig
from deferq.runtime.dispatcher import Beat, Effect, FindStalled, Renew, Stop, Sweep, TakeTurn, Wait, dispatch
from deferq.runtime.outage import LONGEST_S, Outage
from deferq.runtime.pace import Pace
from deferq.runtime.settling import WORKER_LOST
from deferq.testing.simulate.pool import Run, SimulatedPool


def leased(number: int, lease_id: int = 1, **changes: Any) -> Leased:
    task = Leased(
        id=number, queue="default", target="app:work", priority=0, eta=0, attempts=0, starts=1, parks=0,
        expires_at=None, name=None, route=None, url=None, options=None, payload=b"", first_due=0,
        lease_id=lease_id, leased_until=0, cancel_requested=False,
    )  # fmt: skip
    return task._replace(**changes)


class Scene:
    """A dispatcher, the world around it, and how far it has come."""

    number = 7
    wanted = frozenset(EventName)

    def __init__(self, threads: int = 2, **config: Any) -> None:
        self.now = 100.0
        self.events: list[Event] = []
        self.task_s = 5.0
        self.outcome: Outcome = SUCCEEDED
        self.let_go = False
        self.config = WorkerConfig(threads=threads, **{"lease_s": 30.0, **config})
        self.stop = Stop(self.config.drain_s)
        self.pool = SimulatedPool(
            threads, self.monotonic, lambda *held: Run(self.now + self.task_s, *held, self.outcome, let_go=self.let_go)
        )
        self._dispatch = dispatch(self.config, self.pool, self, self.stop)
        self._effect: Effect | None = None

    def monotonic(self) -> float:
        return self.now

    def now_us(self) -> int:
        return int(self.now * 1e6)

    def random(self) -> float:
        return 0.0

    def announce(self, event: Event) -> None:
        self.events.append(event)

    def until(self, kind: type, answers: dict[type, Any] | None = None) -> Any:
        """Let it go on, with dull answers or those given, up to an effect of that kind."""
        for _ in range(100):
            effect = self.step((answers or {}).get(type(self._effect)))
            if isinstance(effect, kind):
                return effect
        raise AssertionError(f"it never asked for {kind.__name__}")

    def step(self, answer: Any = None) -> Effect | None:
        """Answer the last effect; returns the next, or None at the end."""
        try:
            if self._effect is None:
                self._effect = next(self._dispatch)
            elif isinstance(answer, StoreUnavailable):
                self._effect = self._dispatch.throw(answer)
            else:
                self._effect = self._dispatch.send(self._dull() if answer is None else answer)
        except StopIteration:
            return None
        return self._effect

    def _dull(self) -> Any:
        match self._effect:
            case TakeTurn():
                return Turn(self.now_us(), (), [], None)
            case Renew():
                return [], []
            case FindStalled():
                return []
            case Wait(timeout_s):
                self.now = min(self.now + timeout_s, max(self.now, self.pool.next_end()))
                return self.pool.tick()
            case _:
                return None

    def leasing(self, number: int) -> TakeTurn:
        """Answer its next turn with so many tasks."""
        effect: TakeTurn = self.until(TakeTurn)
        assert effect.want is not None
        tasks = [leased(index, effect.want.lease_id) for index in range(1, number + 1)]
        self.step(Turn(self.now_us(), (), tasks, None))
        return effect

    def names(self) -> list[EventName]:
        return [event.name for event in self.events]


def test_it_asks_for_as_many_tasks_as_would_start_at_once() -> None:
    effect = Scene(threads=3).until(TakeTurn)
    assert (effect.want.free, effect.want.ahead, holder_of(effect.want.lease_id)) == (3, 0, 7)


def test_it_leases_nothing_while_every_slot_is_busy_with_a_slow_task() -> None:
    scene = Scene()
    scene.leasing(2)
    scene.task_s = 100
    ends = scene.now + 4
    while scene.now < ends:
        assert not isinstance(scene.step(), TakeTurn)


def test_outcomes_ride_in_the_turn_that_leases_next() -> None:
    scene = Scene()
    scene.leasing(2)
    effect = scene.until(TakeTurn)
    assert [one.transition.state for one in effect.settlements] == [State.SUCCEEDED, State.SUCCEEDED]
    assert effect.want.free == 2


def test_it_leases_ahead_once_tasks_finish_fast() -> None:
    scene = Scene(threads=1)
    scene.task_s = 0.0
    most = 0
    for _ in range(40):
        effect = scene.leasing(1)
        assert effect.want is not None
        most = max(most, effect.want.ahead)
        scene.now += 0.001
    assert most > 10


def test_leases_are_renewed_when_a_third_of_them_is_over() -> None:
    scene = Scene()
    scene.task_s = 100
    scene.leasing(1)
    effect = scene.until(Renew)
    assert scene.now == pytest.approx(110.0)
    assert effect.until == pytest.approx(140e6, abs=2)


def test_a_lost_lease_is_announced_and_its_outcome_is_dropped() -> None:
    scene = Scene()
    scene.task_s = 15
    scene.leasing(1)
    renew = scene.until(Renew)
    scene.step((renew.leases, []))
    assert EventName.TASK_LOST in scene.names()
    ends = scene.now + 20
    while scene.now < ends:
        effect = scene.step()
        assert not (isinstance(effect, TakeTurn) and effect.settlements)


def test_a_cancellation_learned_at_renewal_ends_the_task_as_cancelled() -> None:
    scene = Scene()
    scene.task_s = 100
    scene.leasing(1)
    renew = scene.until(Renew)
    scene.step(([], renew.leases))
    effect = scene.until(TakeTurn)
    assert effect.settlements[0].transition.state is State.CANCELLED


def test_a_stalled_task_of_another_worker_is_settled_as_worker_lost() -> None:
    scene = Scene()
    effect = scene.until(TakeTurn, {FindStalled: [leased(5, new_lease_id(8, 1))]})
    while not effect.settlements:
        effect = scene.until(TakeTurn, {FindStalled: [leased(5, new_lease_id(8, 1))]})
    assert (effect.settlements[0].transition.rule, effect.settlements[0].transition.attempts) == ("worker lost", 1)


@pytest.mark.parametrize(
    ("leased_until", "message"),
    [(99.0, "The lease ran out"), (1e6, "The process of its worker ended")],
)
def test_the_error_of_a_lost_task_says_how_its_worker_was_lost(leased_until: float, message: str) -> None:
    scene = Scene()
    stalled = [leased(5, new_lease_id(8, 1), leased_until=int(leased_until * 1e6))]
    while not (settlements := scene.until(TakeTurn, {FindStalled: stalled}).settlements):
        pass
    (settlement,) = settlements
    assert settlement.failure is not None
    assert settlement.failure.message.startswith(message)
    assert (settlement.failure.error_type, settlement.failure.kind) == ("WorkerLost", "worker lost")
    assert settlement.only_if_over


def test_it_looks_for_stalled_tasks_first_of_all_and_then_now_and_then() -> None:
    scene = Scene()
    scene.until(FindStalled)
    assert scene.now == 100.0
    scene.step()
    scene.until(FindStalled)
    assert scene.now >= 100.5


def test_after_as_many_stalled_tasks_as_it_asked_for_it_looks_again_at_once() -> None:
    scene = Scene()
    asked = scene.until(FindStalled)
    scene.step([leased(number, new_lease_id(8, 1)) for number in range(asked.limit)])
    effect = scene.until(TakeTurn)
    assert len(effect.settlements) == asked.limit
    scene.until(FindStalled)
    assert scene.now == 100.0


def test_a_stalled_task_of_its_own_that_it_never_heard_of_is_given_back_unspent() -> None:
    scene = Scene()
    effect = scene.until(TakeTurn)
    while not effect.settlements:
        effect = scene.until(TakeTurn, {FindStalled: [leased(5, new_lease_id(7, 1))]})
    assert (effect.settlements[0].transition.rule, effect.settlements[0].transition.attempts) == ("interrupted", 0)


def test_what_has_waited_for_a_second_is_given_back() -> None:
    scene = Scene(threads=1)
    scene.task_s = 100
    scene.leasing(3)
    effect = scene.until(TakeTurn)
    assert {one.transition.rule for one in effect.settlements} == {"interrupted"}
    assert [one.task.id for one in effect.settlements] == [2, 3]
    assert scene.now < 103


def test_settlements_survive_an_outage_and_it_is_announced_once() -> None:
    scene = Scene()
    scene.leasing(1)
    first = scene.until(TakeTurn)
    while not first.settlements:
        first = scene.until(TakeTurn)
    for _ in range(5):
        scene.step(StoreUnavailable("no disk"))
        again = scene.until(TakeTurn)
        assert again.settlements == first.settlements
    scene.step()
    assert scene.names().count(EventName.STORE_UNAVAILABLE) == 1
    assert scene.names().count(EventName.STORE_RECOVERED) == 1


def test_a_stop_gives_back_what_waits_and_ends_once_the_rest_has_ended() -> None:
    scene = Scene(threads=1)
    scene.leasing(3)
    scene.stop.request()
    effect = scene.until(TakeTurn)
    assert (effect.want, [one.task.id for one in effect.settlements]) == (None, [2, 3])
    effect = scene.until(TakeTurn)
    assert [one.task.id for one in effect.settlements] == [1]
    assert scene.step() is None


def test_what_still_runs_is_renewed_while_a_worker_stops() -> None:
    scene = Scene(drain_s=60.0)
    scene.task_s = 50.0
    scene.leasing(2)
    scene.stop.request()
    assert [task.id for task in scene.until(Renew).leases] == [1, 2]


def test_a_stop_waits_no_longer_than_it_may() -> None:
    scene = Scene(drain_s=3.0)
    scene.task_s = 1_000
    scene.leasing(2)
    scene.stop.request()
    while scene.step() is not None:
        pass
    assert scene.now == pytest.approx(104.0, abs=1.0)


def test_an_idle_dispatcher_does_its_rounds() -> None:
    scene = Scene()
    kinds = {type(scene.step()) for _ in range(60)}
    assert kinds == {TakeTurn, Wait, FindStalled, Sweep, Beat}


# ---- its parts


def test_slow_tasks_are_not_leased_ahead_and_fast_ones_are() -> None:
    pace = Pace(prefetch_s=0.15, least=4, most=400)
    for second in range(20):
        pace.note(4, float(second))
    assert pace.ahead() == 0
    for millisecond in range(2_000):
        pace.note(50, 20 + millisecond / 1_000)
    assert pace.ahead() == 400
    pace.note(0, 30.0)
    assert pace.ahead() == 0


def test_an_outage_is_asked_about_ever_more_seldom_up_to_a_minute() -> None:
    outage = Outage()
    pauses = []
    for _ in range(20):
        outage.failed(0.0, 0.0)
        pauses.append(outage.until)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.1, LONGEST_S)
    assert outage.ended()
    assert not outage.ended()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threads", 0), ("threads", 10**9), ("threads", True), ("threads", "4"), ("lease_s", 0), ("lease_s", -1),
        ("lease_s", float("nan")), ("poll_s", 0), ("poll_s", 41.0), ("drain_s", float("inf")), ("batch", 0),
        ("prefetch_s", "0.1"), ("queues", ()), ("queues", "mail"),
    ],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidOption) as refused:
        WorkerConfig(**{field: value})
    assert refused.value.field == field


def test_a_queue_that_cannot_exist_is_refused() -> None:
    with pytest.raises(InvalidName):
        WorkerConfig(queues=("../x",))


def test_a_store_that_answers_but_cannot_be_written_is_announced_once_and_left_in_peace() -> None:
    scene = Scene()
    full = StoreUnavailable("the disk is full")
    writes = 0
    while scene.now < 220:
        refused = isinstance(scene._effect, TakeTurn | Sweep | Beat)
        writes += refused
        scene.step(full if refused else None)
    assert scene.names() == [EventName.STORE_UNAVAILABLE]
    assert writes < 120


def test_an_outage_that_is_over_is_noticed_before_leases_run_out() -> None:
    scene = Scene(lease_s=30.0)
    scene.task_s = 1e6
    scene.leasing(1)
    while scene.now < 122:  # the lease began at 100 and is believed in until 128.5
        scene.step(None if isinstance(scene._effect, Wait | None) else StoreUnavailable("no disk"))
    assert isinstance(scene.until(Renew), Renew)
    assert scene.now < 128


def test_what_the_pool_lets_go_is_neither_settled_nor_renewed_nor_given_back() -> None:
    scene = Scene()
    scene.let_go = True
    scene.leasing(1)
    assert not scene.until(TakeTurn).settlements
    ends = scene.now + 40
    while scene.now < ends:
        effect = scene.step()
        assert not isinstance(effect, Renew)
        assert not (isinstance(effect, TakeTurn) and effect.settlements)


def test_what_the_pool_let_go_counts_as_the_pool_has_said_once_its_lease_is_over_however_often_one_looks() -> None:
    scene = Scene()
    scene.outcome, scene.let_go = WORKER_LOST, True
    lease_id = scene.leasing(1).want.lease_id
    stalled = [leased(1, lease_id, leased_until=int(scene.now * 1e6))]
    for _ in range(2):  # somebody may have renewed it when it was to be settled
        while not (settlements := scene.until(TakeTurn, {FindStalled: stalled}).settlements):
            pass
        assert [(one.transition.rule, one.only_if_over) for one in settlements] == [("worker lost", True)]
        scene.step(Turn(scene.now_us(), (stalled[0],), [], None))


def test_stalled_tasks_that_still_run_here_do_not_hide_those_of_dead_workers() -> None:
    scene = Scene(threads=150)
    scene.task_s = 1e6
    scene.leasing(150)
    assert scene.until(FindStalled).limit >= 250


def asleep() -> Scene:
    """A dispatcher that holds nothing and waits for its bell."""
    scene = Scene()
    scene.until(FindStalled)
    scene.until(Wait)
    return scene


def test_who_is_woken_with_nothing_in_hand_asks_for_one_task_before_all_else() -> None:
    scene = asleep()
    effect = scene.step(True)
    assert isinstance(effect, TakeTurn)
    assert effect.want is not None
    assert (effect.want.hurry, effect.want.free, effect.want.ahead) == (True, 1, 0)

    task = leased(1, effect.want.lease_id)
    following = scene.step(Turn(scene.now_us(), (), [task], scene.now_us()))
    assert scene.pool.running() == 1
    assert isinstance(following, TakeTurn)
    assert following.want is not None
    assert (following.want.hurry, following.want.free) == (False, 1)


def test_who_is_woken_to_stop_leases_nothing() -> None:
    scene = asleep()
    scene.stop.request()
    assert scene.step(True) is None


def test_no_lease_id_is_asked_for_twice() -> None:
    scene = Scene()
    scene.task_s = 0.0
    asked: list[int] = []
    answer: Any = None
    for _ in range(300):
        effect, answer = scene.step(answer), None
        scene.pool.tick()  # what has started ends while the store is asked for something else
        if isinstance(effect, TakeTurn) and effect.want is not None:
            asked.append(effect.want.lease_id)
            tasks = [leased(len(asked), effect.want.lease_id)] if len(asked) % 3 else []
            answer = Turn(scene.now_us(), (), tasks, None)
        elif isinstance(effect, Wait):
            scene.now += 0.01
            answer = True
    assert len(asked) > 100
    assert len(set(asked)) == len(asked)


def test_who_is_woken_while_tasks_run_is_in_no_hurry() -> None:
    scene = Scene()
    scene.leasing(1)
    scene.until(Wait)
    effect = scene.step(True)
    assert isinstance(effect, TakeTurn)
    assert effect.want is not None
    assert not effect.want.hurry


def test_a_hurried_lease_is_asked_for_once_and_not_again_when_its_task_has_ended() -> None:
    scene = asleep()
    scene.task_s = 0.0
    effect = scene.step(True)
    assert isinstance(effect, TakeTurn)
    assert effect.want is not None
    asked = [effect.want]
    effect = scene.step(Turn(scene.now_us(), (), [leased(1, effect.want.lease_id)], scene.now_us()))
    while not isinstance(effect, Wait):
        if isinstance(effect, TakeTurn) and effect.want is not None:
            asked.append(effect.want)
        scene.pool.tick()
        effect = scene.step()
    assert [want.hurry for want in asked] == [True] + [False] * (len(asked) - 1)
    assert len({want.lease_id for want in asked}) == len(asked)
