"""The bench compares systems in turns, and judges by the rows of one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import judging, targets
from bench.compare import Bench, Case, Figure, Row
from bench.ours import Ours
from bench.peers.redis_server import RedisServer

RATE = Figure(title="rate", unit="/s")


def row(role: str, *values: float, system: str = "deferq", durability: str = "", missing: str = "") -> Row:
    return Row(figure=RATE, system=system, role=role, values=list(values), durability=durability, missing=missing)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(folder=tmp_path, server=RedisServer(tmp_path / "redis", durable=False), repeats=3)


# ---- comparing


def case(label: str, log: list[str], **more: object) -> Case:
    def once(folder: Path) -> dict[Figure, float]:
        log.append(label)
        return {RATE: float(len(log))}

    return Case(candidate=Ours(), figures=(RATE,), once=once, label=label, **more)


def test_each_repeat_starts_with_another_case(bench: Bench) -> None:
    log: list[str] = []
    rows = bench.side_by_side([case("a", log), case("b", log)])
    assert log == ["a", "b", "b", "a", "a", "b"]
    assert [len(row.values) for row in rows] == [3, 3]


def test_a_long_measure_may_be_taken_less_often(bench: Bench) -> None:
    rows = bench.side_by_side([case("a", [])], repeats=1)
    assert rows[0].values == [1.0]


def test_a_case_that_fails_is_missing_with_its_reason_and_the_others_go_on(bench: Bench) -> None:
    def broken(folder: Path) -> dict[Figure, float]:
        raise RuntimeError("no luck")

    log: list[str] = []
    failing = Case(candidate=Ours(), figures=(RATE,), once=broken, label="b")
    rows = bench.side_by_side([case("a", log), failing])
    assert len(rows[0].values) == 3
    assert (rows[1].values, rows[1].missing) == ([], "failed: RuntimeError: no luck")


# ---- judging


def verdict(value: judging.Value, rows: list[Row], **bounds: float) -> judging.Verdict | None:
    return judging.Target(text="t", value=value, form="{:.2f}", **bounds).judge(rows)


def test_a_target_is_reached_at_its_bound_and_missed_beyond() -> None:
    rows = [row("ours", 1.0, 2.0, 3.0)]
    assert str(verdict(judging.ours(RATE), rows, at_least=2.0)) == "reached  t: 2.00"
    assert str(verdict(judging.ours(RATE), rows, at_most=1.9)) == "MISSED   t: 2.00"


def test_the_best_peer_of_that_name_is_the_one_to_beat() -> None:
    rows = [row("ours", 60.0), row("peer", 10.0, system="Huey, 1 thread"), row("peer", 20.0, system="Huey, 8 threads")]
    told = verdict(judging.against(RATE, "peer", "Huey"), rows, at_least=6.0)
    assert told is not None
    assert (told.value, told.reached) == ("3.00", False)


def test_a_variant_is_compared_with_ours_and_is_not_taken_for_it() -> None:
    rows = [row("variant", 18.0, system="deferq, parent, 2 children"), row("ours", 10.0)]
    told = verdict(judging.variant(RATE, "2 children"), rows, at_least=1.7)
    assert told is not None
    assert told.value == "1.80"
    assert verdict(judging.ours(RATE), rows, at_most=10.0) == judging.Verdict(target="t", value="10.00", reached=True)


def test_durability_chooses_between_rows_of_ours() -> None:
    rows = [
        row("ours", 1.0, durability="WAL, synchronous=FULL"),
        row("ours", 2.0, durability="WAL, synchronous=NORMAL"),
    ]
    told = verdict(judging.ours(RATE, "NORMAL"), rows, at_most=2.0)
    assert told is not None
    assert told.value == "2.00"


def test_what_could_not_be_measured_is_missed_and_what_was_not_asked_for_is_left_out() -> None:
    told = verdict(judging.ours(RATE), [row("ours", missing="failed: no luck")], at_most=1.0)
    assert told == judging.Verdict(target="t", value="no value, failed: no luck", reached=False)
    assert verdict(judging.ours(RATE), [], at_most=1.0) is None


def test_a_peer_that_is_not_installed_is_no_failure_of_ours() -> None:
    rows = [row("ours", 1.0), row("peer", system="Huey", missing="pip install huey")]
    assert verdict(judging.against(RATE, "peer", "Huey"), rows, at_least=1.0) is None


def test_every_target_has_a_bound_and_says_something_of_its_own() -> None:
    assert all((one.at_least is None) != (one.at_most is None) for one in targets.TARGETS)
    assert len({one.text for one in targets.TARGETS}) == len(targets.TARGETS)
