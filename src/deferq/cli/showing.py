"""Settings and queues as they may be shown to anybody: secrets by the ids of their keys, urls without passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from deferq import stores
from deferq.app import Deferq
from deferq.codec.signing import Keyring
from deferq.config import SETTINGS, Settings
from deferq.errors import DeferqError
from deferq.model.limits import Limit, given

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


def declared_queues(deferq: Deferq | None) -> dict[str, dict[str, Limit]]:
    """The queues that an application declares, with their limits."""
    return {} if deferq is None else {name: given(queue.limits) for name, queue in deferq.queues.items()}


def without_password(value: Any) -> Any:
    """A value as it may be shown: an url without its password, a tuple as a list."""
    if isinstance(value, tuple):
        return list(value)
    return _PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value
