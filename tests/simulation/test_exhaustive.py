"""Everything that can happen to one task and two workers, one path after another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deferq.engines.memory import MemoryEngine
from deferq.model.limits import US
from deferq.runtime import dispatcher
from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.command import main
from deferq.testing.simulate.exhaustive import Explored, explore
from deferq.testing.simulate.scope import SCOPES, Scope
from deferq.testing.simulate.sqlite import SqliteFiles
from tests.simulation.test_simulation import GivesBackWhatWasLost, IgnoresLostLeases, NoFence, ReckonsTooLate
from tests.support import sized, tried

#: In `make test`.
SLICE = [
    Scope(crashes=1, max_attempts=1),
    Scope(crashes=1, cancels=1),
    Scope(crashes=1, namesakes=1),
    Scope(naps=1, fails_first=True),
    Scope(errors=1, bells=True),
    Scope(lost_answers=1),
    Scope(leaps=1),
    Scope(stops=1),
]
#: In `make proof-long`.
NIGHT = [
    Scope(stops=1, errors=1, seconds=3.5),
    Scope(crashes=2, leaps=1),
    Scope(crashes=1, leaps=2),
    Scope(crashes=1, naps=1, leaps=1),
    Scope(crashes=1, naps=1, seconds=3.5),
    Scope(naps=2),
    Scope(naps=1, lost_answers=1, errors=1, seconds=3.5),
]


def all_paths(scope: Scope, **options: object) -> Explored:
    """Explore a scope to its end."""
    explored = explore(scope, **options)  # type: ignore[arg-type]
    assert explored.complete
    tried("interleavings of 2 workers and 1 task", explored.paths)
    tried("moments at which there was a choice", explored.moments)
    return explored


@pytest.mark.programme
@pytest.mark.parametrize("scope", SLICE, ids=str)
def test_no_interleaving_breaks_a_promise(scope: Scope) -> None:
    assert all_paths(scope).paths >= 50


@pytest.mark.slow
@pytest.mark.programme
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scope", sized([], SCOPES, [*SCOPES, *NIGHT]), ids=str)
def test_no_interleaving_with_more_trouble_breaks_a_promise(scope: Scope) -> None:
    assert all_paths(scope).paths > 1_000


@pytest.fixture
def sqlite() -> Iterator[SqliteFiles]:
    files = SqliteFiles()
    yield files
    files.close()


@pytest.mark.programme
@pytest.mark.parametrize(
    "scope", sized([Scope(crashes=1)], [Scope(crashes=1, leaps=1), Scope(naps=1)], [*SLICE, *SCOPES]), ids=str
)
def test_no_interleaving_breaks_a_promise_on_sqlite(scope: Scope, sqlite: SqliteFiles) -> None:
    explored = all_paths(scope, also=sqlite)
    tried("interleavings done again on SQLite", explored.runs)


@pytest.mark.parametrize("scope", [Scope(crashes=1), Scope(cancels=1, errors=1)], ids=str)
def test_where_paths_meet_nothing_is_missed(scope: Scope) -> None:
    assert explore(scope).paths == explore(scope, repeat=True).runs


def test_the_command_tries_all_scopes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--small", "--seconds", "0.01"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(SCOPES)


def test_a_broken_promise_is_told_with_the_choices_that_led_there() -> None:
    with pytest.raises(Broken) as caught:
        explore(Scope(crashes=1), dispatching=lambda *arguments: LetsDeadHoldersBe(*arguments).run())
    assert "worker 1: dies before TakeTurn" in caught.value.replay
    assert "leased" in caught.value.history


# ---- planted bugs


class LetsDeadHoldersBe(dispatcher._Dispatcher):
    """Never looks for what others have left."""

    def _rescue(self) -> dispatcher.Dispatch:
        yield from self._ask(dispatcher.FindStalled(100))


class ForgetsNames(MemoryEngine):
    """A name is free again as soon as its task has ended."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options, tombstone_s=1 / US)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "scope", "words"),
    [
        (ReckonsTooLate, Scope(naps=1), "is held by"),
        (GivesBackWhatWasLost, Scope(crashes=1, max_attempts=1), "was started"),
        (IgnoresLostLeases, Scope(leaps=1, seconds=3.5), "is held by"),
        (LetsDeadHoldersBe, Scope(crashes=1), "never ended"),
    ],
)
def test_a_bug_in_the_dispatcher_is_caught(kind: type[dispatcher._Dispatcher], scope: Scope, words: str) -> None:
    with pytest.raises(Broken, match=words):
        explore(scope, dispatching=lambda *arguments: kind(*arguments).run())


@pytest.mark.parametrize(
    ("kind", "scope", "words"),
    [(NoFence, Scope(naps=1, fails_first=True), "stale lease"), (ForgetsNames, Scope(), "name is taken")],
)
def test_a_bug_in_the_engine_is_caught(kind: type[MemoryEngine], scope: Scope, words: str) -> None:
    with pytest.raises(Broken, match=words):
        explore(scope, make_engine=lambda clock: kind(clock=clock))
