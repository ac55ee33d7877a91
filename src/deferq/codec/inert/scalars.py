"""The opcodes of numbers, texts and bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable

from deferq.codec.inert.cursor import Damaged
from deferq.codec.inert.machine import Machine
from deferq.codec.inert.nodes import Node, Span, SpanForm
from deferq.codec.inert.operations import on


def _plain(opcode: bytes, read: Callable[[Machine], Node]) -> None:
    on(opcode)(lambda machine: machine.push(read(machine)))


def _span(opcode: bytes, form: SpanForm, size: int, *, signed: bool = False) -> None:
    on(opcode)(lambda machine: machine.push_span(machine.cursor.span(form, size, signed=signed)))


_plain(pickle.NONE, lambda machine: None)
_plain(pickle.NEWTRUE, lambda machine: True)
_plain(pickle.NEWFALSE, lambda machine: False)
_plain(pickle.BININT, lambda machine: machine.cursor.number(4, signed=True))
_plain(pickle.BININT1, lambda machine: machine.cursor.byte())
_plain(pickle.BININT2, lambda machine: machine.cursor.number(2))
_plain(pickle.BINFLOAT, lambda machine: machine.cursor.double())
_plain(pickle.INT, lambda machine: _kept(machine, machine.cursor.int_line()))
_plain(pickle.LONG, lambda machine: _kept(machine, machine.cursor.long_line()))
_plain(pickle.FLOAT, lambda machine: _kept(machine, machine.cursor.float_line()))
_plain(pickle.LONG1, lambda machine: _kept(machine, machine.cursor.long(1)))
_plain(pickle.LONG4, lambda machine: _kept(machine, machine.cursor.long(4)))
_span(pickle.SHORT_BINUNICODE, "utf-8", 1)
_span(pickle.BINUNICODE, "utf-8", 4)
_span(pickle.BINUNICODE8, "utf-8", 8)
_span(pickle.SHORT_BINBYTES, "bytes", 1)
_span(pickle.BINBYTES, "bytes", 4)
_span(pickle.BINBYTES8, "bytes", 8)
_span(pickle.BYTEARRAY8, "bytearray", 8)
_span(pickle.SHORT_BINSTRING, "ascii", 1)
_span(pickle.BINSTRING, "ascii", 4, signed=True)


def _kept(machine: Machine, node: Node) -> Node:
    return machine.keeper.keep(node) if isinstance(node, Span) else node


@on(pickle.UNICODE)
def _unicode(machine: Machine) -> None:
    machine.push_span(machine.cursor.line("escaped"))


@on(pickle.STRING)
def _string(machine: Machine) -> None:
    line, data = machine.cursor.line("literal"), machine.cursor.data
    while line.end > line.start and data[line.end - 1] in b" \t\r":
        line.end -= 1
    inside = line.end - line.start >= 2 and data[line.start] == data[line.end - 1] and data[line.start] in b"'\""
    if not inside:
        raise Damaged("a text has no quotes around it")
    line.start, line.end = line.start + 1, line.end - 1
    machine.push_span(line)
