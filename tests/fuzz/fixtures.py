"""One application, as far as the targets need it: its keys, its codec, a task of it, and a store that holds nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from deferq.codec.codec import Codec
from deferq.codec.signing import JSON, Keyring
from deferq.codec.wire import pack_task
from deferq.engines.answers import TakeUp
from deferq.engines.memory import MemoryEngine
from deferq.model.task import Leased
from deferq.registry import Registry
from tests.fuzz import victim

logging.getLogger("deferq").addHandler(logging.NullHandler())
logging.getLogger("deferq").propagate = False

NOW_S = 1_800_000_000
NOW = NOW_S * 1_000_000
KEYRING = Keyring(["the newest secret of all", "and an older one, kept"])
OLD_KEYRING = Keyring(["and an older one, kept"])
STRANGER = Keyring(["a secret of somebody else"])
CODEC = Codec(KEYRING, Registry(), allow=[victim.__name__], payload="json", accept=["json", "pickle"])


def task_of(function: str = "note", arguments: bytes = b'[[1,"a"],{}]', **changes: object) -> Leased:
    """A task that calls `function` of the victim, genuine in all parts."""
    target = f"{victim.__name__}:{function}"
    task = Leased(
        **{
            **{"id": 7 << 12, "queue": "mail", "target": target, "priority": 0, "eta": NOW, "attempts": 0},
            **{"starts": 1, "parks": 0, "expires_at": None, "name": None, "route": None, "url": None, "options": None},
            **{"payload": b"", "first_due": NOW, "lease_id": 3, "leased_until": NOW + 30_000_000},
            **{"cancel_requested": False, "crashes": 0, **changes},
        }  # type: ignore[arg-type]
    )
    return task._replace(payload=KEYRING.seal("payload", task.id, task.target, arguments, codec=JSON, url=task.url))


def document_of(task: Leased, wait_s: float | None = None) -> bytes:
    """What stands in X-Deferq-Task, before base64."""
    from base64 import urlsafe_b64decode

    return urlsafe_b64decode(pack_task(task, wait_s))


class Store(MemoryEngine):
    """Says of every lease what it is told to say, and holds no task."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: NOW, payload_limit=4_096)
        self.answer = TakeUp.TAKEN

    def take_up(self, leases: Sequence[tuple[int, int]]) -> list[TakeUp]:
        return [self.answer for _ in leases]
