"""The application behind the adapters, and what holds for every answer of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from deferq.codec.wire import OUTCOME
from deferq.http.handler import Handler, Parts
from deferq.http.message import OUTCOME_KEY
from deferq.http.refusals import _WORDS, answer
from deferq.runtime.listeners import Listeners
from tests.fuzz import victim
from tests.fuzz.drawn import Drawn
from tests.fuzz.fixtures import CODEC, NOW_S, Store

STORE = Store()
HANDLER = Handler(lambda: Parts(STORE, CODEC), lambda: Listeners([]), threads=2, now_s=lambda: float(NOW_S))
#: What the application answers to all that is no delivery: nothing of ours.
OWN_STATUS = 418
_REFUSALS = {400, 403, 404, 405, 409, 411, 413, 503}
_ANSWERS = _REFUSALS | {200, 408, 500}


class Lines(logging.Handler):
    """What is written into the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        logging.getLogger("deferq.http").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


LOG = Lines()
#: All that was ever said of what was not signed. Were it more, somebody could write into our log.
_SAID: set[str] = set()
_SAID_MAX = 12


class Watched:
    """From before a request to after it: whether anything ran."""

    def __init__(self, drawn: Drawn) -> None:
        self._drawn = drawn
        self._ran = victim.ran
        STORE.answer = drawn.answer
        LOG.lines.clear()

    def check_quiet(self) -> None:
        """Nothing runs that was not both signed and sealed, and nothing twice."""
        assert victim.ran - self._ran <= (self._drawn.signed and self._drawn.sealed), "something ran"

    def check(self, status: int, headers: Iterable[tuple[str, str]], body: bytes, place: dict[str, object]) -> None:
        """What may be answered, and left to the application."""
        self.check_quiet()
        if status == OWN_STATUS:
            return
        drawn, headers = self._drawn, list(headers)
        assert status in (_ANSWERS if drawn.signed else _REFUSALS), f"HTTP {status}"
        assert all(text.isascii() and text.isprintable() for header in headers for text in header), headers
        known = {name.lower(): value for name, value in headers}
        assert len(known) == len(headers)
        assert drawn.method == "HEAD" or int(known["content-length"]) == len(body)
        if not drawn.signed:
            assert OUTCOME.lower() not in known
            assert OUTCOME_KEY not in place
            assert body == (b"" if drawn.method == "HEAD" else answer(status, _WORDS[status]).body)
            assert len(LOG.lines) == 1, LOG.lines
            _SAID.update(LOG.lines)
            assert len(_SAID) <= _SAID_MAX, _SAID
