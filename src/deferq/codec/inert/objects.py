"""The opcodes that look something up, call it, or change what it made. Here they only note it down."""

from __future__ import annotations

import pickle

from deferq.codec.inert.cursor import Damaged
from deferq.codec.inert.machine import Machine
from deferq.codec.inert.nodes import LOST, Items, Lost, Made, MadeBy, Name, Node, Span
from deferq.codec.inert.operations import on


@on(pickle.GLOBAL)
def _global(machine: Machine) -> None:
    machine.push(_name_of_lines(machine))


@on(pickle.STACK_GLOBAL)
def _stack_global(machine: Machine) -> None:
    qualname, module = machine.pop(), machine.pop()
    if isinstance(module, Span) and isinstance(qualname, Span):
        _check_name(module)
        _check_name(qualname)
        machine.push(machine.name(module, qualname))
        return
    if not (_may_be_text(module) and _may_be_text(qualname)):
        raise Damaged("what is looked up is no name")
    machine.push(machine.computed_name(module, qualname))


@on(pickle.REDUCE)
def _reduce(machine: Machine) -> None:
    args, function = machine.pop(), machine.pop()
    _push_made(machine, "call", function, args)


@on(pickle.NEWOBJ)
def _newobj(machine: Machine) -> None:
    args, cls = machine.pop(), machine.pop()
    _push_made(machine, "new", cls, args)


@on(pickle.NEWOBJ_EX)
def _newobj_ex(machine: Machine) -> None:
    kwargs, args, cls = machine.pop(), machine.pop(), machine.pop()
    _push_made(machine, "new", cls, args, kwargs)


@on(pickle.INST)
def _inst(machine: Machine) -> None:
    name = _name_of_lines(machine)
    _push_made(machine, "call", name, _tuple(machine, machine.pop_mark()))


@on(pickle.OBJ)
def _obj(machine: Machine) -> None:
    args = machine.pop_mark()
    if not args:
        raise Damaged("an object has no class")
    _push_made(machine, "call", args[0], _tuple(machine, args[1:]))


@on(pickle.BUILD)
def _build(machine: Machine) -> None:
    state = machine.pop()
    made = opened(machine)
    if made is not None:
        made.states = states = made.states or machine.keeper.keep(Items("tuple"))
        if isinstance(states, Items):
            machine.keeper.add(states, state)


@on(pickle.PERSID)
def _persid(machine: Machine) -> None:
    _push_persistent(machine, machine.keeper.keep(machine.cursor.line("ascii")))


@on(pickle.BINPERSID)
def _binpersid(machine: Machine) -> None:
    _push_persistent(machine, machine.pop())


@on(pickle.EXT1)
def _ext1(machine: Machine) -> None:
    _push_made(machine, "extension", machine.cursor.byte())


@on(pickle.EXT2)
def _ext2(machine: Machine) -> None:
    _push_made(machine, "extension", machine.cursor.number(2))


@on(pickle.EXT4)
def _ext4(machine: Machine) -> None:
    _push_made(machine, "extension", machine.cursor.number(4, signed=True))


@on(pickle.NEXT_BUFFER)
def _next_buffer(machine: Machine) -> None:
    machine.problem("a part of it was kept elsewhere (an out-of-band buffer), so it cannot be restored")
    _push_made(machine, "out-of-band buffer", None)


@on(pickle.READONLY_BUFFER)
def _readonly_buffer(machine: Machine) -> None:
    _push_made(machine, "read-only buffer", machine.pop())


def opened(machine: Machine) -> Made | None:
    """What lies on top, ready to be changed as an object is; None if there is no room to note it.

    Whatever is no object becomes one here: a class that is changed, or a number that pickle itself would refuse to
    change. Reading goes on, since stopping early would hide what comes later.
    """
    target = machine.top()
    if isinstance(target, Made):
        return target
    if not isinstance(target, Name | Lost):
        machine.problem("it changes something that pickle would not change in this way")
    changed = machine.keeper.keep(Made("changed", target))
    machine.stack[-1] = changed
    return changed if isinstance(changed, Made) else None


def _push_made(machine: Machine, by: MadeBy, of: Node, args: Node = None, kwargs: Node = None) -> None:
    machine.push(machine.keeper.keep(Made(by, of, args, kwargs)))


def _push_persistent(machine: Machine, key: Node) -> None:
    machine.problem("it refers to something by a persistent id, which deferq never stores, so it cannot be restored")
    _push_made(machine, "persistent id", key)


def _name_of_lines(machine: Machine) -> Node:
    return machine.name(machine.cursor.line("utf-8"), machine.cursor.line("utf-8"))


def _check_name(span: Span) -> None:
    if span.form in ("bytes", "bytearray", "integer", "digits"):
        raise Damaged("what is looked up is no name")


def _may_be_text(node: Node) -> bool:
    return node is LOST or isinstance(node, Made | Span)


def _tuple(machine: Machine, nodes: list[Node]) -> Node:
    items = machine.keeper.keep(Items("tuple"))
    if isinstance(items, Items):
        for node in nodes:
            machine.keeper.add(items, node)
    return items
