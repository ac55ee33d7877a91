"""Every error is explained, is where its page says, and is raised; and no message echoes what it was given."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from deferq import Deferq, Queue, RetryPolicy, errors
from deferq.codec.payload import decode_call
from deferq.codec.signing import Keyring
from deferq.config import gather
from tests.docs import tables
from tests.docs.pages import ROOT
from tests.docs.provoked import PROVOKED
from tests.support import sample_tasks

PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text("utf-8")
SRC = ROOT / "src" / "deferq"
CLASSES = tables.error_classes()
#: For tasks to raise.
FOR_TASKS = {"PermanentTaskFailure", "RetryTask", "Snooze"}
#: What SQLite refuses for no reason that is known beforehand.
UNPROVOKED = {"StoreError"}
CANARY = "yellow-canary-7319"


def name_of(error: type[Exception]) -> str:
    return error.__name__


def bases() -> set[str]:
    return {base.__name__ for error in CLASSES for base in error.__bases__}


@cache
def raised_in_source() -> set[str]:
    """Names that are called after `raise` or `return`, outside errors.py and what is there for tests or for tasks."""
    return {name for path in SRC.rglob("*.py") if is_library(path) for name in raised_names(path)}


def is_library(path: Path) -> bool:
    return path != SRC / "errors.py" and not {"testing", "demo", "deferred"} & set(path.relative_to(SRC).parts)


def raised_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        value = node.exc if isinstance(node, ast.Raise) else node.value if isinstance(node, ast.Return) else None
        if isinstance(value, ast.Call):  # or what is handed on, to be raised further up
            yield from (part.id for part in (value.func, *value.args) if isinstance(part, ast.Name))


@pytest.mark.parametrize("error", CLASSES, ids=name_of)
def test_an_error_says_what_it_means_when_it_is_raised_and_what_to_do(error: type[Exception]) -> None:
    assert all(re.fullmatch(r"[`\w].*\.", part, re.DOTALL) for part in tables.docstring_parts(error))


@pytest.mark.parametrize("error", CLASSES, ids=name_of)
def test_an_error_is_on_the_page_and_can_be_imported_from_where_the_page_says(error: type[Exception]) -> None:
    section = PAGE.partition(f"### `{error.__name__}`\n")[2].partition("\n### ")[0]
    home = re.search(r"Import it from `([\w.]+)`", section)

    assert home is not None
    assert getattr(importlib.import_module(home[1]), error.__name__) is error


@pytest.mark.parametrize("error", CLASSES, ids=name_of)
def test_an_error_is_raised_or_is_the_base_of_one_or_is_for_tasks_to_raise(error: type[Exception]) -> None:
    name = error.__name__
    if name in FOR_TASKS:
        assert name not in raised_in_source()
    else:
        assert name in raised_in_source() | bases()


def test_the_page_shows_what_each_error_says_that_deferq_raises() -> None:
    raised = raised_in_source() & {error.__name__ for error in CLASSES}

    assert raised - set(PROVOKED) == UNPROVOKED & raised
    assert set(PROVOKED) <= raised


def put(**options: object) -> Callable[[Deferq], object]:
    return lambda deferq: deferq.call(sample_tasks.add, CANARY, 2).defer(**options)  # type: ignore[arg-type]


def setting(**given: object) -> Callable[[Deferq], object]:
    return lambda _: gather(given, environ={}, folder=Path("/"))


REFUSED: list[Callable[[Deferq], object]] = [
    put(countdown=CANARY),
    put(eta=CANARY),
    put(expires=CANARY),
    put(timeout=CANARY),
    put(priority=CANARY),
    put(retry=CANARY),
    put(tags=[CANARY * 100]),
    put(headers={"X-Shop": f"{CANARY}\n"}),
    put(route=f"{CANARY} {CANARY}"),
    put(name=f"{CANARY} {CANARY}"),
    put(queue=f"{CANARY} {CANARY}"),
    put(if_exists=CANARY),
    lambda deferq: deferq.defer(print, [CANARY, lambda: CANARY]),
    lambda deferq: deferq.defer(print, {"user": (CANARY, open)}, (CANARY for _ in "x")),
    lambda deferq: deferq.defer(print, CANARY * 1000),
    lambda deferq: Queue(rate=CANARY),
    lambda deferq: Queue(max_concurrent=CANARY),  # type: ignore[arg-type]
    lambda deferq: RetryPolicy(max_attempts=CANARY),  # type: ignore[arg-type]
    lambda deferq: deferq.task(CANARY),
    lambda deferq: Keyring([CANARY[:10]]),
    lambda deferq: decode_call(b"\x80\x05\x8c" + bytes([len(CANARY)]) + CANARY.encode() + b"."),
    lambda deferq: Keyring(["correct horse battery staple"]).open("payload", 1, "a:b", CANARY.encode() * 9),
    lambda deferq: Deferq(f"sqlite://ida:{CANARY}@host/jobs.db").engine,
    setting(secrets=[CANARY[:10]]),
    setting(threads=CANARY),
    setting(drain_s=CANARY),
    setting(worker=CANARY),
]


@pytest.mark.parametrize("refused", REFUSED)
def test_no_message_echoes_the_value_that_was_refused(refused: Callable[[Deferq], object]) -> None:
    with Deferq("memory://", payload_limit=1000) as deferq, pytest.raises(errors.DeferqError) as raised:
        refused(deferq)

    assert CANARY[:10] not in str(raised.value)


def test_a_stored_text_that_is_no_text_is_not_quoted(tmp_path: Path) -> None:
    """SQLite's own message quotes the text that it could not decode."""
    import sqlite3
    from contextlib import closing

    with Deferq(f"sqlite:///{tmp_path}/jobs.db") as deferq:
        handle = deferq.defer(sample_tasks.add, 1)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection, connection:
        connection.execute("update deferq_task set reason = cast(? as text)", (CANARY.encode() + b"\xff",))
    with Deferq(f"sqlite:///{tmp_path}/jobs.db") as deferq, pytest.raises(errors.StoreCorrupt) as raised:
        _ = deferq.task(handle.id).task

    assert CANARY not in str(raised.value)
    assert "Restore it from a backup" in str(raised.value)
