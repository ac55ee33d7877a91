"""Whatever goes wrong at whichever statement of the SQLite engine, the store holds what it has to hold."""

from __future__ import annotations

import ast
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferq.engines import sqlite
from deferq.engines.sqlite import checkpoint
from deferq.engines.sqlite.statements import schema_scripts, statements
from tests.faults.acts import ACTS
from tests.faults.stage import Act, Stage, play_with, set_up
from tests.faults.trap import CONTRADICTIONS, KINDS, VARIANTS, Fault
from tests.support import sized, tried

SetUp = Callable[[Act], Stage]
#: One of so many combinations of statement and fault is tried; which of them, differs from run to run.
STEP = sized(test=23, proof=1, long=1)
OFFSET = int(os.environ.get("DEFERQ_FAULT_OFFSET", time.time_ns() // 1000 % STEP))
VARIED = (*VARIANTS, *sized(test=(), proof=(), long=CONTRADICTIONS))
#: Seconds for each act, on a machine that is busy with other things: the kinds of faults come first, then variants.
BOX_S = sized(test=2.0, proof=3.0, long=600.0)
#: How a statement begins that stands in the code, and not in a file of its own.
IN_CODE = re.compile(r"(pragma|begin|commit|rollback|savepoint|release|select|insert into)( |$)")
SOURCES = Path(sqlite.__file__).parent


@pytest.fixture
def on_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    """Prepares an act."""

    def ready(act: Act) -> Stage:
        with monkeypatch.context() as during:
            for name, value in act.checkpoint.items():
                during.setattr(checkpoint, name, value)
            stage = set_up(act, tmp_path)
        for name, value in act.checkpoint.items():
            monkeypatch.setattr(checkpoint, name, value)
        return stage

    return ready


@pytest.mark.programme
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
def test_a_fault_at_any_statement_changes_nothing_in_the_end(act: Act, on_stage: SetUp, tmp_path: Path) -> None:
    stage = on_stage(act)
    began = time.monotonic()
    for at, fault in combinations(stage):
        if fault in VARIED and time.monotonic() - began > BOX_S:
            break
        try:
            play_with(stage, tmp_path, at, fault)
        except BaseException as error:
            error.add_note(
                f"{fault.name} at statement {at} of {act.name!r}: {stage.statements[at]}\n"
                f"The same again: DEFERQ_FAULT_OFFSET={OFFSET}"
            )
            raise
        tried("faults at statements of the SQLite engine", 1)


def combinations(stage: Stage) -> list[tuple[int, Fault]]:
    statements = range(len(stage.statements))
    of_each_kind = [(at, fault) for at in statements for fault in KINDS]
    varied = [(at, fault) for fault in VARIED for at in statements]
    return of_each_kind[OFFSET % STEP :: STEP] + varied[OFFSET % STEP :: STEP]


def test_no_statement_of_the_engine_is_left_out(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        seen = set(_all_seen(tmp_path, monkeypatch))
    missing = [name for name, begins in _in_files() if not any(begins in one for one in seen)]
    missing += [text for text in _in_code() if not any(one.startswith(text) for one in seen)]
    assert missing == []


def _all_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What the acts come to: each statement that can meet a fault, and what follows upon a fault."""
    for act in ACTS:
        with monkeypatch.context() as during:
            for name, value in act.checkpoint.items():
                during.setattr(checkpoint, name, value)
            stage = set_up(act, folder)
            yield from stage.statements
            yield from play_with(stage, folder, 1, KINDS[0])


def _in_files() -> Iterator[tuple[str, str]]:
    """Named statements, and those of the schema: how each begins. Some are repeated for many rows in one statement.

    Those of `doctor` are none of an engine's: they look, through a connection of their own that cannot write.
    """
    for file in sorted((SOURCES / "statements").glob("*.sql")):
        if file.stem == "doctor":
            continue
        for name, text in statements(file.stem).items():
            begins = text.split("(?")[0] if name in ("insert_tasks", "insert_result") else text
            yield f"{file.stem}.{name}", begins
    for number, script in enumerate(schema_scripts(), start=1):
        for line in script.splitlines():
            if line.startswith(("create", "alter", "insert")):
                yield f"schema {number}: {line}", line


def _in_code() -> Iterator[str]:
    for file in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and IN_CODE.match(node.value):
                yield node.value
