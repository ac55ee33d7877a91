"""The table of opcodes: what each of them does to the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from deferq.codec.inert.machine import Machine

Operation: TypeAlias = Callable[[Machine], None]

OPERATIONS: dict[int, Operation] = {}


def on(opcode: bytes) -> Callable[[Operation], Operation]:
    """Enter a function for this opcode."""

    def enter(operation: Operation) -> Operation:
        OPERATIONS[opcode[0]] = operation
        return operation

    return enter
