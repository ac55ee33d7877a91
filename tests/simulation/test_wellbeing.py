"""What a worker owes while it is well: the simulation's own judgement."""

from __future__ import annotations

import pytest

from deferq.model.outcome import Outcome
from deferq.runtime.dispatcher import TakeTurn
from deferq.runtime.settling import CHILD_ENDED, WORKER_STOPPED, lost_with_process, settle
from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.wellbeing import Wellbeing
from tests.unit.fakechild import leased


def asked(outcome: Outcome, stopping: bool = False) -> None:
    settlement = settle(leased(1), outcome, 0, 0, 0.0)
    Wellbeing("worker 1", 1, 0.0).asks(TakeTurn([settlement], None), stopping)


def test_who_was_not_asked_to_stop_cuts_nothing_off() -> None:
    with pytest.raises(Broken, match="cut off"):
        asked(WORKER_STOPPED)
    asked(WORKER_STOPPED, stopping=True)


def test_a_parent_may_end_a_child_and_go_on() -> None:
    asked(CHILD_ENDED)
    asked(lost_with_process(CHILD_ENDED, "was ended", 0))
