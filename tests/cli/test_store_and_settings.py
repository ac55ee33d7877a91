"""`deferq db ...` and `deferq config show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deferq import Deferq
from tests.cli import jobs
from tests.cli.conftest import Run


def test_db_info(run: Run, deferq: Deferq, folder: Path) -> None:
    deferq.defer(jobs.add, 1)

    document = json.loads(run("db", "info", "--json").out)

    assert document["path"] == str(folder / "jobs.db")
    assert document["bytes"] > 0
    assert document["schema"] == document["newest_schema"]
    assert document["synchronous"] == "FULL"
    assert document["journal_mode"] == "wal"
    assert "journal mode" in run("db", "info").out


@pytest.mark.parametrize(("version", "noted"), [("3.40.1", True), ("3.51.2", True), ("3.51.3", False), ("3.60", False)])
def test_db_info_names_the_defect_of_old_sqlite(
    run: Run, deferq: Deferq, monkeypatch: pytest.MonkeyPatch, version: str, noted: bool
) -> None:
    deferq.defer(jobs.add, 1)
    monkeypatch.setattr("deferq.engines.sqlite.inspecting.sqlite3.sqlite_version", version)

    assert ("WAL-reset defect" in run("db", "info").out) == noted


def test_db_info_warns_of_a_store_that_a_power_cut_may_hurt(run: Run, deferq: Deferq, url: str) -> None:
    deferq.defer(jobs.add, 1)

    assert "power cut" in run("db", "info", url=f"{url}?synchronous=NORMAL").out


def test_db_check_of_a_sound_file(run: Run, deferq: Deferq, folder: Path) -> None:
    deferq.defer(jobs.add, 1)

    assert run("db", "check", "--full").out == f"{folder}/jobs.db: ok\n"
    assert json.loads(run("db", "check", "--json").out) == {
        "path": str(folder / "jobs.db"),
        "ok": True,
        "problems": [],
    }


def test_db_check_of_a_damaged_file_is_exit_code_1(run: Run, deferq: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    deferq.defer(jobs.add, 1)
    monkeypatch.setattr("deferq.engines.sqlite.inspecting.check", lambda *_: ["row 7 missing from index"])

    said = run("db", "check")

    assert said.code == 1
    assert "row 7 missing from index" in said.err


def test_db_upgrade_makes_a_store_and_finds_it_new_the_next_time(run: Run, folder: Path) -> None:
    first, second = run("db", "upgrade"), run("db", "upgrade")

    assert "upgraded from schema 0 to" in first.out
    assert "already" in second.out


def test_db_path_makes_nothing(run: Run, folder: Path) -> None:
    assert run("db", "path").out == f"{folder}/jobs.db\n"
    assert json.loads(run("db", "path", "--json").out) == {"path": f"{folder}/jobs.db"}
    assert not (folder / "jobs.db").exists()


def test_db_of_a_store_without_a_file(run: Run) -> None:
    said = run("db", "info", url="memory://")

    assert said.code == 2
    assert "has no database file" in said.err


def test_config_show_says_where_each_value_comes_from(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pyproject.toml").write_text("[tool.deferq]\nthreads = 3\n")
    monkeypatch.setenv("DEFERQ_DRAIN_S", "5")

    rows = {row["name"]: row for row in json.loads(run("config", "show", "--json").out)["settings"]}

    assert (rows["threads"]["value"], rows["threads"]["origin"]) == (3, f"[tool.deferq] in {folder}/pyproject.toml")
    assert (rows["drain_s"]["value"], rows["drain_s"]["origin"]) == (5.0, "environment DEFERQ_DRAIN_S")
    assert rows["url"]["origin"] == "option --url"
    assert rows["async_slots"]["origin"] == "default"


def test_config_show_keeps_secrets(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERQ_SECRETS", "correct horse battery staple")

    for said in (run("config", "show"), run("config", "show", "--json")):
        assert "horse" not in said.out
        assert "(1 set)" in said.out


@pytest.mark.parametrize("password", ["hunter2", "hunt/er2", "hunt#er2", "hunt?er2", "hunt@er2", "hunt:er 2"])
def test_config_show_keeps_the_password_of_an_url(run: Run, password: str) -> None:
    """Also one that should have been encoded."""
    said = run("config", "show", url=f"postgresql://ida:{password}@db/jobs")

    assert "er2" not in said.out
    assert "er 2" not in said.out
    assert "postgresql://ida:***@db/jobs" in said.out


def test_config_show_names_the_line_of_code_that_gave_a_value(run: Run, folder: Path) -> None:
    (folder / "shop_of_settings.py").write_text(
        "from deferq import Queue, configure\n\nconfigure(\n    threads=3, secrets=['correct horse battery'],"
        " queues={'mail': Queue(rate='5/s')},\n)\n"
    )

    document = json.loads(run("config", "show", "--app", "shop_of_settings.py", "--json", url=None).out)
    rows = {row["name"]: row for row in document["settings"]}

    assert rows["threads"]["origin"] == f"code, {folder}/shop_of_settings.py:3"
    assert rows["secrets"]["origin"] == f"code, {folder}/shop_of_settings.py:3"
    assert len(rows["secrets"]["keys"]) == 1
    assert document["queues"] == {"mail": {"rate": "5/s"}}
    assert document["store"] == f"sqlite:///{folder}/.deferq/deferq.db"
    assert not (folder / ".deferq").exists()


def test_config_show_shows_the_key_of_the_secret_beside_the_store(run: Run, deferq: Deferq) -> None:
    deferq.defer(jobs.add, 1)
    (key,) = deferq.codec.keyring.key_ids

    assert f"(the file beside the store), key {key}" in run("config", "show").out


def test_config_show_tells_of_variables_that_mean_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERQ_THREDS", "3")

    assert "DEFERQ_THREDS is no setting, and is passed over. Did you mean DEFERQ_THREADS?" in run("config", "show").out
    assert json.loads(run("config", "show", "--json").out)["passed_over"] == {"DEFERQ_THREDS": "DEFERQ_THREADS"}
