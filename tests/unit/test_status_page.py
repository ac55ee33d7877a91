"""The page of `deferq status`: what it shows, and that it fits."""

from __future__ import annotations

import pytest

from deferq.cli.columns import shortened
from deferq.cli.page import Style, page, per_s
from deferq.cli.rates import window
from deferq.cli.snapshot import Snapshot
from deferq.cli.warning import warnings_of
from deferq.cli.workers import ChildSeen
from tests.support.snapshots import MINUTE, NOW, queue_counts, snapshot, total, worker_seen

LONG = "a_very_long_name_that_somebody_has_given_to_a_queue_" + "x" * 48


def text(seen: Snapshot, width: int = 120, height: int | None = None) -> list[str]:
    return [line.text for line in page(seen, warnings_of(seen), width=width, height=height)]


def busy(queues: int = 40) -> Snapshot:
    """Many queues, one with a long name, warnings of all sorts, and workers with children."""
    children = tuple(ChildSeen(40 + n, "stuck", n, 100 * n, 30_000_000) for n in range(4))
    names = [LONG, *(f"queue-{n:02}" for n in range(queues - 1))]
    counts = {"ready": 10_000, "leased": 10_000, "scheduled": 10_000, "retrying": 10_000, "parked": 10_000}
    return snapshot(
        *(queue_counts(name, oldest_ready=NOW - 90 * MINUTE, **counts) for name in names),
        workers=[
            worker_seen(host="a-machine-with-a-name.example.org", children=children, abandoned=3, queues=names[:3]),
            worker_seen("00000002", alive=False, silent_s=4000),
        ],
        totals=[total(name, attempts=9_000, failures=8_000) for name in names],
    )


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("height", [8, 14, 24, 50, None])
def test_a_page_fits_its_terminal_whatever_is_in_the_store(width: int, height: int | None) -> None:
    lines = text(busy(), width, height)

    assert max(map(len, lines)) <= width
    assert height is None or len(lines) <= height


def test_with_all_the_room_there_is_nothing_is_left_out() -> None:
    whole = "\n".join(text(busy(), 250))

    assert LONG in whole
    assert "queue-38" in whole
    assert whole.count("  child ") == 4
    assert "lines more" not in whole


@pytest.mark.parametrize(("height", "shown"), [(24, 5), (50, 15)])
def test_a_low_terminal_shows_part_of_everything(height: int, shown: int) -> None:
    lines = text(busy(), 80, height)

    assert sum(line.startswith(("queue-", "a_very")) for line in lines) >= shown
    assert any(line.startswith("warning") for line in lines)
    assert any(line.startswith("a-machine") for line in lines)
    assert any("queues with less to do" in line for line in lines)


def test_the_queues_with_most_to_do_are_those_that_are_shown() -> None:
    quiet = [queue_counts(f"quiet-{n:02}") for n in range(40)]
    seen = snapshot(*quiet[:20], queue_counts("busy", ready=5), *quiet[20:], workers=[worker_seen()])

    assert any(line.startswith("busy") for line in text(seen, 80, 20))


def test_a_store_without_queues_says_so() -> None:
    assert "No queue has been used yet." in text(snapshot())


def test_columns_of_zeros_are_left_out() -> None:
    (heading,) = [line for line in text(snapshot(queue_counts(ready=3))) if line.startswith("QUEUE")]

    assert heading.split() == ["QUEUE", "READY", "LEASED"]


def test_a_worker_and_its_children() -> None:
    children = (ChildSeen(41, "running", 2, 1_200, 34 * 1024 * 1024),)
    lines = text(snapshot(workers=[worker_seen(route="gpu", queues=["mail"], running=2, children=children)]))

    heading, worker, child = lines[-3:]
    assert heading.split()[:4] == ["WORKER", "PID", "STATE", "RUNNING"]
    assert worker.split() == ["web-7", "12", "alive", "2", "4", "1", "min", "gpu", "mail"]
    assert child.split() == ["child", "41", "running", "2", "1,200", "34", "MiB"]


def test_a_worker_that_is_gone_stands_below_those_alive() -> None:
    lines = text(snapshot(workers=[worker_seen(alive=False, silent_s=40), worker_seen("00000002", host="web-8")]))

    assert lines[-2].startswith("web-8")
    assert "gone for 40 s" in lines[-1]


def test_a_host_cannot_command_the_terminal() -> None:
    assert "\033" not in "".join(text(snapshot(workers=[worker_seen(host="\033[31mred", alive=False)])))


def test_serious_warnings_look_different_from_notes() -> None:
    seen = snapshot(queue_counts("a", ready=1, paused=True), queue_counts("b", parked=1), workers=[worker_seen()])

    styles = {line.text.split()[0]: line.style for line in page(seen, warnings_of(seen), width=200) if line.text}

    assert (styles["warning"], styles["note"]) == (Style.SERIOUS, Style.NOTE)


@pytest.mark.parametrize(
    ("rate", "said"),
    [(0.0, "0.0/min"), (0.02, "1.2/min"), (0.5, "30/min"), (1.0, "1.0/s"), (99.94, "99.9/s"), (45_000, "45,000/s")],
)
def test_rates_in_the_unit_that_fits(rate: float, said: str) -> None:
    assert per_s(rate) == said


def test_a_name_is_shortened_in_its_middle() -> None:
    assert shortened("mail_to_customers_in_germany", 16) == "mail_to_cu…rmany"
    assert shortened("mail", 4) == "mail"


# ---- rates


def test_a_rate_is_over_the_true_length_of_its_window() -> None:
    now = 100 * MINUTE + MINUTE // 2  # so the last minute began 90 seconds ago, at a full one
    folded = total(attempts=60, failures=15)._replace(at=99 * MINUTE)
    fresh = total(attempts=30)._replace(at=now)

    rate = window([folded, fresh], now, 1).of("mail")

    assert (rate.span_s, rate.attempts, rate.per_s) == (90.0, 90, 1.0)
    assert rate.failed_share == pytest.approx(15 / 90)
    assert rate.mean_s == pytest.approx(0.02)
    assert rate.max_s == pytest.approx(0.03)


def test_what_was_before_a_window_is_not_in_it() -> None:
    assert window([total(ago=3 * MINUTE)], NOW, 1).all.attempts == 0
    assert window([total(ago=3 * MINUTE)], NOW, 5).all.attempts == 1


def test_a_queue_without_attempts_has_a_rate_of_nothing() -> None:
    rate = window([], NOW, 1).of("mail")

    assert (rate.per_s, rate.failed_share, rate.mean_s, rate.max_s) == (0.0, 0.0, None, None)
