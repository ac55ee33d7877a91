"""Reads one pickle to its end, or as far as it goes."""

from __future__ import annotations

import pickle
from typing import NamedTuple

from deferq.codec.inert import containers, control, objects, scalars  # noqa: F401 - they fill the table
from deferq.codec.inert.cursor import Damaged
from deferq.codec.inert.machine import STEPS_MAX, Machine
from deferq.codec.inert.nodes import Made, Node
from deferq.codec.inert.operations import OPERATIONS

_STOP = pickle.STOP[0]


class Reading(NamedTuple):
    """What was read."""

    value: Node
    #: Why not all of it, or what else is wrong.
    problems: tuple[str, ...] = ()
    #: What restoring it would look up in modules.
    imports: tuple[str, ...] = ()
    #: What restoring it would make beside the value, and throw away.
    dropped: tuple[Made, ...] = ()
    #: Opcodes, or their like, that were read.
    steps: int = 0
    #: Where it ended.
    end: int = 0
    whole: bool = True
    #: Whether there were too many parts to keep them all.
    lost: bool = False


def read_pickle(data: bytes, start: int, keep: int, main: str | None = None) -> Reading:
    """What the pickle at `start` describes.

    Args:
        data: whatever holds it; it need not be a pickle at all.
        start: where it begins.
        keep: how many items of one container are of interest.
        main: what `__main__` is called in other processes.

    Imports nothing, calls nothing and never raises, whatever it reads.
    """
    machine = Machine(data, start, keep, main)
    value = _run(machine)
    problems = (*([machine.stopped] if machine.stopped else ()), *machine.problems)
    return Reading(
        value,
        problems,
        tuple(machine.imports),
        tuple(machine.dropped),
        machine.steps,
        machine.cursor.at,
        not machine.stopped,
        machine.keeper.full,
    )


def _run(machine: Machine) -> Node:
    cursor = machine.cursor
    at = cursor.at
    try:
        while True:
            at = cursor.at
            opcode = cursor.byte()
            if opcode == _STOP:
                return _result(machine)
            _step(machine, opcode)
    except Damaged as error:
        size = len(cursor.data) - cursor.start
        machine.stopped = f"it could be read up to byte {at - cursor.start:,} of {size:,}: {error}"
        return machine.unfinished()


def _step(machine: Machine, opcode: int) -> None:
    operation = OPERATIONS.get(opcode)
    if operation is None:
        raise Damaged(f"{opcode:#04x} is no opcode of pickle")
    if machine.steps >= STEPS_MAX:
        raise Damaged(f"that is enough after {STEPS_MAX:,} steps")
    machine.steps += 1
    operation(machine)
    machine.check_height()


def _result(machine: Machine) -> Node:
    value = machine.pop()
    for nodes in (*machine.below, machine.stack):
        for node in nodes:
            machine.drop(node)
    return value
