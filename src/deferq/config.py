"""Settings: what they are called, where a value came from, and what it must look like.

A value is taken from the first place that has one: the call (`configure(...)`, `Deferq(...)`, a command's option), the
environment (`DEFERQ_...`), `[tool.deferq]` in the nearest `pyproject.toml`, the default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from deferq.errors import ConfigError
from deferq.frozen import Frozen
from deferq.suggest import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

SECRET_BYTES_MIN = 16
PAYLOADS = ("pickle", "json")
#: As the value of a setting that names a file: there shall be none.
NO_FILE = "none"
#: How like a name another one must be; all variables begin alike, so more than elsewhere.
_NEAR = 0.8


class Setting(NamedTuple):
    """One thing that can be set."""

    name: str
    default: Any
    parse: Callable[[str, Any], Any]
    help: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"DEFERQ_{self.name.upper()}"


class Value(NamedTuple):
    """The value of a setting, and where it came from."""

    value: Any
    origin: str

    def __repr__(self) -> str:
        return f"<Value from {self.origin}>"  # it may be a secret, or a URL with a password


def _text(name: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return str.__str__(value)  # a plain one, also of an enum: it goes into stores and to other processes
    raise ConfigError(f"{name}: expected text that is not empty; leave it out for the default.")


def _parts(value: Any) -> list[Any]:
    """The items of a list, or of a text with commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, Iterable) else [None]


def _texts(name: str, value: Any) -> tuple[str, ...]:
    parts = _parts(value)
    if all(isinstance(part, str) and part for part in parts):
        return tuple(parts)
    raise ConfigError(f"{name}: expected a list of texts (in the environment: separated by commas).")


def _secrets(name: str, value: Any) -> tuple[str | bytes, ...]:
    parts = _parts(value)
    if parts and all(isinstance(part, str | bytes) and len(part) >= SECRET_BYTES_MIN for part in parts):
        return tuple(parts)
    raise ConfigError(
        f"{name}: expected one or more secrets of at least {SECRET_BYTES_MIN} characters, newest first. Make one with:"
        ' python -c "import secrets; print(secrets.token_urlsafe(32))"'
    )


def _count(name: str, value: Any) -> int:
    try:
        number = int(value) if not isinstance(value, bool | float) else -1
    except (TypeError, ValueError):
        number = -1
    if number >= 1:
        return number
    raise ConfigError(f"{name}: expected a whole number from 1 on.")


def _seconds(name: str, value: Any) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if 0 <= number < float("inf"):
        return number
    raise ConfigError(f"{name}: expected a number of seconds, not negative.")


def _truth(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    known = words.get(value.lower()) if isinstance(value, str) else None
    if known is None:
        raise ConfigError(f"{name}: expected true or false (in the environment: 1 or 0).")
    return known


def _place(name: str, value: Any) -> str:
    if value in ("embedded", "external"):
        return str(value)
    raise ConfigError(f"{name}: expected 'embedded' (threads of the web process) or 'external' (deferq worker).")


def _base_url(name: str, value: Any) -> str:
    from urllib.parse import urlsplit

    text = value if isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value else ""
    with suppress(ValueError):  # brackets that do not close, a port that is none
        parts = urlsplit(text)
        plain = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme in ("http", "https") and parts.hostname and plain and parts.port != 0:
            return text
    raise ConfigError(f"{name}: expected a scheme and a host, such as https://shop.example or http://localhost:8000.")


def _payload(name: str, value: Any) -> str:
    if isinstance(value, str) and value in PAYLOADS:
        return str.__str__(value)
    raise ConfigError(f"{name}: expected 'pickle' (any arguments) or 'json' (strict JSON, a closed set of types).")


def _payloads(name: str, value: Any) -> tuple[str, ...]:
    parts = tuple(_parts(value))
    if parts and all(isinstance(part, str) and part in PAYLOADS for part in parts):
        return parts
    raise ConfigError(f"{name}: expected 'json', 'pickle' or both.")


SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "url", None, _text, "the store, such as sqlite:///jobs.db; by default .deferq/deferq.db in the project"
        ),
        Setting("app", None, _text, "what a worker imports: a module, module:name, or a file"),
        Setting("secrets", None, _secrets, "signs payloads; a list rotates, newest first", secret=True),
        Setting(
            "queue_yaml",
            None,
            _text,
            "an App Engine queue.yaml that declares queues, or none; by default the one beside an application that"
            " imports deferq.compat.appengine",
        ),
        Setting("allow", None, _texts, "module prefixes that targets must lie under, such as myapp."),
        Setting("worker", "embedded", _place, "where wrapped web applications run tasks: embedded or external"),
        Setting(
            "base_url",
            "http://localhost",
            _base_url,
            "the scheme and host that tasks delivered in process show to the application, such as https://shop.example",
        ),
        Setting("threads", None, _count, "how many plain functions a worker runs at the same time"),
        Setting("children", 1, _count, "how many child processes `deferq worker` runs tasks in"),
        Setting("max_tasks", None, _count, "replace a child after so many tasks; by default never"),
        Setting("max_rss", None, _count, "replace a child that takes more bytes of memory; by default never"),
        Setting(
            "quarantine_memory",
            None,
            _count,
            "bytes of memory a task in quarantine may take; by default half of the machine's, or of the container's",
        ),
        Setting("async_slots", 100, _count, "how many coroutines a worker runs at the same time"),
        Setting("drain_s", 30.0, _seconds, "how long a stopping worker lets running tasks finish"),
        Setting("payload", "pickle", _payload, "how arguments and results are stored: pickle or json (strict JSON)"),
        Setting(
            "payload_accept",
            None,
            _payloads,
            "which of pickle and json is read; by default json alone with payload=json, else both",
        ),
        Setting("payload_limit", 16 * 1024 * 1024, _count, "largest size of a task's arguments in bytes"),
        Setting("tombstone_s", 24 * 3600.0, _seconds, "how long the name of a finished task stays taken"),
        Setting("keep_succeeded_s", 3600.0, _seconds, "how long succeeded tasks stay in the history"),
        Setting("keep_succeeded_max", 100_000, _count, "how many succeeded tasks stay at most"),
        Setting("keep_cancelled_s", 24 * 3600.0, _seconds, "how long cancelled tasks stay"),
        Setting(
            "trust_app_engine_headers",
            False,
            _truth,
            "take unsigned deliveries that have App Engine's headers and address: for App Engine alone, whose front end"
            " lets nobody else send them",
        ),
        Setting("keep_dead_s", 30 * 24 * 3600.0, _seconds, "how long dead tasks stay"),
    )
}


class Settings(Frozen):
    """All settings with their origins."""

    __slots__ = ("values", "project")  # noqa: RUF023 – the order in which they are shown

    values: Mapping[str, Value]
    #: Folder of the nearest pyproject.toml, or the current folder.
    project: Path

    def __init__(self, values: Mapping[str, Value], project: Path) -> None:
        self._fill(values=values, project=project)

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value


def gather(
    given: Mapping[str, Any],
    *,
    environ: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    said_by: str = "given",
) -> Settings:
    """Settings from `given` (None: not given), the environment, the project file and the defaults.

    `said_by` is the origin of what is given.

    Raises ConfigError for an unknown name or a value that does not fit, naming the place it stands in.
    """
    from pathlib import Path  # imported late, so that importing deferq stays cheap

    project_file = find_project_file(folder or Path.cwd())
    from_project = _read_project(project_file)
    _check_names(from_project, f"[tool.deferq] in {project_file}")
    _check_names({name: 1 for name, value in given.items() if value is not None}, "the configuration")
    project = project_file.parent if project_file else (folder or Path.cwd())
    values = {
        setting.name: _value(setting, given, environ, from_project, project_file, said_by)
        for setting in SETTINGS.values()
    }
    _check_accepted(values)
    return Settings(values, project)


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Variables `DEFERQ_...` that are no setting, each with the one that was probably meant."""
    from difflib import get_close_matches  # needed only by who looks for what is wrong

    known = {setting.variable for setting in SETTINGS.values()}
    unknown = sorted(name for name in environ if name.startswith("DEFERQ_") and name not in known)
    return {name: next(iter(get_close_matches(name, known, 1, _NEAR)), None) for name in unknown}


def find_project_file(folder: Path) -> Path | None:
    """The pyproject.toml of `folder` or of the nearest folder above it."""
    for candidate in (folder, *folder.parents):
        if (candidate / "pyproject.toml").is_file():
            return candidate / "pyproject.toml"
    return None


def _value(
    setting: Setting,
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    from_project: Mapping[str, Any],
    project_file: Path | None,
    said_by: str,
) -> Value:
    if given.get(setting.name) is not None:
        return Value(setting.parse(setting.name, given[setting.name]), said_by)
    if environ.get(setting.variable):
        return Value(setting.parse(setting.variable, environ[setting.variable]), f"environment {setting.variable}")
    if setting.name in from_project:
        where = f"[tool.deferq] in {project_file}"
        return Value(setting.parse(f"{setting.name} of {where}", from_project[setting.name]), where)
    return Value(setting.default, "default")


def _check_accepted(values: Mapping[str, Value]) -> None:
    payload, accepted = values["payload"].value, values["payload_accept"].value
    if accepted is not None and payload not in accepted:
        raise ConfigError(
            f"payload_accept: it leaves out {payload!r}, in which this application stores its own tasks; add it, or set"
            " payload."
        )


def _read_project(project_file: Path | None) -> dict[str, Any]:
    if project_file is None:
        return {}
    import tomllib

    try:
        document = tomllib.loads(project_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{project_file} cannot be read: {error}. Mend the file.") from error
    tools = document.get("tool", {})
    table = tools.get("deferq", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(
            f"[tool.deferq] in {project_file} must be a table, such as: [tool.deferq] and below it threads = 4."
        )
    return table


def _check_names(given: Mapping[str, Any], where: str) -> None:
    for name in given:
        if name not in SETTINGS:
            hint = did_you_mean(name, SETTINGS, otherwise=f" There are: {', '.join(SETTINGS)}.")
            raise ConfigError(f"{where} has no setting {name!r}.{hint}")
