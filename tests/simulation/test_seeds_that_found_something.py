"""Seeds that broke a promise once. What they found is mended; they stay, so that it stays mended.

A seed makes its world from chance in a fixed order: whoever lets worlds contain something new makes another world of
the same seed. So what was found has a test of its own beside this, in plain words.
"""

from __future__ import annotations

import pytest

from deferq.testing.simulate import simulate
from deferq.testing.simulate.sqlite import SqliteFiles

#: 20317: a named task that was deleted and put again took a name that its tombstone gave away later (test_names.py).
ON_SQLITE = [20317]


@pytest.mark.parametrize("seed", ON_SQLITE)
def test_on_sqlite(sqlite: SqliteFiles, seed: int) -> None:
    assert simulate(sqlite, seeds=[seed]).seeds
