"""Whatever goes wrong at whichever statement of the SQLite engine, the store holds what it has to hold."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferq.engines.sqlite import checkpoint
from tests.faults.acts import ACTS
from tests.faults.stage import Act, Stage, play_with, set_up
from tests.faults.trap import FAULTS
from tests.support import sized, tried

SetUp = Callable[[Act], Stage]
#: One of so many combinations of statement and fault is tried; which of them, differs from run to run.
STEP = sized(test=23, proof=1, long=1)
OFFSET = int(os.environ.get("DEFERQ_FAULT_OFFSET", time.time_ns() // 1000 % STEP))


@pytest.fixture
def on_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    """Prepares an act."""

    def ready(act: Act) -> Stage:
        for name, value in act.checkpoint.items():
            monkeypatch.setattr(checkpoint, name, value)
        return set_up(act, tmp_path)

    return ready


@pytest.mark.programme
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
def test_a_fault_at_any_statement_changes_nothing_in_the_end(act: Act, on_stage: SetUp, tmp_path: Path) -> None:
    stage = on_stage(act)
    combinations = [(at, fault) for at in range(len(stage.statements)) for fault in FAULTS]
    for at, fault in combinations[OFFSET % STEP :: STEP]:
        try:
            play_with(stage, tmp_path, at, fault)
        except BaseException as error:
            error.add_note(
                f"{fault.name} statement {at} of {act.name!r}: {stage.statements[at]}\n"
                f"The same again: DEFERQ_TIER=test DEFERQ_FAULT_OFFSET={OFFSET}"
            )
            raise
        tried("faults at statements of the SQLite engine", 1)
