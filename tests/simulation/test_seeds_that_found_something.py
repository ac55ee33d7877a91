"""Seeds that broke a promise once. What they found is mended; they stay, so that it stays mended.

A seed makes its world from chance in a fixed order: whoever lets worlds contain something new makes another world of
the same seed. So what was found has a test of its own beside this, in plain words.
"""

from __future__ import annotations

import pytest

from deferq.testing.simulate import simulate
from deferq.testing.simulate.memory import memory
from deferq.testing.simulate.sqlite import SqliteFiles

#: A rollback that failed kept everybody out of the file (tests/integration: a connection that failed is replaced).
ON_SQLITE = [5]
#: Ends of leases that a clock set back has moved far away; tasks given back that are due by the old clock.
IN_MEMORY = [58, 86, 236, 337]


@pytest.mark.parametrize("seed", ON_SQLITE)
def test_on_sqlite(sqlite: SqliteFiles, seed: int) -> None:
    assert simulate(sqlite, seeds=[seed]).seeds


@pytest.mark.parametrize("seed", IN_MEMORY)
def test_in_memory(seed: int) -> None:
    assert simulate(memory, seeds=[seed]).seeds


@pytest.mark.parametrize("seed", [429])
def test_with_children(seed: int) -> None:
    assert simulate(memory, seeds=[seed], children=True).seeds
