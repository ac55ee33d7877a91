"""The record by which others see that a worker lives."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from deferq.engines.base import LeasingEngine, RecordChange
from deferq.errors import StoreError
from deferq.model.transitions import US
from deferq.runtime.dispatcher import BEAT_EVERY_S, Beat

KIND = "worker"
#: After so many missed beats a worker is considered gone.
BEATS_MISSED_MAX = 3
#: The record of a worker that went without a word is kept so long, for people to wonder about.
GONE_KEPT_S = 3600.0


class Pulse:
    """One worker's record: written with each beat, removed at its end."""

    def __init__(
        self,
        engine: LeasingEngine,
        number: int,
        document: Mapping[str, Any],
        details: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """`document` is what stays the same; `details` says what is to be added now."""
        self._engine = engine
        self._key = f"{number:08x}"
        self._document = document
        self._details = details
        self._version = 0

    def beat(self, beat: Beat) -> None:
        """Write the record; if another version is stored, learn it, and write it with the next beat."""
        document = {**self._document, **self._details(), "running": beat.running, "abandoned": beat.abandoned}
        due = self._engine.now() + int(BEATS_MISSED_MAX * BEAT_EVERY_S * US)
        change = RecordChange(KIND, self._key, self._version, due, json.dumps(document))
        (applied,) = self._engine.change_records([change])
        self._version = self._version + 1 if applied else self._stored_version()

    def end(self) -> None:
        """Remove the record, or leave it to run out if the store is out of reach."""
        with suppress(StoreError):
            self._engine.change_records([RecordChange(KIND, self._key, self._version, None, None)])

    def clear_away(self) -> None:
        """Remove the records of workers that went long ago without a word."""
        before = self._engine.now() - int(GONE_KEPT_S * US)
        gone = [one for one in self._engine.records(KIND, limit=1000) if one.due is not None and one.due < before]
        if gone:
            self._engine.change_records([RecordChange(KIND, one.key, one.version, None, None) for one in gone])

    def _stored_version(self) -> int:
        """An answer may have been lost, or the record removed by somebody who thought us gone."""
        nearby = self._engine.records(KIND, after=self._key[:-1], limit=20)
        return next((record.version for record in nearby if record.key == self._key), 0)
