"""The opcodes of lists, tuples, sets and dicts."""

from __future__ import annotations

import pickle
from collections.abc import Callable

from deferq.codec.inert.cursor import Damaged
from deferq.codec.inert.machine import Machine
from deferq.codec.inert.nodes import Items, ItemsForm, Node, Pairs, Span
from deferq.codec.inert.objects import opened
from deferq.codec.inert.operations import on


def _new_items(machine: Machine, form: ItemsForm, nodes: list[Node]) -> None:
    items = machine.keeper.keep(Items(form))
    if isinstance(items, Items):
        for node in nodes:
            machine.keeper.add(items, node)
    machine.push(items)


def _last(machine: Machine, count: int) -> list[Node]:
    nodes = [machine.pop() for _ in range(count)]
    nodes.reverse()
    return nodes


def _items(opcode: bytes, form: ItemsForm, nodes: Callable[[Machine], list[Node]]) -> None:
    on(opcode)(lambda machine: _new_items(machine, form, nodes(machine)))


_items(pickle.EMPTY_LIST, "list", lambda machine: [])
_items(pickle.EMPTY_TUPLE, "tuple", lambda machine: [])
_items(pickle.EMPTY_SET, "set", lambda machine: [])
_items(pickle.TUPLE1, "tuple", lambda machine: _last(machine, 1))
_items(pickle.TUPLE2, "tuple", lambda machine: _last(machine, 2))
_items(pickle.TUPLE3, "tuple", lambda machine: _last(machine, 3))
_items(pickle.TUPLE, "tuple", Machine.pop_mark)
_items(pickle.LIST, "list", Machine.pop_mark)
_items(pickle.FROZENSET, "frozenset", lambda machine: _hashable(machine, machine.pop_mark()))


@on(pickle.EMPTY_DICT)
def _empty_dict(machine: Machine) -> None:
    machine.push(machine.keeper.keep(Pairs()))


@on(pickle.DICT)
def _dict(machine: Machine) -> None:
    nodes = machine.pop_mark()
    _empty_dict(machine)
    _set_all(machine, nodes)


@on(pickle.APPEND)
def _append(machine: Machine) -> None:
    _extend(machine, _last(machine, 1), "list")


@on(pickle.APPENDS)
def _appends(machine: Machine) -> None:
    _extend(machine, machine.pop_mark(), "list")


@on(pickle.ADDITEMS)
def _additems(machine: Machine) -> None:
    _extend(machine, _hashable(machine, machine.pop_mark()), "set")


@on(pickle.SETITEM)
def _setitem(machine: Machine) -> None:
    _set_all(machine, _last(machine, 2))


@on(pickle.SETITEMS)
def _setitems(machine: Machine) -> None:
    _set_all(machine, machine.pop_mark())


def _extend(machine: Machine, nodes: list[Node], form: ItemsForm) -> None:
    """Into the list or set on top, or into an object that takes items."""
    target = machine.top()
    if not isinstance(target, Items) or target.form != form:
        made = opened(machine)
        if made is None:
            return
        made.items = target = made.items or machine.keeper.keep(Items(form))
    if isinstance(target, Items):
        for node in nodes:
            machine.keeper.add(target, node)


def _set_all(machine: Machine, nodes: list[Node]) -> None:
    """Into the dict on top, or into an object that takes keys."""
    if len(nodes) % 2:
        raise Damaged("a key has no value")
    target = machine.top()
    if isinstance(target, Pairs):
        _hashable(machine, nodes[::2])
    else:
        made = opened(machine)
        if made is None:
            return
        made.pairs = target = made.pairs or machine.keeper.keep(Pairs())
    if isinstance(target, Pairs):
        for place in range(0, len(nodes), 2):
            machine.keeper.add_pair(target, nodes[place], nodes[place + 1])


def _hashable(machine: Machine, nodes: list[Node]) -> list[Node]:
    if any(_unhashable(node) for node in nodes):
        machine.problem("a list, a set or a dict stands as a key or in a set, so it cannot be restored")
    return nodes


def _unhashable(node: Node) -> bool:
    if isinstance(node, Items):
        return node.form in ("list", "set")
    return isinstance(node, Pairs) or (isinstance(node, Span) and node.form == "bytearray")
