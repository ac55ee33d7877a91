"""Whatever a task does to its process: the others finish, it is counted, and people can read why it died."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.yard import cases, yard
from tests.support import sized, tried

#: Those that `make test` runs.
SLICE = ("segfaults", "exits_as_if_all_were_well", "raises_without_text", "closes_descriptors")


@pytest.mark.programme
def test_hostile_tasks_come_to_the_end_that_is_foretold_and_the_others_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = cases(sized(test=SLICE, proof=None, long=None))
    with yard(tmp_path, monkeypatch, "--threads", "2", "--async-slots", "20", "--drain-s", "1") as worked:
        for case in chosen:
            worked.run(case)
        worked.finish()
    tried("hostile tasks", len(chosen))
