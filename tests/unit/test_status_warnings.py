"""Each warning of `deferq status`: when it stands, when not, and what it says."""

from __future__ import annotations

import pytest

from deferq.cli.snapshot import Snapshot, Waiting, take
from deferq.cli.warning import LATE_S, LOG_BYTES_MAX, Warned, warnings_of
from deferq.cli.workers import ChildSeen
from deferq.engines.memory.engine import MemoryEngine
from deferq.model.limits import Limits
from deferq.model.outcome import ErrorText, Failed, Interrupted, Parked
from deferq.runtime.guarded import TAKEN, left_to_others
from tests.support import FakeClock, TaskMaker, lease, settle_each
from tests.support.snapshots import MINUTE, NOW, queue_counts, snapshot, total, worker_seen


def the(code: str, seen: Snapshot) -> Warned:
    """The one warning with this code."""
    (warned,) = [one for one in warnings_of(seen) if one.code == code]
    return warned


def codes(seen: Snapshot) -> list[str]:
    return [warned.code for warned in warnings_of(seen)]


def test_there_is_nothing_to_warn_of_when_all_is_well() -> None:
    seen = snapshot(queue_counts(ready=3, leased=2), workers=[worker_seen()], totals=[total(attempts=100)], log_bytes=0)

    assert codes(seen) == []


# ---- nobody works


def test_no_worker_is_a_note_while_there_is_nothing_to_do() -> None:
    warned = the("no-worker", snapshot(queue_counts(scheduled=5)))

    assert (warned.serious, warned.text) == (False, "no worker is running")


def test_no_worker_is_serious_once_tasks_wait_and_is_said_once_for_all_queues() -> None:
    seen = snapshot(queue_counts("mail", ready=3), queue_counts("index", ready=20))

    assert codes(seen) == ["no-worker"]
    warned = the("no-worker", seen)
    assert warned.serious
    assert warned.text == "no worker is running, 23 tasks wait; start one with: deferq worker"


def test_what_is_due_in_a_paused_queue_waits_for_no_worker() -> None:
    assert not the("no-worker", snapshot(queue_counts(ready=3, paused=True))).serious


def test_no_worker_is_serious_too_if_the_last_one_left_tasks_behind() -> None:
    warned = the("no-worker", snapshot(queue_counts(leased=1), workers=[worker_seen(alive=False)]))

    assert warned.serious
    assert "1 task was left behind by a worker that is gone" in warned.text


def test_a_queue_that_no_worker_serves() -> None:
    seen = snapshot(queue_counts(ready=3), workers=[worker_seen(queues=["index"])])

    warned = the("unserved-queue", seen)

    assert warned.serious
    assert warned.queue == "mail"
    assert warned.text.startswith("3 tasks wait, no worker serves queue mail; start one with:")


def test_a_single_task_is_spoken_of_as_one() -> None:
    seen = snapshot(queue_counts(ready=1), workers=[worker_seen(queues=["index"])])

    assert the("unserved-queue", seen).text.startswith("1 task waits, ")


def test_a_count_that_stopped_at_its_cap_has_a_plus() -> None:
    seen = snapshot(queue_counts(ready=10_000), workers=[worker_seen(queues=["index"])])

    assert the("unserved-queue", seen).text.startswith("10,000+ tasks wait, ")


@pytest.mark.parametrize("changed", [{"ready": 0, "scheduled": 9}, {"ready": 3, "paused": True}])
def test_a_queue_in_which_nothing_is_to_be_done_needs_no_worker(changed: dict[str, object]) -> None:
    assert "unserved-queue" not in codes(snapshot(queue_counts(**changed), workers=[worker_seen(queues=["index"])]))


def test_a_worker_that_is_gone_serves_nothing() -> None:
    seen = snapshot(
        queue_counts(ready=3), workers=[worker_seen(alive=False), worker_seen("00000002", queues=["index"])]
    )

    assert the("unserved-queue", seen).serious


def test_tasks_left_behind_in_a_queue_that_no_worker_serves() -> None:
    seen = snapshot(queue_counts(leased=2), workers=[worker_seen(queues=["index"])])

    warned = the("left-behind", seen)

    assert warned.serious
    assert "2 tasks were left behind in queue mail by a worker that is gone" in warned.text


def test_a_route_that_no_worker_serves() -> None:
    seen = snapshot(
        queue_counts(ready=4),
        workers=[worker_seen(route="cpu")],
        waiting={"mail": Waiting({"gpu": 3, "cpu": 1}, {})},
    )

    warned = the("unserved-route", seen)

    assert warned.serious
    assert warned.text.startswith("3 tasks of queue mail with route gpu wait, no worker serves that route;")


@pytest.mark.parametrize("route", [None, "gpu"])
def test_a_worker_without_a_route_or_with_that_one_serves_it(route: str | None) -> None:
    seen = snapshot(
        queue_counts(ready=3),
        workers=[worker_seen(route="cpu"), worker_seen("00000002", route=route)],
        waiting={"mail": Waiting({"gpu": 3}, {})},
    )

    assert codes(seen) == []


def test_tasks_without_a_route_where_only_routes_are_pushed() -> None:
    seen = snapshot(
        queue_counts(ready=3),
        workers=[worker_seen(base="http://eu.example", pushed=("eu",))],
        waiting={"mail": Waiting({None: 2, "eu": 1}, {})},
    )

    assert the("unserved-route", seen).text == (
        "2 tasks of queue mail without a route wait, no worker serves them; start one with: deferq worker"
    )


@pytest.mark.parametrize("pushed", [None, (None, "eu")])
def test_a_base_for_tasks_without_a_route_serves_them(pushed: tuple[str | None, ...] | None) -> None:
    seen = snapshot(
        queue_counts(ready=2),
        workers=[worker_seen(base="http://eu.example", pushed=pushed)],
        waiting={"mail": Waiting({None: 2}, {})},
    )

    assert codes(seen) == []


# ---- workers in trouble


def test_a_base_that_does_not_answer() -> None:
    seen = snapshot(workers=[worker_seen(base="http://eu.example", in_trouble=True), worker_seen("00000002")])

    warned = the("base-in-trouble", seen)

    assert (warned.serious, warned.worker) == (False, "00000001")
    assert warned.text.startswith("http://eu.example does not answer as it should, and the worker on web-7 (pid 12)")


def test_attempts_past_their_timeout() -> None:
    warned = the("held-threads", snapshot(workers=[worker_seen(abandoned=2)]))

    assert warned.serious
    assert warned.worker == "00000001"
    assert warned.text.startswith(
        "2 attempts run past their timeout and hold 2 threads of the worker on web-7 (pid 12);"
    )


def test_one_attempt_past_its_timeout() -> None:
    text = the("held-threads", snapshot(workers=[worker_seen(abandoned=1)])).text

    assert text.startswith("1 attempt runs past its timeout and holds a thread of the worker on web-7 (pid 12);")


def test_the_threads_of_a_worker_that_is_gone_are_gone() -> None:
    assert "held-threads" not in codes(snapshot(workers=[worker_seen(alive=False, abandoned=2)]))


def test_a_child_that_is_stuck_is_a_note_since_it_is_replaced() -> None:
    children = (ChildSeen(40, "running", 1, 9, 0), ChildSeen(41, "stuck", 1, 9, 0))

    warned = the("stuck-child", snapshot(workers=[worker_seen(children=children)]))

    assert not warned.serious
    assert warned.text == "child 41 of the worker on web-7 (pid 12) is stuck, and will be replaced"


def test_a_worker_that_is_gone_is_a_note_with_the_time_of_its_last_word() -> None:
    seen = snapshot(workers=[worker_seen(), worker_seen("00000002", alive=False, pid=13, silent_s=40)])

    warned = the("gone-worker", seen)

    assert not warned.serious
    assert warned.text == "the worker on web-7 (pid 13) went without a word 40 s ago; look into its log"


# ---- tasks in trouble


def test_parked_tasks_with_what_they_call() -> None:
    seen = snapshot(
        queue_counts(parked=12),
        workers=[worker_seen()],
        waiting={"mail": Waiting({}, {"shop.tasks:send": 12})},
    )

    warned = the("parked", seen)

    assert warned.serious
    assert warned.text.startswith("12 tasks are parked in queue mail: no worker can run shop.tasks:send; which release")


def test_parked_tasks_of_many_kinds_name_three() -> None:
    targets = {f"shop:send_{n}": 1 for n in range(5)}
    seen = snapshot(queue_counts(parked=5), workers=[worker_seen()], waiting={"mail": Waiting({}, targets)})

    assert "run shop:send_0, shop:send_1, shop:send_2 and 2 more;" in the("parked", seen).text


def test_suspects_that_no_worker_with_children_could_run() -> None:
    waiting = {"mail": Waiting({}, {"shop:send": 2}, suspects=3)}
    seen = snapshot(queue_counts(parked=5), workers=[worker_seen()], waiting=waiting)
    warned = the("suspects", seen)
    assert warned.serious
    assert warned.text.startswith("3 tasks of queue mail wait for quarantine, since their workers have died too often")
    assert the("parked", seen).text.startswith("2 tasks are parked in queue mail: no worker can run shop:send;")


def test_suspects_are_not_said_to_be_unknown_and_with_a_parent_about_there_is_nothing_to_say() -> None:
    waiting = {"mail": Waiting({}, {}, suspects=1)}
    alone = snapshot(queue_counts(parked=1), workers=[worker_seen()], waiting=waiting)
    assert codes(alone) == ["suspects"]
    parent = worker_seen(children=(ChildSeen(40, "running", 1, 9, 0),))
    assert codes(snapshot(queue_counts(parked=1), workers=[worker_seen(), parent], waiting=waiting)) == []


def test_a_suspect_that_is_parked_as_unknown_is_said_to_be_unknown(clock: FakeClock, new: TaskMaker) -> None:
    engine = MemoryEngine(clock=clock)
    lost = Failed(error=ErrorText(error_type="WorkerLost", message="it died"), reason="worker lost")
    unknown = Parked(error=ErrorText(error_type="TargetUnknown", message="no such function"))
    engine.put([new(queue="mail", target="shop:gone"), new(queue="mail", target="shop:crashes")])
    for outcomes in [(lost, lost)] * 3:
        clock.advance(3600)
        for task, outcome in zip(lease(engine), outcomes, strict=True):
            settle_each(engine, [task], outcome)
    clock.advance(3600)
    for task in lease(engine):
        settle_each(engine, [task], unknown if task.target == "shop:gone" else left_to_others(task))
    assert take(engine).waiting["mail"] == Waiting({}, {"shop:gone": 1}, suspects=1)
    clock.advance(3600)
    for task in lease(engine):
        settle_each(engine, [task], unknown if task.target == "shop:gone" else Interrupted(after_s=9.0, reason=TAKEN))
    assert take(engine).waiting["mail"] == Waiting({}, {"shop:gone": 1}, suspects=1), "it waits for its turn there"


def test_parked_tasks_that_were_not_among_those_looked_at() -> None:
    assert "no worker can run them;" in the("parked", snapshot(queue_counts(parked=1), workers=[worker_seen()])).text


def late(**changed: object) -> Snapshot:
    totals, rate = changed.pop("totals", ()), changed.pop("rate", None)
    queue = queue_counts(**{"ready": 2, "oldest_ready": NOW - 12 * MINUTE, **changed})
    limits = {"mail": Limits(rate=rate)}  # type: ignore[arg-type]
    return snapshot(queue, workers=[worker_seen()], totals=totals, limits=limits)  # type: ignore[arg-type]


def test_a_queue_of_which_nothing_is_run_is_serious() -> None:
    warned = the("late", late())

    assert warned.serious
    assert warned.text.startswith("the oldest ready task of queue mail has waited for 12 min: and none")


def test_a_queue_that_is_run_too_slowly_is_a_note() -> None:
    warned = the("late", late(totals=[total(ago=3 * MINUTE)]))

    assert not warned.serious
    assert warned.text.endswith("tasks come faster than they are run")


def test_what_was_run_long_ago_is_no_excuse() -> None:
    assert the("late", late(totals=[total(ago=8 * MINUTE)])).serious


def test_a_queue_whose_rate_lets_hardly_any_task_start_is_a_note() -> None:
    warned = the("late", late(rate="10/h"))

    assert not warned.serious
    assert warned.text.endswith("has waited for 12 min: its rate is 10/h, one every 6 min")


def test_a_rate_that_lets_tasks_start_in_time_is_no_excuse() -> None:
    assert the("late", late(rate="1/m")).serious


@pytest.mark.parametrize("changed", [{"paused": True}, {"oldest_ready": NOW - int((LATE_S - 1) * 1e6)}])
def test_a_paused_queue_is_not_late_and_a_short_wait_neither(changed: dict[str, object]) -> None:
    assert "late" not in codes(late(**changed))


def test_a_paused_queue_in_which_tasks_wait_is_a_note() -> None:
    warned = the("paused-queue", snapshot(queue_counts(ready=20, paused=True), workers=[worker_seen()]))

    assert not warned.serious
    assert warned.text == "queue mail is paused and 20 tasks wait"


def test_a_paused_queue_that_is_empty_is_nothing_to_speak_of() -> None:
    assert codes(snapshot(queue_counts(paused=True, scheduled=3), workers=[worker_seen()])) == []


def test_a_queue_of_which_most_attempts_fail_is_a_note() -> None:
    warned = the("failing", snapshot(workers=[worker_seen()], totals=[total(attempts=10, failures=5)]))

    assert not warned.serious
    assert warned.text.startswith("5 of the last 10 attempts in queue mail failed;")


@pytest.mark.parametrize("counts", [(9, 9), (10, 4)])
def test_few_attempts_or_few_failures_say_nothing(counts: tuple[int, int]) -> None:
    attempts, failures = counts

    assert codes(snapshot(workers=[worker_seen()], totals=[total(attempts=attempts, failures=failures)])) == []


def test_a_log_that_is_never_started_over_is_a_note() -> None:
    assert codes(snapshot(workers=[worker_seen()], log_bytes=LOG_BYTES_MAX - 1)) == []

    warned = the("large-log", snapshot(workers=[worker_seen()], log_bytes=LOG_BYTES_MAX))

    assert not warned.serious
    assert warned.text.startswith("the log of the store is 256 MiB:")


def test_serious_ones_stand_first() -> None:
    seen = snapshot(queue_counts("a", ready=1, paused=True), queue_counts("b", parked=1), workers=[worker_seen()])

    assert codes(seen) == ["parked", "paused-queue"]
