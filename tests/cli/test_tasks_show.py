"""`deferq tasks show`: what a task calls and returned, without running any of it, and whether the signatures fit."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq
from tests.cli import jobs
from tests.cli.conftest import Run, work_off

BODY_AT, MAC_AT = 40, 8


class Canary:
    """Leaves a file behind when it is restored."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("canary",)


def store(deferq: Deferq, task_id: int, payload: bytes) -> None:
    """Write a payload past all of deferq."""
    with closing(sqlite3.connect(deferq.engine.path)) as connection, connection:  # type: ignore[attr-defined]
        connection.execute("update deferq_task set payload = ? where id = ?", (payload, task_id))


def payload_of(deferq: Deferq, task_id: int) -> bytes:
    payload = deferq.engine.details(task_id).payload
    assert payload is not None
    return payload


def test_the_call_is_shown_with_its_arguments(run: Run, deferq: Deferq) -> None:
    handle = deferq.defer(jobs.add, 17, b=25)

    said = run("tasks", "show", handle.id)

    assert said.code == 0
    assert "\n  add(17, b=25)\n" in said.out
    assert "pickle, signature fits\n" in said.out


def test_a_long_call_has_a_line_for_each_argument(run: Run, deferq: Deferq) -> None:
    handle = deferq.defer(jobs.add, "a" * 150, b="b" * 300)  # type: ignore[arg-type]

    out = run("tasks", "show", handle.id).out

    assert f"\n  add(\n      '{'a' * 150}',\n      b='{'b' * 200}'… (300 bytes in all),\n  )\n  (shortened" in out
    assert f"b='{'b' * 300}',\n  )\n\n" in run("tasks", "show", "--full", handle.id).out


def test_programs_get_the_parts_as_texts(run: Run, deferq: Deferq) -> None:
    handle = deferq.defer(jobs.add, 17, b=25)
    work_off(deferq)

    document = json.loads(run("tasks", "show", "--json", handle.id).out)

    assert document["signature"] == "fits"
    assert document["call"] == {
        "text": "add(17, b=25)",
        "args": ["17"],
        "kwargs": {"b": "25"},
        "carried": {},
        "imports": [],
        "besides": [],
        "problems": [],
        "cut": False,
    }
    assert (document["result"]["text"], document["result"]["signature"]) == ("42", "fits")


def test_a_result_is_shown_and_can_be_left_out_with_the_arguments(run: Run, deferq: Deferq) -> None:
    handle = deferq.defer(jobs.add, "private ", b="matters")  # type: ignore[arg-type]
    work_off(deferq)

    said = run("tasks", "show", handle.id)

    assert "\nresult\n  'private matters'\n" in said.out
    assert said.out.count("signature fits") == 2
    for format_ in ([], ["--json"]):
        said = run("tasks", "show", "--no-arguments", *format_, handle.id)
        assert said.code == 0
        assert "private" not in said.out
        assert "matters" not in said.out
    document = json.loads(said.out)
    assert (document["call"], document["result"], document["signature"]) == (None, None, "fits")


def test_all_and_nothing_exclude_each_other(run: Run, deferq: Deferq) -> None:
    assert run("tasks", "show", "--no-arguments", "--full", 1).code == 2


def test_nothing_of_a_payload_runs(run: Run, deferq: Deferq, folder: Path) -> None:
    handle = deferq.defer(jobs.add, 1)
    body = pickle.dumps(((Canary(),), {}))
    store(deferq, handle.id, payload_of(deferq, handle.id)[:BODY_AT] + body)

    said = run("tasks", "show", handle.id)

    assert said.code == 0
    assert "add(posix.mkdir('canary'))" in said.out
    assert "restoring it imports: posix.mkdir" in said.out
    assert "the signature does not fit" in said.out
    assert not (folder / "canary").exists()


def test_what_is_thrown_away_is_told_apart(run: Run, deferq: Deferq) -> None:
    handle = deferq.defer(jobs.add, 1)
    body = pickle.dumps(Canary(), 2)[:-1] + b"0" + pickle.dumps(((1,), {}), 2)
    store(deferq, handle.id, payload_of(deferq, handle.id)[:BODY_AT] + body)

    said = run("tasks", "show", handle.id)

    assert "\n  add(1)\n" in said.out
    assert "restoring it also runs: posix.mkdir('canary')" in said.out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda envelope: envelope[:-1], "it could be read up to byte"),
        (lambda envelope: envelope[:-1] + b"!", "0x21 is no opcode of pickle"),
        (lambda envelope: envelope[:30], "no envelope, no signature"),
        (lambda envelope: b"", "no envelope, no signature"),
        (lambda envelope: b"\x1b[2J" + envelope, "not an envelope of deferq"),
        (lambda envelope: envelope[:2] + b"\x09" + envelope[3:], "version 9"),
        (lambda envelope: envelope[:3] + b"\xee" + envelope[4:], "the codec 0xee is not known"),
        (lambda envelope: envelope[:4] + bytes(4) + envelope[8:], "signed with key 00000000, which is not known here"),
        (lambda envelope: envelope[:MAC_AT] + bytes(32) + envelope[BODY_AT:], "the signature does not fit"),
    ],
)
def test_a_damaged_payload_is_shown_as_far_as_it_goes(run: Run, deferq: Deferq, change: Any, says: str) -> None:
    handle = deferq.defer(jobs.add, "Ann")  # type: ignore[arg-type]
    store(deferq, handle.id, change(payload_of(deferq, handle.id)))

    said = run("tasks", "show", handle.id)

    assert said.code == 0
    assert says in said.out
    assert "\x1b" not in said.out
    assert run("tasks", "show", "--json", handle.id).code == 0


def test_looking_makes_no_secret(run: Run, deferq: Deferq, folder: Path) -> None:
    handle = deferq.defer(jobs.add, 17)
    secret = folder / "jobs.db-secret"
    secret.unlink()

    said = run("tasks", "show", handle.id)

    assert said.code == 0
    assert "signature not checked: there is no secret" in said.out
    assert "add(17)" in said.out
    assert not secret.exists()


def test_a_secret_that_must_not_be_read_does_not_hinder_looking(run: Run, deferq: Deferq, folder: Path) -> None:
    handle = deferq.defer(jobs.add, 17)
    (folder / "jobs.db-secret").chmod(0o644)

    said = run("tasks", "show", handle.id)

    assert said.code == 0
    assert "signature not checked: Other users may open the secret" in said.out
    assert "add(17)" in said.out


def test_the_application_need_not_be_importable(run: Run, deferq: Deferq, folder: Path) -> None:
    (folder / "broken.py").write_text("raise RuntimeError")
    (folder / "pyproject.toml").write_text('[tool.deferq]\napp = "broken"\n')
    handle = deferq.defer(jobs.add, 17)

    assert "add(17)" in run("tasks", "show", handle.id).out
