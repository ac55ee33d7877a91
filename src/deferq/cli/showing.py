"""Settings and queues as they may be shown to anybody: secrets by the ids of their keys, urls without passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from deferq import stores
from deferq.app import Deferq
from deferq.cli.queues import retry_text
from deferq.codec.signing import Keyring
from deferq.config import SETTINGS, Settings
from deferq.errors import ConfigError, DeferqError
from deferq.model.retry import RetryPolicy
from deferq.queuefile import queue_file

#: Up to the last @: who forgets to encode a password may have any character in it.
_PASSWORD = re.compile(r"(://[^/\s:@]*):.+@", re.DOTALL)


def setting_rows(settings: Settings) -> list[dict[str, Any]]:
    """Every setting with its value, its origin and what it is for."""
    return [_row(name, settings) for name in SETTINGS]


def _row(name: str, settings: Settings) -> dict[str, Any]:
    setting, (value, origin) = SETTINGS[name], settings.values[name]
    shown = _redacted(value) if setting.secret else without_password(value)
    row = {"name": name, "value": shown, "origin": origin, "variable": setting.variable, "help": setting.help}
    return {**row, "keys": key_ids(settings)} if setting.secret else row


def for_people(row: Mapping[str, Any]) -> str:
    """A value in a table."""
    value = row["value"]
    if row.get("keys"):
        value = f"{value or '(the file beside the store)'}, key {', '.join(row['keys'])}"
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _redacted(value: Any) -> str | None:
    return None if value is None else f"({len(value)} set)"


def key_ids(settings: Settings) -> list[str]:
    """What envelopes name the keys of these settings by, newest first; they tell nothing of the secrets."""
    try:
        return Keyring(_secrets(settings)).key_ids
    except DeferqError:  # none is set, and none lies beside the store
        return []


def _secrets(settings: Settings) -> Sequence[str | bytes]:
    if settings["secrets"] is not None:
        secrets: Sequence[str | bytes] = settings["secrets"]
        return secrets
    path = stores.store_path(settings)
    return [] if path is None else [stores.read_secret(stores.secret_path(path))]


def store_line(settings: Settings) -> str:
    """The store that the settings come to."""
    try:
        path = stores.store_path(settings)
    except DeferqError:  # none of ours
        return str(without_password(settings["url"]))
    return f"sqlite:///{path}" if path is not None else str(settings["url"])


class Declared(NamedTuple):
    """What an application declares about its queues."""

    #: By name, as plain data.
    queues: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    #: The file that declares some of them.
    file: str | None = None
    #: Why it is not known what is declared; empty: it is.
    trouble: str = ""


def declared_by(deferq: Deferq | None) -> Declared:
    """What it says, or why that cannot be read; None: there is no application to ask."""
    if deferq is None:
        return Declared()
    try:
        file = queue_file(deferq.settings, deferq.queue_files)
        queues = {name: queue.to_dict() for name, queue in deferq.queues.items()}
    except ConfigError as error:
        return Declared(trouble=str(error))
    return Declared(queues, None if file is None else str(file))


def queue_line(name: str, said: Mapping[str, Any]) -> str:
    """A declared queue for people: `queue mail (declared in queue.yaml): rate 5/s, route worker`."""
    told = [f"{field} {value}" for field, value in said.items() if field not in ("source", "retry", "paused", "pull")]
    if "retry" in said:
        told.append(f"retry {retry_text(RetryPolicy(**said['retry']))}")
    told += [field for field in ("paused", "pull") if said.get(field)]
    return f"queue {name} (declared in {said.get('source', 'code')}): {', '.join(told) or 'no limits'}"


def without_password(value: Any) -> Any:
    """A value as it may be shown: an url without its password, a tuple as a list."""
    if isinstance(value, tuple):
        return list(value)
    return _PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value
