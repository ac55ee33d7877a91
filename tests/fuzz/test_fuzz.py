"""A little of what `make proof` does much of: genuine inputs, changed ones, any bytes, and what was wrong once."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import campaign, plain
from tests.fuzz.campaign import Told
from tests.fuzz.catalogue import FINDINGS, TARGETS, Target
from tests.fuzz.guard import Deed, Guard
from tests.support import sized

EXAMPLES = sized(test=100, proof=300, long=3_000)


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard(everywhere=False)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_changed_inputs_and_any_bytes_are_refused_or_taken(target: Target, guard: Guard) -> None:
    fuzz, seeds = target.load()
    for genuine in seeds:
        fuzz(genuine)
    guarded = guard.guarded(fuzz)
    changed = st.builds(plain.mutated, st.integers(0, 2**32).map(random.Random), st.just(seeds))

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.binary(max_size=100) | changed | changed)
    def holds(data: bytes) -> None:
        guarded(data)

    holds()


@pytest.mark.parametrize(
    ("target", "found"),
    [(target, found) for target in TARGETS.values() for found in target.findings],
    ids=lambda value: value.name if isinstance(value, Path | Target) else None,
)
def test_what_was_wrong_once_is_right(target: Target, found: Path, guard: Guard) -> None:
    fuzz, seeds = target.load()
    for genuine in seeds:
        fuzz(genuine)
    guard.guarded(fuzz)(found.read_bytes())


def test_every_finding_belongs_to_a_target() -> None:
    assert {folder.name for folder in FINDINGS.iterdir()} <= set(TARGETS)


# ---- a guard that hears nothing, and a search that finds nothing, would look like success


def imports(data: bytes) -> None:
    import this as _  # noqa: F401


def writes(data: bytes) -> None:
    Path("/dev/null").write_bytes(data)


def runs(data: bytes) -> None:
    import os

    os.system("true")


def unpickles(data: bytes) -> None:
    import pickle

    pickle.loads(b"cbuiltins\nlen\n.")


@pytest.mark.parametrize("deed", [imports, writes, runs, unpickles])
def test_the_guard_hears_of(deed: Callable[[bytes], None], guard: Guard, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Deed):
        guard.guarded(deed)(b"")
    guard.guarded(len)(b"")  # type: ignore[arg-type]


def test_the_plain_search_finds_leaves_the_input_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def breaks(data: bytes) -> None:
        assert b"\xff" not in data

    with pytest.raises(SystemExit):
        plain.run(breaks, [b"genuine"], tmp_path, 100_000, 60, seed=1)

    (written,) = (tmp_path / "findings").iterdir()
    assert b"\xff" in written.read_bytes()
    assert str(written) in capsys.readouterr().err


def test_the_plain_search_tries_what_it_is_told_and_the_same_again(tmp_path: Path) -> None:
    runs: list[list[bytes]] = [[], []]
    for tries in runs:
        plain.run(tries.append, [b"genuine", b"also"], tmp_path, 500, 60, seed=7)

    assert len(runs[0]) == 500
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 300


def test_a_search_is_a_process_that_says_how_much_it_has_tried(tmp_path: Path) -> None:
    told = Told(folder=tmp_path, seconds=60, executions=200, seed=1, plain=True)

    report = campaign.run_one(TARGETS["signature"], told)

    assert report.ok, report.said
    assert report.executions == 200
    assert report.finding is None


@pytest.mark.slow
@pytest.mark.skipif(not campaign.has_atheris(), reason="atheris is not installed")
def test_a_guided_search_tries_what_it_is_told(tmp_path: Path) -> None:
    told = Told(folder=tmp_path, seconds=60, executions=2_000, seed=1, plain=False)

    report = campaign.run_one(TARGETS["signature"], told)

    assert report.ok, report.said
    assert report.executions == 2_000
