"""A value that is refused, on the way up to the argument it is part of."""

from __future__ import annotations

from typing import Any

from deferq.codec.faults import type_name
from deferq.errors import CallError, NotSerializable, PayloadTooComplex, PayloadTooDeep
from deferq.registry import TypeCodec


class Refused(Exception):
    """Why, and the steps that lead to it, the last one first."""

    def __init__(
        self,
        reason: str,
        value: Any,
        kind: type[NotSerializable | PayloadTooDeep | PayloadTooComplex] = NotSerializable,
    ) -> None:
        super().__init__(reason)
        self.steps: list[str] = []
        self._type_name = type_name(value)
        self._kind = kind

    def through(self, codec: TypeCodec) -> None:
        """It lies in what a registered type was made into: in a field of it, or in what its function returned."""
        if codec.by_fields and self.steps:
            self.steps[-1] = "." + self.steps[-1].strip("[']")
        else:
            self.steps.append("{encoded}")

    def error(self, root: str) -> CallError:
        """What the caller is told; `root` is the argument."""
        if self._kind is not NotSerializable:  # the way down to it tells nothing, and is long
            return self._kind(f"{root} cannot be stored: {self}", path=root)
        path = root + "".join(reversed(self.steps))
        return NotSerializable(f"{path} cannot be stored: {self}", path=path, type_name=self._type_name)
