"""Two moments with the same fingerprint have the same future.

The fingerprint is a digest of all that the future depends on, dispatchers in the middle of a step included: where each
of their generators stands, and its local variables.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from types import FunctionType, GeneratorType
from typing import Any


class _Pickler(pickle.Pickler):
    """Writes generators too. What is the same in all moments is written as its name."""

    def __init__(self, file: io.BytesIO, same: Mapping[int, str]) -> None:
        super().__init__(file, protocol=5)
        self._same = same

    def persistent_id(self, obj: object) -> str | None:
        return self._same.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, GeneratorType):
            return tuple, (_position(obj),)
        if isinstance(obj, FunctionType):
            return str, (obj.__qualname__,)
        return NotImplemented


def fingerprint(state: object, same: Mapping[int, str]) -> bytes:
    """A digest of `state`. `same` names, by `id`, what is the same in every world, or is none of its state."""
    file = io.BytesIO()
    _Pickler(file, same).dump(state)
    return hashlib.blake2b(file.getbuffer(), digest_size=16).digest()


def _position(generator: GeneratorType[Any, Any, Any]) -> list[object]:
    """Where a generator stands, and those it waits for."""
    stands: list[object] = []
    at: Any = generator
    while isinstance(at, GeneratorType):
        frame = at.gi_frame
        stands.append(None if frame is None else (frame.f_lasti, dict(frame.f_locals)))
        at = at.gi_yieldfrom
    return stands
