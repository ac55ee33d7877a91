"""A worker whose store fails at every write: it asks ever more seldom, says so once, and settles all once it can."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from deferq import Deferq, State, stores
from deferq.engines.sqlite import SqliteEngine
from tests.faults.trap import FAULTS, Trap
from tests.support import sample_tasks
from tests.support.sample_tasks import note, wait_for_gate

BY_NAME = {fault.name: fault for fault in FAULTS}
TROUBLE_S = 1.0
#: What is written with a pause in between that doubles from 0.1 s on, each time with several statements.
MANY = 60
SELDOM = [
    pytest.param(name, marks=(pytest.mark.slow, pytest.mark.programme))
    for name in ("full before", "io before", "dropped before")
]


@pytest.mark.parametrize("fault", ["corrupt before", *SELDOM])
def test_a_worker_outlives_its_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    caplog.set_level(logging.WARNING)
    sample_tasks.forget()
    trap = Trap()
    engine = SqliteEngine(tmp_path / "jobs.db", synchronous="OFF", connect=trap)
    monkeypatch.setattr(stores, "open_engine", lambda settings: engine)
    deferq = Deferq(engine.url, secrets=["a secret of thirty-two characters"])
    handles = [deferq.defer(wait_for_gate) for _ in range(2)]
    worker = deferq.worker(threads=2)
    worker.start()
    assert sample_tasks.begun.wait(10)
    trap.arm(lambda number, sql: BY_NAME[fault] if sql.startswith(("begin", "update", "insert")) else None)
    sample_tasks.gate.set()
    time.sleep(TROUBLE_S)
    tries = len(trap.struck)
    trap.disarm()
    assert [handle.wait(30) for handle in handles] == ["through", "through"]
    last = deferq.defer(note, 1)
    last.wait(10)
    worker.stop(5)
    assert 1 <= tries < MANY
    told = [record for record in caplog.records if "the store is out of reach" in record.message]
    assert len(told) == 1
    assert "sqlite3" not in told[0].message.partition(":")[0]
    assert [handle.refresh().attempts for handle in handles] == [1, 1]
    assert last.refresh().state is State.SUCCEEDED
    deferq.close()
