"""The opcodes that say how to read: the protocol, frames, marks, the memo, what is thrown away."""

from __future__ import annotations

import pickle

from deferq.codec.inert.machine import Machine
from deferq.codec.inert.operations import on

PROTOCOL_MAX = 5


@on(pickle.PROTO)
def _proto(machine: Machine) -> None:
    machine.protocol = machine.cursor.byte()
    if machine.protocol > PROTOCOL_MAX:
        machine.problem(f"it claims protocol {machine.protocol}, and pickle knows 0 to {PROTOCOL_MAX}")


@on(pickle.FRAME)
def _frame(machine: Machine) -> None:
    length = machine.cursor.number(8)
    if length > machine.cursor.left:
        machine.problem(f"a frame of {length:,} bytes is announced, and {machine.cursor.left:,} are left")


@on(pickle.MARK)
def _mark(machine: Machine) -> None:
    machine.mark()


@on(pickle.POP)
def _pop(machine: Machine) -> None:
    if machine.stack or not machine.below:
        machine.drop(machine.pop())
    else:
        machine.pop_mark()


@on(pickle.POP_MARK)
def _pop_mark(machine: Machine) -> None:
    for node in machine.pop_mark():
        machine.drop(node)


@on(pickle.DUP)
def _dup(machine: Machine) -> None:
    machine.push_again(machine.top())


@on(pickle.PUT)
def _put(machine: Machine) -> None:
    machine.memoize(machine.cursor.index())


@on(pickle.BINPUT)
def _binput(machine: Machine) -> None:
    machine.memoize(machine.cursor.byte())


@on(pickle.LONG_BINPUT)
def _long_binput(machine: Machine) -> None:
    machine.memoize(machine.cursor.number(4))


@on(pickle.MEMOIZE)
def _memoize(machine: Machine) -> None:
    machine.memoize()


@on(pickle.GET)
def _get(machine: Machine) -> None:
    machine.recall(machine.cursor.index())


@on(pickle.BINGET)
def _binget(machine: Machine) -> None:
    machine.recall(machine.cursor.byte())


@on(pickle.LONG_BINGET)
def _long_binget(machine: Machine) -> None:
    machine.recall(machine.cursor.number(4))
