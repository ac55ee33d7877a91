"""`deferq doctor`: what it says, what it does not touch, and that it gets through whatever it finds."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deferq import Deferq
from deferq.cli.checkup import machine, mounts, place, running, work
from deferq.cli.checkup.finding import Case, Finding
from deferq.cli.warning import RULES
from tests.cli import jobs
from tests.cli.conftest import Doctor, Run, Said, edited, with_worker
from tests.cli.processes import Running, environment
from tests.support import sized, tried


def fingerprint(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and the time of its last change."""
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# ---- what it says


def test_nothing_is_said_of_a_sound_store_but_that_nothing_is_wrong(
    run: Run, doctor: Doctor, deferq: Deferq, file: Path
) -> None:
    deferq.defer(jobs.add, 1)
    with_worker(deferq)

    said = run("doctor")

    assert said.code == 0
    assert said.out.startswith(f"nothing is wrong with sqlite:///{file}; 0 notes, ")
    assert said.err == ""


def test_with_verbose_all_that_is_right_is_listed(run: Run, doctor: Doctor, deferq: Deferq) -> None:
    deferq.defer(jobs.add, 1)
    with_worker(deferq)

    out = run("doctor", "--verbose", "--deep").out

    assert "right: Python" in out
    assert "right: SQLite finds the file sound, each index compared with its table" in out
    assert "right: a worker is alive" in out


def test_each_thing_wrong_comes_with_why_and_what_to_do(run: Run, doctor: Doctor, deferq: Deferq) -> None:
    deferq.defer(jobs.add, 1)

    said = run("doctor")
    (found,) = doctor().values()

    assert said.code == 1
    assert "wrong: No worker is running, 1 task waits; start one with: deferq worker. (no-worker)" in said.out
    assert found["why"]
    assert found["do"]
    assert f"  {found['why']}\n  {found['do']}\n" in said.out


def test_a_note_leaves_the_exit_code_at_0(doctor: Doctor, deferq: Deferq) -> None:
    deferq.engine.open()

    assert doctor()["no-worker"]["level"] == "note"


def test_every_warning_of_status_has_advice_here() -> None:
    codes = {rule.__name__.replace("_", "-") for rule in RULES if rule not in work.TOLD_ELSEWHERE}

    assert codes == set(work.ADVICE)


# ---- what it does not touch


def test_where_there_is_no_store_none_is_made(doctor: Doctor, folder: Path) -> None:
    before = fingerprint(folder)

    assert doctor(url=None)["store"]["text"].startswith(f"There is no store {folder}/.deferq/deferq.db (url: ")
    assert "There is no store" in doctor()["store"]["text"]
    assert fingerprint(folder) == before
    assert not (folder / ".deferq").exists()


@pytest.mark.parametrize("words", [(), ("--deep",), ("--verbose",)])
def test_nothing_is_written_into_the_store_nor_beside_it(
    run: Run, deferq: Deferq, folder: Path, words: tuple[str, ...]
) -> None:
    deferq.defer(jobs.add, 1)
    deferq.close()
    before = fingerprint(folder)

    run("doctor", *words)
    run("report")

    assert fingerprint(folder) == before


def test_a_store_in_use_is_left_as_it_is_too(run: Run, deferq: Deferq, file: Path) -> None:
    handle = deferq.defer(jobs.add, 1)

    run("doctor")

    assert handle.refresh().attempts == 0
    assert deferq.defer(jobs.add, 2).state.name == "PENDING"  # the locks of this process still hold
    assert deferq.engine.check() == []  # type: ignore[attr-defined]


def test_an_older_schema_is_not_upgraded(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.defer(jobs.add, 1)
    deferq.close()
    with edited(file) as connection:
        connection.execute("update deferq_meta set value = '2' where key = 'schema'")
        connection.execute("alter table deferq_task drop column crashes")
        connection.execute("alter table deferq_failure drop column report")

    found = doctor()

    assert (found["schema"]["level"], "has schema 2" in found["schema"]["text"]) == ("note", True)
    assert "deferq db upgrade" in found["schema"]["do"]
    with edited(file) as connection:
        assert connection.execute("select value from deferq_meta where key = 'schema'").fetchone() == ("2",)


def test_nothing_that_a_stranger_has_signed_is_imported(doctor: Doctor, deferq: Deferq, folder: Path) -> None:
    (folder / "evil.py").write_text("open('imported', 'w')\ndef run(): ...\n")
    deferq.defer(jobs.add, 1)
    deferq.close()
    with edited(folder / "jobs.db") as connection:
        connection.execute("update deferq_task set target = 'evil:run'")

    doctor("tests.cli.jobs")

    assert not (folder / "imported").exists()


# ---- broken stores


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 // 2048 * 2048)


def not_a_database(file: Path) -> None:
    file.write_bytes(b"not a database\n" * 500)


def too_short(file: Path) -> None:
    file.write_bytes(b"SQLite")


def newer(file: Path) -> None:
    with edited(file) as connection:
        connection.execute("update deferq_meta set value = '99' where key = 'schema'")


def nonsense_for_a_schema(file: Path) -> None:
    with edited(file) as connection:
        connection.execute("update deferq_meta set value = 'seven' where key = 'schema'")


def without_tables(file: Path) -> None:
    file.write_bytes(b"")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("broken", "code", "says"),
    [
        (truncate, "store", "not a usable SQLite database"),
        (not_a_database, "store", "not a usable SQLite database"),
        (too_short, "store-file", "is not an SQLite database"),
        (newer, "schema", "a newer deferq has made it"),
        (nonsense_for_a_schema, "store", "not a usable SQLite database"),
        (without_tables, "schema", "holds no tables of deferq"),
        (a_folder, "store-file", "is not a regular file"),
    ],
)
def test_a_broken_store_is_told_without_a_traceback(
    doctor: Doctor, run: Run, deferq: Deferq, file: Path, broken: Callable[[Path], None], code: str, says: str
) -> None:
    for number in range(200):
        deferq.call(jobs.add, number).defer(tags=("x" * 100,))
    deferq.close()
    broken(file)

    found = doctor()

    assert found[code]["level"] == "wrong"
    assert says in found[code]["text"]
    assert "check-failed" not in found
    assert run("report").code == 0


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a store whose process was killed: the database, its log and the index of that."""
    folder = tmp_path_factory.mktemp("left-behind")
    ran = subprocess.run([sys.executable, "-c", LEAVES_BEHIND], cwd=folder, env=environment(), timeout=60)
    assert ran.returncode == 0
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


LEAVES_BEHIND = """
import os
from deferq import Deferq
deferq = Deferq("sqlite:///jobs.db")
for number in range(60):
    options = {"queue": ("mail", "index")[number % 2], "name": f"n{number}" if number % 7 == 0 else None}
    deferq.call(print, number).defer(**options)
for _ in range(20):
    deferq.defer(int, "no number")
deferq.worker(until_idle=True, listeners=()).run()
for number in range(60):
    deferq.call(print, number).defer(countdown=number % 3)
os._exit(0)
"""


def damage(files: dict[str, bytes], chance: random.Random) -> dict[str, bytes]:
    """Bytes are changed, ends are cut off, files are gone."""
    damaged = dict(files)
    for name in ("jobs.db", "jobs.db-wal", "jobs.db-shm"):
        content = bytearray(files[name])
        match chance.randrange(5):
            case 0:
                for _ in range(chance.choice((1, 30, 300))):
                    content[chance.randrange(len(content))] = chance.randrange(256)
            case 1:
                del content[chance.randrange(len(content)) :]
            case 2 if name != "jobs.db":
                del damaged[name]
                continue
        damaged[name] = bytes(content)
    return damaged


@pytest.mark.programme
def test_whatever_is_damaged_the_checks_get_through_and_change_nothing(
    run: Run, folder: Path, left_behind: dict[str, bytes]
) -> None:
    seeds = sized(test=25, proof=500, long=20_000)
    for seed in range(seeds):
        files = damage(left_behind, random.Random(seed))
        for path in folder.glob("jobs.db*"):
            path.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)

        checked, reported = run("doctor", "--json"), run("report", "--json", "--errors")

        assert checked.code in (0, 1), seed
        assert reported.code == 0, seed
        assert json.loads(checked.out)["findings"], seed
        assert json.loads(reported.out)["doctor"] is not None, seed
        kept = [name for name in files if not name.endswith("-shm")]  # SQLite keeps who reads where in there
        assert [name for name in kept if (folder / name).read_bytes() != files[name]] == [], seed
    tried("damaged stores that doctor looked at", seeds)


def test_a_copy_without_the_index_of_its_log_is_read_too(
    doctor: Doctor, folder: Path, left_behind: dict[str, bytes]
) -> None:
    for name in ("jobs.db", "jobs.db-wal", "jobs.db-secret"):
        (folder / name).write_bytes(left_behind[name])
        (folder / name).chmod(0o600)

    assert "tasks wait" in doctor()["no-worker"]["text"]
    assert (folder / "jobs.db").read_bytes() == left_behind["jobs.db"]
    assert (folder / "jobs.db-wal").read_bytes() == left_behind["jobs.db-wal"]


def test_a_check_that_fails_says_so_and_the_others_go_on(
    doctor: Doctor, deferq: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_check(case: Case) -> Iterator[Finding]:
        yield from ()
        raise ZeroDivisionError("a detail that may hold anything")

    monkeypatch.setattr(running.work, "CHECKS", (broken_check, *work.CHECKS))
    deferq.defer(jobs.add, 1)

    found = doctor()

    assert found["check-failed"]["text"] == "The check 'broken check' could not be made: ZeroDivisionError"
    assert "no-worker" in found


# ---- the files and the machine


def test_a_store_that_others_may_open(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.defer(jobs.add, 1)
    file.chmod(0o644)

    assert doctor()["modes"]["do"] == f"Run: chmod 600 '{file}'"


def test_a_secret_that_others_may_read(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.defer(jobs.add, 1)
    Path(f"{file}-secret").chmod(0o640)

    assert "chmod 600" in doctor()["secret"]["text"]


def test_a_secret_that_is_gone(doctor: Doctor, deferq: Deferq, file: Path) -> None:
    deferq.defer(jobs.add, 1)
    Path(f"{file}-secret").unlink()

    found = doctor()

    assert "is gone" in found["secret"]["text"]
    assert not Path(f"{file}-secret").exists()


def test_a_store_behind_a_link(doctor: Doctor, deferq: Deferq, file: Path, folder: Path) -> None:
    deferq.engine.open()
    (folder / "link.db").symlink_to(file)

    assert "symbolic link" in doctor(url=f"sqlite:///{folder}/link.db")["store-file"]["text"]


@pytest.mark.parametrize(("version", "noted"), [("3.40.1", True), ("3.51.2", True), ("3.51.3", False), ("3.60", False)])
def test_the_defect_of_old_sqlite_is_a_note(
    doctor: Doctor, deferq: Deferq, monkeypatch: pytest.MonkeyPatch, version: str, noted: bool
) -> None:
    deferq.engine.open()
    monkeypatch.setattr("deferq.cli.checkup.machine.sqlite3.sqlite_version", version)

    found = doctor()

    assert ("sqlite" in found) == noted
    assert not noted or "WAL-reset defect" in found["sqlite"]["text"]


@pytest.mark.parametrize(
    ("kind", "code", "level"),
    [("nfs4", "file-system", "wrong"), ("fuse.sshfs", "file-system", "wrong"), ("tmpfs", "file-system", "note")],
)
def test_the_file_system(
    doctor: Doctor, deferq: Deferq, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, code: str, level: str
) -> None:
    deferq.engine.open()
    table = f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:9 / {folder} rw shared:1 - {kind} box:/export rw"
    monkeypatch.setattr(place.mounts, "read_mounts", lambda: table)

    found = doctor()[code]

    assert found["level"] == level
    assert kind in found["text"]


def test_of_two_mounts_the_deeper_and_the_later_one_counts() -> None:
    table = "\n".join(
        (
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw",
            "2 1 8:2 / /srv rw - xfs /dev/sdb rw",
            r"3 2 8:3 / /srv/my\040shop rw - nfs box:/ rw",
            r"4 2 8:3 / /srv/my\040shop rw - btrfs /dev/sdc rw",
            "nonsense",
        )
    )
    kinds = [mounts.file_system(Path(path), table) for path in ("/home", "/srv/a", "/srv/my shop/x", "/srv-2")]

    assert kinds == ["ext4", "xfs", "btrfs", "ext4"]
    assert mounts.file_system(Path("/"), "") is None


@pytest.mark.parametrize(("free", "level"), [(10 * 1024**2, "wrong"), (500 * 1024**2, "note"), (50 * 1024**3, None)])
def test_room_on_the_disk(
    doctor: Doctor, deferq: Deferq, monkeypatch: pytest.MonkeyPatch, free: int, level: str | None
) -> None:
    deferq.engine.open()
    disk = os.statvfs_result((4096, 4096, 100 * 1024**3 // 4096, 0, free // 4096, 9, 9, 9, 0, 255))
    monkeypatch.setattr(machine.os, "statvfs", lambda _: disk)

    assert doctor().get("disk", {}).get("level") == level


def test_a_variable_that_is_no_setting(doctor: Doctor, deferq: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    deferq.engine.open()
    monkeypatch.setenv("DEFERQ_THREDS", "3")

    assert "Did you mean DEFERQ_THREADS?" in doctor()["variable"]["do"]


@pytest.mark.parametrize(("application", "level"), [(None, "wrong"), ("s~shop", "note")])
def test_unsigned_deliveries_are_for_app_engine_alone(
    doctor: Doctor, deferq: Deferq, monkeypatch: pytest.MonkeyPatch, application: str | None, level: str
) -> None:
    deferq.engine.open()
    monkeypatch.delenv("GAE_APPLICATION", raising=False)
    assert "trust" not in doctor()
    monkeypatch.setenv("DEFERQ_TRUST_APP_ENGINE_HEADERS", "1")
    if application is not None:
        monkeypatch.setenv("GAE_APPLICATION", application)

    assert doctor()["trust"]["level"] == level


def test_a_queue_yaml_with_mistakes(
    doctor: Doctor, deferq: Deferq, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferq.engine.open()
    (folder / "queue.yaml").write_text("queue:\n- name: mail\n  rate: fast\n")
    assert "queue-file" not in doctor()
    monkeypatch.setenv("DEFERQ_QUEUE_YAML", "queue.yaml")

    found = doctor()["queue-file"]

    assert found["level"] == "wrong"
    assert f"{folder}/queue.yaml:3:9: rate: expected" in found["text"]
    assert "queues load" in found["do"]
    (folder / "queue.yaml").write_text("queue:\n- name: mail\n  rate: 5/s\n")
    assert "queue-file" not in doctor()
    monkeypatch.setenv("DEFERQ_QUEUE_YAML", "nowhere.yaml")
    assert "there is no file" in doctor()["queue-file"]["text"]


def test_a_setting_that_cannot_be_read_is_exit_code_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERQ_THREADS", "many")

    said = run("doctor")

    assert (said.code, "DEFERQ_THREADS: expected a whole number" in said.err) == (2, True)


def test_an_url_that_is_none_is_told(doctor: Doctor) -> None:
    assert "Did you mean 'sqlite'?" in doctor(url="sqlit:///jobs.db")["settings"]["text"]
    assert doctor(url="memory://")["store"]["level"] == "note"


def test_an_application_that_cannot_be_imported_is_told_and_the_store_is_looked_at(
    doctor: Doctor, deferq: Deferq
) -> None:
    deferq.defer(jobs.add, 1)

    found = doctor("shp.tasks")

    assert "there is no module 'shp'" in found["app"]["text"]
    assert "no-worker" in found


def test_in_a_process_of_its_own_it_works_beside_a_worker(folder: Path) -> None:
    (folder / "hello.py").write_text("def hello(): ...\n")
    with Running(folder, "worker", "hello.py") as worker:
        worker.wait_for("a child process is ready")
        said = command(folder, "doctor", "hello.py", "--json")
    found = {one["code"] for one in json.loads(said.out)["findings"] if one["level"] == "wrong"}

    assert (said.code, found) == (0, set())


def command(folder: Path, *words: str) -> Said:
    ran = subprocess.run(
        [sys.executable, "-m", "deferq", *words], cwd=folder, env=environment(), capture_output=True, text=True
    )
    return Said(ran.returncode, ran.stdout, ran.stderr)


def test_the_application_of_the_settings_says_which_store_it_is(doctor: Doctor, folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.deferq]\napp = "shop_of_doctor"\n')
    (folder / "shop_of_doctor.py").write_text("from deferq import configure\nconfigure('sqlite:///of-the-shop.db')\n")

    assert "of-the-shop.db (url: code, " in doctor(url=None)["store"]["text"]


def test_a_folder_that_may_not_be_entered(doctor: Doctor, deferq: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    deferq.engine.open()  # type: ignore[attr-defined]
    lstat = Path.lstat

    def denied(path: Path) -> os.stat_result:
        if path.name == "jobs.db":
            raise PermissionError(13, "Permission denied", str(path))
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", denied)

    assert "cannot be looked at (Permission denied). Run as its owner" in doctor()["store-file"]["text"]


def test_a_large_file_is_checked_for_damage_only_if_asked_to(
    doctor: Doctor, deferq: Deferq, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferq.engine.open()  # type: ignore[attr-defined]
    monkeypatch.setattr("deferq.cli.checkup.inside.QUICK_BYTES_MAX", 1)

    assert doctor()["integrity"]["level"] == "note"
    assert "integrity" not in doctor("--deep")


def test_a_secret_that_may_not_be_looked_at(doctor: Doctor, deferq: Deferq, monkeypatch: pytest.MonkeyPatch) -> None:
    deferq.defer(jobs.add, 1)
    look, lstat, opened = os.stat, os.lstat, os.open

    def denying(call: Callable[..., Any]) -> Callable[..., Any]:
        def denied(path: Any, *args: Any, **options: Any) -> Any:
            if str(path).endswith("-secret"):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *args, **options)

        return denied

    monkeypatch.setattr(os, "stat", denying(look))
    monkeypatch.setattr(os, "lstat", denying(lstat))
    monkeypatch.setattr(os, "open", denying(opened))
    monkeypatch.setattr(os.path, "lexists", lambda path: True)

    found = doctor()

    assert "cannot be read (Permission denied). Run as the user it belongs to." in found["secret"]["text"]
    assert "check-failed" not in found
