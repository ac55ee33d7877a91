"""The simulator notices each planted bug within the seeds that are stated, and without a bug it notices nothing."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.planted.bug import Bug, CannotBePlanted, plant
from tests.planted.bugs import BUGS
from tests.planted.running import SOURCE, Simulator
from tests.support import sized, tried

CHOSEN = sized(test=[bug for bug in BUGS if bug.quick], proof=BUGS, long=BUGS)
#: Where the simulator runs: engine, and where tasks run.
PLACES = sorted({(bug.engine, bug.where) for bug in CHOSEN})


@pytest.fixture(scope="session")
def simulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Runs the simulator with the bugs of all tests that were selected, while the first of them wait."""
    simulator = Simulator(tmp_path_factory.mktemp("planted"))
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    simulator.begin(item.callspec.params["bug"] for item in items if item.originalname == "test_a_bug_is_caught")
    yield simulator
    simulator.close()


@pytest.mark.programme
@pytest.mark.parametrize("bug", CHOSEN, ids=lambda bug: bug.name)
def test_a_bug_is_caught(simulator: Simulator, bug: Bug) -> None:
    code, text = simulator.said(bug)
    first = text.partition("\n")[0]
    noticed = code == 1 and first.startswith("seed ")  # a simulator that cannot even begin ends with 1 as well
    assert noticed, f"{bug.name}: not noticed in {bug.seeds} seeds; the simulator ended with {code}\n{text}"
    assert bug.is_shown_by(first), f"{bug.name}: noticed by other words\n{text}"
    tried("planted bugs caught", 1)


@pytest.mark.programme
@pytest.mark.parametrize(("engine", "where"), PLACES)
def test_without_a_bug_nothing_is_noticed_in_the_same_seeds(simulator: Simulator, engine: str, where: str) -> None:
    seeds = max(bug.seeds for bug in CHOSEN if (bug.engine, bug.where) == (engine, where))
    code, text = simulator.without_bug(engine, seeds, where)
    assert code == 0, text


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted(tmp_path: Path, bug: Bug) -> None:
    (tmp_path / bug.file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCE / bug.file, tmp_path / bug.file)
    plant(bug, tmp_path)
    assert (tmp_path / bug.file).read_text("utf-8") != (SOURCE / bug.file).read_text("utf-8")


def test_a_bug_whose_text_has_gone_is_told_to_be_adapted(tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text("the code has changed\n")
    gone = BUGS[0]._replace(file="engine.py")
    with pytest.raises(CannotBePlanted, match=r"engine\.py has the text of .* 0 times, not once\. Adapt the bug\."):
        plant(gone, tmp_path)


def test_every_bug_has_a_name_of_its_own() -> None:
    assert [name for name, times in Counter(bug.name for bug in BUGS).items() if times > 1] == []


def test_at_least_forty_bugs_are_planted() -> None:
    assert len(BUGS) >= 40
