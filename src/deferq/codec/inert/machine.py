"""A machine that runs a pickle without doing any of what it says.

It has the stack, the marks and the memo of pickle's own, and what lies on them are descriptions (`nodes.py`). Where
pickle would import, this writes down a name; where pickle would call, this writes down the call.
"""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

from deferq.codec.inert.cursor import Cursor, Damaged
from deferq.codec.inert.keeping import Keeper
from deferq.codec.inert.nodes import HOLDERS, LOST, Items, Made, Name, Node, Span
from deferq.codec.inert.text import MORE, dotted, name_in
from deferq.codec.mainmodule import MAIN_NAMES

#: Opcodes that are read at most, and how much may lie on the stack.
STEPS_MAX, STACK_MAX = 1_000_000, 64_000
IMPORTS_MAX, PROBLEMS_MAX, DROPPED_MAX = 1_000, 5, 20
UNFINISHED_LEVELS, UNFINISHED_ITEMS = 20, 20
_MEMO_COST = 120
_COMPUTED = "a name that is computed while it is restored"


class Machine:
    """One pickle while it is read."""

    def __init__(self, data: bytes, start: int, keep: int, main: str | None = None) -> None:
        """Nothing is read yet.

        Args:
            data: what holds the pickle.
            start: where it begins.
            keep: how many items of one container are kept.
            main: what `__main__` is called in other processes.
        """
        self.cursor = Cursor(data, start)
        self.keeper = Keeper(keep, self._level)
        self.stack: list[Node] = []
        #: What lies below each mark.
        self.below: list[list[Node]] = []
        self.protocol = 0
        self.steps = 0
        #: Why reading ended before its end.
        self.stopped = ""
        #: What restoring it would look up, in order.
        self.imports: dict[str, None] = {}
        self.problems: dict[str, None] = {}
        #: What would be made and is no part of the result.
        self.dropped: list[Made] = []
        self._main = main
        self._slots_below = 0
        self._memo: dict[int, Node] = {}
        self._memo_length = 0
        self._memo_full = False

    def _level(self) -> int:
        return self._slots_below + len(self.stack)

    def problem(self, text: str) -> None:
        """Note what is wrong, though reading goes on."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems[text] = None

    # ---- the stack

    def push(self, node: Node) -> None:
        """Put it on top."""
        self.stack.append(node)

    def push_span(self, span: Span) -> None:
        """Put a text or bytes on top, if there is room for it."""
        self.stack.append(self.keeper.keep(span))

    def pop(self) -> Node:
        """Take what lies on top."""
        if not self.stack:
            raise Damaged("nothing is left on the stack")
        return self.stack.pop()

    def top(self) -> Node:
        """What lies on top."""
        if not self.stack:
            raise Damaged("nothing is left on the stack")
        return self.stack[-1]

    def mark(self) -> None:
        """Begin a new part of the stack."""
        self._slots_below += len(self.stack) + 1
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Node]:
        """What lies above the last mark."""
        if not self.below:
            raise Damaged("no mark is left on the stack")
        above, self.stack = self.stack, self.below.pop()
        self._slots_below -= len(self.stack) + 1
        return above

    def check_height(self) -> None:
        """Raise Damaged for a stack that is too high."""
        if self._level() > STACK_MAX:
            raise Damaged(f"more than {STACK_MAX:,} parts would have to be kept at once, and the rest was not read")

    def drop(self, node: Node) -> None:
        """Remember something that is thrown away, if making it runs code."""
        if isinstance(node, Made) and len(self.dropped) < DROPPED_MAX:
            self.dropped.append(node)

    # ---- the memo

    def memoize(self, index: int | None = None) -> None:
        """Remember what lies on top under `index`; None: the next one."""
        node = self.top()
        place = self._memo_length if index is None else index
        if place < 0:
            raise Damaged("a place in the memo is negative")
        known = place in self._memo
        self._memo_length += not known
        if known or self.keeper.may(_MEMO_COST):
            self._memo[place] = node
        else:
            self._memo_full = True

    def recall(self, index: int) -> None:
        """Put on top what was remembered."""
        if index in self._memo:
            self.push_again(self._memo[index])
        elif self._memo_full:
            self.push(LOST)
        else:
            raise Damaged(f"place {index} of the memo is empty")

    def push_again(self, node: Node) -> None:
        """Put something on top that has been there already."""
        if isinstance(node, HOLDERS):
            node.shared = True
        self.push(node)

    # ---- names

    def name(self, module: Span, qualname: Span) -> Node:
        """What would be looked up in a module."""
        home, own = (name_in(self.cursor.data, span) for span in (module, qualname))
        if home is None or own is None:
            self._imported("a name of more than 250 characters")
            return self.keeper.keep(Name("", "", "<a name of more than 250 characters>"))
        home, own = self._todays(home, own)
        if self._main is not None and home in MAIN_NAMES:
            home = self._main
        shown = dotted(home, own)
        self._imported(shown)
        return self.keeper.keep(Name(home, own, shown))

    def computed_name(self, module: Node, qualname: Node) -> Node:
        """What would be looked up under a name that only running the pickle gives."""
        self._imported(_COMPUTED)
        pair = Items("tuple")
        self.keeper.add(pair, module)
        self.keeper.add(pair, qualname)
        return self.keeper.keep(Made("named", None, pair))

    def _todays(self, module: str, qualname: str) -> tuple[str, str]:
        """The names that pickle reads for those of Python 2."""
        if self.protocol >= 3:
            return module, qualname
        if (module, qualname) in NAME_MAPPING:
            return NAME_MAPPING[module, qualname]
        return IMPORT_MAPPING.get(module, module), qualname

    def _imported(self, name: str) -> None:
        self.imports[name if len(self.imports) < IMPORTS_MAX else MORE] = None

    # ---- the end

    def unfinished(self) -> Node:
        """What there is when reading stops early: the outermost parts, one in the other."""
        parts = [*self.below, self.stack][:UNFINISHED_LEVELS]
        inner: Node = None
        for nth, nodes in enumerate(reversed(parts)):
            outer = Items("unfinished")
            outer.kept = nodes[:UNFINISHED_ITEMS] + ([inner] if nth else [])
            outer.count = len(nodes) + (nth > 0)
            inner = outer
        return inner
