"""From an URL to an engine, and to the secret that belongs to it."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deferq.codec.signing import Keyring
from deferq.config import Settings, gather
from deferq.engines.memory import MemoryEngine
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import ConfigError, InsecurePath, StoreCorrupt, StoreUnavailable
from deferq.stores import keyring_for, open_engine, retention_of

SECRET = "a secret of thirty-two characters"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(folder: Path, **given: Any) -> Settings:
    return gather(given, environ={}, folder=folder)


def sqlite_at(folder: Path, **given: Any) -> SqliteEngine:
    engine = open_engine(settings(folder, **given))
    assert isinstance(engine, SqliteEngine)
    return engine


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def signs_alike(one: Keyring, other: Keyring) -> bool:
    return other.open("payload", 1, "a:b", one.seal("payload", 1, "a:b", b"body"))[1] == b"body"


# ---- engines


def test_three_slashes_are_relative_and_four_absolute(folder: Path) -> None:
    assert sqlite_at(folder, url="sqlite:///jobs.db").path == folder / "jobs.db"
    assert sqlite_at(folder, url=f"sqlite:///{folder}/jobs.db").path == folder / "jobs.db"
    assert sqlite_at(folder, url="sqlite:///a%20b%23%3F.db").path == folder / "a b#?.db"


def test_synchronous_is_full_unless_the_url_says_otherwise(folder: Path) -> None:
    assert sqlite_at(folder, url="sqlite:///jobs.db").synchronous == "FULL"
    assert sqlite_at(folder, url="sqlite:///jobs.db?synchronous=normal").synchronous == "NORMAL"


def test_memory_is_an_engine_for_tests(folder: Path) -> None:
    assert isinstance(open_engine(settings(folder, url="memory://")), MemoryEngine)


def test_making_an_engine_opens_nothing(folder: Path) -> None:
    sqlite_at(folder, url="sqlite:///jobs.db")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgres://user:hunter2@host/db", "no engine for 'postgres'"),
        ("jobs.db", "url: it names no engine. Use sqlite:///relative.db"),
        ("", "expected text"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://user:hunter2@jobs.db", "names no file"),
        ("sqlite://[hunter2", "no URL"),
        ("sqlite:///my#jobs.db", "%23"),
        ("sqlite:///a%00b", "names no file"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///jobs.db?synchronos=OFF", "no option 'synchronos'.*Did you mean 'synchronous'"),
        ("sqlite:///jobs.db?synchronous=SOMETIMES", "synchronous"),
        ("sqlite:///jobs.db?synchronous=", "synchronous"),
        ("sqlite:///jobs.db?mode", "no option 'mode'"),
    ],
)
def test_another_url_is_a_configuration_error_that_echoes_no_password(folder: Path, url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        open_engine(settings(folder, url=url))
    assert "hunter2" not in str(caught.value)
    assert list(folder.iterdir()) == []


def test_the_default_store_lies_in_a_closed_folder_of_the_project_that_git_passes_over(folder: Path) -> None:
    (folder / "pyproject.toml").touch()
    inner = folder / "src"
    inner.mkdir()
    engine = sqlite_at(inner)
    assert engine.path == folder / ".deferq" / "deferq.db"
    assert mode(folder / ".deferq") == 0o700
    assert (folder / ".deferq" / ".gitignore").read_text() == "*\n"
    assert not engine.path.exists()


def test_a_default_folder_that_cannot_be_made_says_what_to_set(folder: Path) -> None:
    (folder / ".deferq").touch()
    with pytest.raises(StoreUnavailable, match="DEFERQ_URL"):
        sqlite_at(folder)


def test_a_default_folder_of_somebody_else_is_not_said_to_be_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".deferq").mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(StoreUnavailable, match=r"cannot be used \(Permission denied\).*as its owner.*--url"):
        open_engine(gather({}, environ={}, folder=folder))


def test_settings_reach_the_engine(folder: Path) -> None:
    engine = sqlite_at(folder, url="sqlite:///jobs.db", payload_limit=5_000)
    assert 5_000 < engine.payload_limit < 10_000
    kept = retention_of(settings(folder, keep_succeeded_s=1, keep_succeeded_max=2, keep_cancelled_s=3, keep_dead_s=4))
    assert (kept.succeeded_s, kept.succeeded_max, kept.cancelled_s, kept.dead_s) == (1, 2, 3, 4)


# ---- secrets


def test_configured_secrets_are_used_and_no_file_is_made(folder: Path) -> None:
    one = keyring_for(sqlite_at(folder, url="sqlite:///a.db"), settings(folder, secrets=[SECRET]))
    assert signs_alike(one, Keyring([SECRET]))
    assert list(folder.iterdir()) == []


def test_a_secret_is_made_once_beside_the_database_for_its_owner_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        keyrings = [keyring_for(sqlite_at(folder, url="sqlite:///a.db"), settings(folder)) for _ in range(2)]
    finally:
        os.umask(before)
    assert signs_alike(*keyrings)
    assert mode(folder / "a.db-secret") == 0o600
    assert len((folder / "a.db-secret").read_bytes().strip()) >= 32
    assert [path.name for path in folder.glob("a.db-secret*")] == ["a.db-secret"]


def test_threads_that_come_at_the_same_time_share_one_secret(folder: Path) -> None:
    together = threading.Barrier(8)
    keyrings: list[Keyring] = []

    def make() -> None:
        engine = sqlite_at(folder, url="sqlite:///a.db")
        together.wait()
        keyrings.append(keyring_for(engine, settings(folder)))
        engine.close()

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(signs_alike(keyrings[0], other) for other in keyrings)
    assert len(keyrings) == 8


def test_two_databases_have_two_secrets(folder: Path) -> None:
    for name in ("a", "b"):
        keyring_for(sqlite_at(folder, url=f"sqlite:///{name}.db"), settings(folder))
    assert (folder / "a.db-secret").read_bytes() != (folder / "b.db-secret").read_bytes()


def secret_with(folder: Path, *, content: bytes = SECRET.encode(), permissions: int = 0o600) -> Path:
    path = folder / "a.db-secret"
    path.write_bytes(content)
    path.chmod(permissions)
    return path


def test_a_secret_that_somebody_put_there_is_used(folder: Path) -> None:
    secret_with(folder)
    assert signs_alike(keyring_for(sqlite_at(folder, url="sqlite:///a.db"), settings(folder)), Keyring([SECRET]))


@pytest.mark.parametrize("permissions", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_secret_that_others_may_open_is_refused_with_the_command(folder: Path, permissions: int) -> None:
    secret_with(folder, permissions=permissions)
    with pytest.raises(InsecurePath, match="chmod 600") as caught:
        keyring_for(sqlite_at(folder, url="sqlite:///a.db"), settings(folder))
    assert SECRET not in str(caught.value)


def test_root_trusts_no_secret_that_somebody_else_laid_into_a_shared_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sqlite_at(folder, url="sqlite:///jobs.db")
    keyring_for(engine, settings(folder))
    engine.path.parent.chmod(0o1777)
    if os.geteuid() == 0:  # else it belongs to somebody who is not root already
        os.chown(engine.path.with_name("jobs.db-secret"), 1000, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(InsecurePath, match="belongs to another user"):
        keyring_for(engine, settings(folder))


def test_a_symbolic_link_as_secret_is_refused(folder: Path) -> None:
    secret_with(folder).rename(folder / "elsewhere")
    (folder / "a.db-secret").symlink_to(folder / "elsewhere")
    with pytest.raises(InsecurePath, match="symbolic link"):
        keyring_for(sqlite_at(folder, url="sqlite:///a.db"), settings(folder))


@pytest.mark.parametrize("content", [b"", b"\n", b"short"])
def test_a_damaged_secret_is_kept_and_told(folder: Path, content: bytes) -> None:
    path = secret_with(folder, content=content)
    with pytest.raises(StoreCorrupt, match="damaged"):
        keyring_for(sqlite_at(folder, url="sqlite:///a.db"), settings(folder))
    assert path.read_bytes() == content


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_secret_that_is_no_file_is_refused_at_once(folder: Path, make: Any) -> None:
    make(folder / "a.db-secret", 0o600)
    with pytest.raises(StoreCorrupt, match="not a regular file"):
        keyring_for(sqlite_at(folder, url="sqlite:///a.db"), settings(folder))


def test_no_secret_is_laid_beside_a_file_that_is_not_ours(folder: Path) -> None:
    (folder / "a.db").write_bytes(b"a letter to a friend\n" * 100)
    with pytest.raises(StoreCorrupt):
        keyring_for(sqlite_at(folder, url="sqlite:///a.db"), settings(folder))
    assert not (folder / "a.db-secret").exists()


def test_an_engine_in_memory_has_a_secret_of_its_own(folder: Path) -> None:
    engine = open_engine(settings(folder, url="memory://"))
    assert signs_alike(*[keyring_for(engine, settings(folder))] * 2)
    assert list(folder.iterdir()) == []


# ---- power cuts


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, set[str]]]:
    """Folders that Python syncs, and the names that stand in them then. (SQLite syncs its own files and folder.)"""
    folders: list[tuple[Path, set[str]]] = []

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            folders.append((path, {entry.name for entry in path.iterdir()}))

    monkeypatch.setattr(os, "fsync", fsync)
    return folders


def test_the_name_of_a_new_secret_is_synced_before_anything_is_signed_with_it(
    folder: Path, synced: list[tuple[Path, set[str]]]
) -> None:
    given = settings(folder, url="sqlite:///jobs.db")
    with closing(open_engine(given)) as engine:
        keyring_for(engine, given)
        assert [path for path, names in synced if "jobs.db-secret" in names] == [folder]
        keyring_for(engine, given)
        assert len(synced) == 1


def test_the_name_of_the_default_folder_is_synced_before_a_task_is_stored_in_it(
    folder: Path, synced: list[tuple[Path, set[str]]]
) -> None:
    (folder / "pyproject.toml").touch()
    with closing(sqlite_at(folder)) as engine:
        assert [path for path, names in synced if ".deferq" in names] == [folder]
        engine.open()
        sqlite_at(folder)
        assert len(synced) == 1
