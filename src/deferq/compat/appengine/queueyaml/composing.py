"""From the bytes of a file to PyYAML's nodes, which know where they stand. No object of any kind is constructed."""

from __future__ import annotations

import codecs
from typing import NamedTuple

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

from deferq.compat.appengine.queueyaml.problems import Problem, at_mark, mistakes
from deferq.errors import QueueYamlError

#: About a thousand queues; App Engine takes a hundred. PyYAML needs some seconds for so much.
BYTES_MAX = 128 * 1024
#: A queue.yaml needs five.
DEPTH_MAX = 10
_TAGS = {
    None,
    "!",
    *(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")),
}


class _Mark(NamedTuple):
    line: int
    column: int


class _Refused(Exception):
    """What is YAML, and has no place here."""

    def __init__(self, mark: yaml.Mark, text: str) -> None:
        super().__init__(text)
        self.mark, self.text = mark, text


class _Nodes(Reader, Scanner, Parser, Composer, Resolver):
    """The tree of a file, without anchors, which App Engine does not take either, and without tags of other kinds."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        Resolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if getattr(event, "anchor", None) is not None:
            raise _Refused(
                mark, "Anchors (&) and aliases (*) are not taken, as on App Engine. Write the value out where it holds."
            )
        if getattr(event, "tag", None) not in _TAGS:
            raise _Refused(mark, "This has a tag (!), and a queue.yaml needs none. Leave the tag out.")
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _Refused(mark, f"This is nested more than {DEPTH_MAX} deep, and nothing in a queue.yaml is.")
        node: yaml.Node | None = Composer.compose_node(self, parent, index)  # type: ignore[arg-type]
        self._depth -= 1
        return node

    def only_node(self) -> yaml.Node | None:
        """The one document; None: there is none."""
        self.get_event()  # type: ignore[no-untyped-call]
        node: yaml.Node | None = None if self.check_event(yaml.StreamEndEvent) else self.compose_document()
        if not self.check_event(yaml.StreamEndEvent):
            raise _Refused(
                self.peek_event().start_mark,  # type: ignore[no-untyped-call]
                "A second document begins here, and a queue.yaml is one. Put all queues under one 'queue:'.",
            )
        return node


def compose(data: bytes, name: str) -> yaml.Node:
    """The tree of a file. Raises QueueYamlError with the place where it cannot be read."""
    text = _decoded(data, name)
    nodes: _Nodes | None = None
    try:
        nodes = _Nodes(text)
        node = nodes.only_node()
    except _Refused as error:
        raise at_mark(name, error.mark, error.text) from None
    except yaml.reader.ReaderError as error:
        raise _at_offset(name, text, error.position, "A character that YAML does not allow. Remove it.") from None
    except yaml.MarkedYAMLError as error:
        raise _no_yaml(name, error) from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):  # numbers of escapes that are no characters
        mark = _Mark(0, 0) if nodes is None else nodes.get_mark()
        raise at_mark(name, mark, "This cannot be read as YAML. Write it more plainly.") from None
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == NULL):
        raise at_mark(name, _Mark(0, 0), EMPTY)
    return node


NULL = "tag:yaml.org,2002:null"
EMPTY = "The file says nothing. List the queues under 'queue:', or delete it: without one nothing is limited."


def _decoded(data: bytes, name: str) -> str:
    if len(data) > BYTES_MAX:
        raise at_mark(
            name, _Mark(0, 0), f"The file is larger than {BYTES_MAX:,} bytes. Is it a queue.yaml? 100 queues need less."
        )
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise _at_offset(name, before, len(before), "This is no UTF-8. Store the file as UTF-8.") from None


def _at_offset(name: str, text: str, offset: int, what: str) -> QueueYamlError:
    line = text.count("\n", 0, offset)
    column = offset - (text.rfind("\n", 0, offset) + 1)
    return mistakes(name, [Problem(line + 1, column + 1, what)])


def _no_yaml(name: str, error: yaml.MarkedYAMLError) -> QueueYamlError:
    mark = error.problem_mark or error.context_mark or _Mark(0, 0)
    problem = error.problem or error.context or "it cannot be read"
    if "'\\t'" in problem:
        return at_mark(
            name, mark, "A tab stands here, and YAML is indented with spaces alone. Put spaces in its place."
        )
    where = f" {error.context}" if error.context and error.problem else ""
    said = "".join(char if char.isprintable() else "?" for char in f"{problem}{where}")
    return at_mark(name, mark, f"This is no YAML: {said}. Mend this line, or the one before it.")
