"""What people see of a payload: the call with its arguments, what restoring it would import, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from deferq.codec.inert.arguments import Call, call_in, print_call
from deferq.codec.inert.jsontext import read_json
from deferq.codec.inert.nodes import Made, Span
from deferq.codec.inert.printing import Limits, Printer
from deferq.codec.inert.reading import Reading, read_pickle
from deferq.codec.inert.text import MORE, plain, text_of
from deferq.codec.inert.triples import read_triple, triple_in
from deferq.codec.requests import METHODS
from deferq.codec.signing import HTTP, JSON, PICKLE, TRIPLE, VERSION

#: What fits a page, and what somebody wants who looks for a needle.
BRIEF: Final = Limits(chars=4_000, items=50, text=200, depth=12)
FULL: Final = Limits(chars=250_000, items=10_000, text=100_000, depth=50)

_MAGIC, _BODY_AT = b"DQ", 40
_NAME_SHOWN_MAX = 250
_IMPORTS_SHARE = 4
_BESIDES_MAX, _BESIDES_CHARS = 5, 200
_HEAD_BYTES = 80
#: What `repr` may make of one.
_CHARS_PER_BYTE: Final = 4
#: As in payload.py: a body that has both begins with the name of the script.
_CLASS, _MAIN = b"\x93", b"main__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A stored call or result, as text. Nothing in it can command a terminal."""

    #: `pickle`, `json`, `http` for a request that is delivered as it is, or why it is none of them.
    codec: str
    #: The positional arguments, and those with names. Both are empty if it is no call.
    args: tuple[str, ...] = ()
    kwargs: tuple[tuple[str, str], ...] = ()
    #: What travels with the task, by name.
    carried: tuple[tuple[str, str], ...] = ()
    #: All of it, if it is no call.
    value: str | None = None
    #: Whether the call is kept beside the task, and this only fetches it.
    elsewhere: bool = False
    #: What restoring it would look up in modules.
    imports: tuple[str, ...] = ()
    #: What restoring it would make and throw away.
    besides: tuple[str, ...] = ()
    #: What is wrong, and how far it could be read.
    problems: tuple[str, ...] = ()
    #: Whether something was left out for its length.
    cut: bool = False
    #: How many steps it took to read.
    steps: int = 0

    def call(self, target: str) -> str:
        """`send_mail(17, user='ann')`; what it holds, if it is no call."""
        if self.value is not None:
            return self.value
        return f"{name_of(target)}({', '.join([*self.args, *(f'{key}={value}' for key, value in self.kwargs)])})"


def name_of(target: str) -> str:
    """How a call of `target` begins: without its module, and so that it can be printed."""
    own = target if target.startswith("@") else target.partition(":")[2] or target
    return plain(own if len(own) <= _NAME_SHOWN_MAX else own[:_NAME_SHOWN_MAX] + MORE)


def show_call(envelope: bytes | None, limits: Limits = BRIEF) -> Shown:
    """The arguments in a stored envelope, signed or not.

    Nothing is imported, called or restored, and nothing is raised, whatever these bytes are. It takes a bounded number
    of steps and some megabytes at most.
    """
    return _show(envelope, limits, as_call=True)


def show_result(envelope: bytes | None, limits: Limits = BRIEF) -> Shown:
    """What a task returned, like `show_call`; it stands in `value`."""
    return _show(envelope, limits, as_call=False)


def _show(envelope: bytes | None, limits: Limits, *, as_call: bool) -> Shown:
    if envelope is None:
        return Shown(codec="missing", value="", problems=("there is no payload",))
    wrong = _not_ours(envelope)
    if wrong:
        return Shown(codec="unknown", value=_head(envelope, 0), problems=(wrong,), cut=len(envelope) > _HEAD_BYTES)
    return show_body(envelope, _BODY_AT, envelope[3], limits, as_call=as_call)


def show_body(data: bytes, start: int, codec: int, limits: Limits = BRIEF, *, as_call: bool = True) -> Shown:
    """What stands in `data` from `start` on, in a codec of `signing.py`."""
    if codec == PICKLE:
        reading = _read_pickles(data, start, limits.items)
        return _printed("pickle", data, reading, limits, as_call)
    if codec == TRIPLE:
        return _printed_triple(data, start, limits)
    if codec == JSON:
        return _printed("json", data, _with_rest(read_json(data, start, limits.items), data), limits, as_call)
    if codec == HTTP:
        return _shown_request(data, start, limits)
    problem = f"the codec {codec:#04x} is not known here"
    return Shown(codec="unknown", value=_head(data, start), problems=(problem,), cut=len(data) > start + _HEAD_BYTES)


# ---- reading


def _not_ours(envelope: bytes) -> str:
    if len(envelope) < _BODY_AT or envelope[:2] != _MAGIC:
        return f"these {len(envelope):,} bytes are not an envelope of deferq, or end early"
    if envelope[2] != VERSION:
        return f"the envelope has version {envelope[2]}, and this deferq reads version {VERSION}"
    return ""


def _head(data: bytes, start: int, most: int = _HEAD_BYTES) -> str:
    text = repr(data[start : start + most])
    return text if len(data) <= start + most else f"{text}{MORE} ({len(data) - start:,} bytes in all)"


def _shown_request(data: bytes, start: int, limits: Limits) -> Shown:
    """The method, and as much of the body as fits: whose bytes they are, nobody here knows."""
    line = data.find(b"\n", start, start + _HEAD_BYTES)
    method = data[start:line].decode("ascii", "replace") if line >= 0 else ""
    if method not in METHODS:
        return Shown(codec="http", value=_head(data, start), problems=("it holds no request",))
    most = limits.chars // _CHARS_PER_BYTE
    body = _head(data, line + 1, most) if len(data) > line + 1 else "without a body"
    return Shown(codec="http", value=f"{method} {body}", cut=len(data) > line + 1 + most, steps=1)


def _read_pickles(data: bytes, start: int, keep: int) -> Reading:
    """The call; before it the name of the script that deferred it may stand."""
    first = read_pickle(data, start, keep)
    more = first.whole and isinstance(first.value, Span) and first.end < len(data)
    if not more or data.find(_CLASS, start) < 0 or data.find(_MAIN, start) < 0:
        return _with_rest(first, data)
    second = read_pickle(data, first.end, keep, text_of(data, first.value))
    return _with_rest(second._replace(steps=first.steps + second.steps), data)


def _with_rest(reading: Reading, data: bytes) -> Reading:
    left = len(data) - reading.end
    if not left or not reading.whole:
        return reading
    return reading._replace(problems=(*reading.problems, f"{left:,} bytes after its end are not read"))


# ---- printing


def _printed(codec: str, data: bytes, reading: Reading, limits: Limits, as_call: bool) -> Shown:
    call = call_in(reading.value) if as_call else None
    return _shown(codec, data, reading, limits, call, as_call)


def _printed_triple(data: bytes, start: int, limits: Limits) -> Shown:
    reading, before = read_triple(data, start, limits.items)
    triple = triple_in(reading.value)
    call = None if triple is None else triple.call(before)
    shown = _shown("pickle", data, _with_rest(reading, data), limits, call, True)
    return replace(shown, elsewhere=triple is not None and triple.fetched)


def _shown(codec: str, data: bytes, reading: Reading, limits: Limits, call: Call | None, as_call: bool) -> Shown:
    printer = Printer(data, limits, tags=codec == "json")
    problems = reading.problems
    if not reading.whole and not reading.steps:
        shown = Shown(codec=codec, value=_head(data, reading.end))
    elif call is not None:
        args, kwargs, carried = print_call(printer, call)
        shown = Shown(codec=codec, args=args, kwargs=kwargs, carried=carried)
    else:
        shown = Shown(codec=codec, value=printer.text(reading.value, limits.chars))
        problems += ("it holds no arguments of a call",) if as_call and reading.whole else ()
    besides = _besides(printer, reading.dropped)
    imports = tuple(_fitting(reading.imports, limits.chars // _IMPORTS_SHARE))
    return replace(
        shown, imports=imports, besides=besides, problems=problems, cut=printer.cut or reading.lost, steps=reading.steps
    )


def _besides(printer: Printer, dropped: Iterable[Made]) -> tuple[str, ...]:
    """What was thrown away and is nowhere else; what a tuple that holds itself leaves behind is."""
    unseen = [node for node in dropped if id(node) not in printer.seen]
    texts = [printer.text(node, _BESIDES_CHARS) for node in unseen[:_BESIDES_MAX]]
    return (*texts, *([f"{MORE} and more"] if len(unseen) > _BESIDES_MAX else []))


def _fitting(texts: Iterable[str], chars: int) -> Iterator[str]:
    for text in texts:
        chars -= len(text) + 2
        if chars < 0:
            yield MORE
            return
        yield text
