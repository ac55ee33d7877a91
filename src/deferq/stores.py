"""From an URL to an engine, and to the secret that belongs to it."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from deferq.codec.signing import Keyring
from deferq.config import SECRET_BYTES_MIN, Settings
from deferq.engines.base import LeasingEngine, Retention
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import ConfigError, InsecurePath, StoreCorrupt, StoreUnavailable
from deferq.suggest import did_you_mean

_OPTIONS = {"synchronous"}
_ENVELOPE_BYTES_MAX = 1024
_SECRET_BYTES_READ = 64 * 1024


def open_engine(settings: Settings) -> LeasingEngine:
    """The engine that the setting `url` names. Nothing is opened yet, and only the default store's folder is made."""
    url = settings["url"]
    if url is None:
        return _sqlite(_default_path(settings), {}, settings)
    parts = _split(url)
    if parts.scheme == "memory":
        from deferq.engines.memory import MemoryEngine  # who stores tasks in a file need not load it

        return MemoryEngine(payload_limit=envelope_limit(settings), tombstone_s=settings["tombstone_s"])
    if parts.scheme == "sqlite":
        return _sqlite(_sqlite_path(parts), _options(parts.query), settings)
    wrong = f"no engine for {parts.scheme!r}" if parts.scheme else "it names no engine"
    raise ConfigError(f"url: {wrong}. Use sqlite:///relative.db, sqlite:////absolute.db or memory://.")


def keyring_for(engine: LeasingEngine, settings: Settings) -> Keyring:
    """The secrets that sign what is stored in `engine`: the configured ones, else the file beside the database."""
    if settings["secrets"] is not None:
        return Keyring(settings["secrets"])
    if isinstance(engine, SqliteEngine):
        engine.open()  # it refuses a file that is not ours, or not safe, before a secret is laid beside it
        return Keyring([_secret_beside(engine.path)])
    own: bytes | None = getattr(engine, "secret", None)  # of a store of tests, which several Deferqs may share
    return Keyring([own or secrets.token_bytes(32)])


def keyring_if_any(engine: LeasingEngine, settings: Settings) -> Keyring | None:
    """Like `keyring_for`, for somebody who only looks: no secret is made. None: there is none."""
    if settings["secrets"] is not None:
        return Keyring(settings["secrets"])
    if isinstance(engine, SqliteEngine) and os.path.lexists(_secret_path(engine.path)):
        return Keyring([_read_secret(_secret_path(engine.path))])
    return None


def retention_of(settings: Settings) -> Retention:
    """How long finished tasks stay."""
    return Retention(
        succeeded_s=settings["keep_succeeded_s"],
        succeeded_max=settings["keep_succeeded_max"],
        cancelled_s=settings["keep_cancelled_s"],
        dead_s=settings["keep_dead_s"],
    )


def _sqlite(path: Path, options: dict[str, str], settings: Settings) -> SqliteEngine:
    return SqliteEngine(
        path,
        synchronous=options.get("synchronous", "FULL"),
        payload_limit=envelope_limit(settings),
        tombstone_s=settings["tombstone_s"],
    )


def envelope_limit(settings: Settings) -> int:
    """The limit is for arguments, and the codec keeps it; what the engine stores is a little longer."""
    limit: int = settings["payload_limit"]
    return limit + _ENVELOPE_BYTES_MAX


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise ConfigError("url: this is no URL. Use sqlite:///relative.db or sqlite:////absolute.db.") from None


def _sqlite_path(url: SplitResult) -> Path:
    path = unquote(url.path[1:])
    if url.netloc or not path.strip("/") or url.fragment or "\0" in path:
        # Not echoed: what stands before a host may be a password.
        raise ConfigError(
            "url: it names no file. Three slashes are followed by a relative path (sqlite:///jobs.db), four by an"
            " absolute one (sqlite:////var/lib/jobs.db); write '#' as %23 and '?' as %3F."
        )
    if path == ":memory:":
        raise ConfigError("url: each process would have a database of its own. Use memory:// for tests.")
    return Path(path).absolute()


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ConfigError(f"url: no option {name!r}.{did_you_mean(name, _OPTIONS)}")
    return options


def _default_path(settings: Settings) -> Path:
    """`.deferq/deferq.db` in the project, in a folder that only its owner enters and that git passes over."""
    folder = settings.project / ".deferq"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        if not (folder / "deferq.db").exists():
            _sync(settings.project)
    except OSError as error:
        verb = "used" if folder.exists() else "made"
        raise StoreUnavailable(
            f"The folder {folder} for the default store cannot be {verb} ({error.strerror}). Run this as its owner, or"
            " set url, DEFERQ_URL or --url to a file in a folder that may be written."
        ) from error
    return folder / "deferq.db"


def _secret_beside(database: Path) -> bytes:
    """The secret in a file of mode 0600 beside the database; made by whoever comes first."""
    path = _secret_path(database)
    if not os.path.lexists(path):
        _make_secret(path)
    return _read_secret(path)


def _secret_path(database: Path) -> Path:
    return database.with_name(f"{database.name}-secret")


def _read_secret(path: Path) -> bytes:
    if path.is_symlink():
        raise InsecurePath(
            f"The secret {path} is a symbolic link, which others may redirect. Put the file itself there."
        )
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise StoreUnavailable(
            f"The secret {path} cannot be read ({error.strerror}). Run as the user it belongs to."
        ) from error
    try:
        _check_secret(path, os.fstat(descriptor))
        secret = os.read(descriptor, _SECRET_BYTES_READ).strip()
    finally:
        os.close(descriptor)
    if len(secret) < SECRET_BYTES_MIN:
        raise StoreCorrupt(
            f"The secret {path} is damaged: it is too short. Restore it from a backup; without it the tasks that wait"
            " cannot be run."
        )
    return secret


def _check_secret(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StoreCorrupt(f"The secret {path} is not a regular file. It was left as it is. Move it away.")
    if status.st_uid != os.geteuid() and (os.geteuid() != 0 or _is_shared(path.parent)):
        raise InsecurePath(f"The secret {path} belongs to another user. Run as that user, or name another store.")
    if status.st_mode & 0o077:
        raise InsecurePath(
            f"Other users may open the secret {path}, and whoever has it can have code run. Run: chmod 600 '{path}'."
        )


def _is_shared(folder: Path) -> bool:
    """Whether everybody may put a file there, as in /tmp: whoever was first would know root's secret."""
    return bool(folder.stat().st_mode & stat.S_IWOTH)


def _make_secret(path: Path) -> None:
    """Written aside and linked into place, so that nobody reads half a secret and nobody's secret is replaced."""
    aside = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
    try:
        descriptor = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(32).encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):  # another process was faster; its secret is the one
            os.link(aside, path)
        _sync(path.parent)
    except OSError as error:
        raise StoreUnavailable(
            f"The secret {path} cannot be made ({error.strerror}). Is its folder writable?"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Keep the names in `folder` through a power cut: a file that is synced may still lose its name."""
    with suppress(OSError):  # some folders cannot be synced, and SQLite does not insist either
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
