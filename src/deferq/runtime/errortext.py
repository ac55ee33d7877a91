"""An exception as text that can be stored, whatever the exception is.

Exceptions come from user code: their `__str__` may raise, their message may be 100 MB, their chain 10,000 links long,
their traceback a thousand frames deep. Describing one must neither fail nor take long, so everything is bounded before
it is formatted.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType

from deferq.model.outcome import ErrorText

KIND_BYTES_MAX = 256
MESSAGE_BYTES_MAX = 4 * 1024
TRACEBACK_BYTES_MAX = 16 * 1024
LINKS_MAX = 8
FRAMES_MAX = 40
GROUP_MAX = 5
_CUT = "[... cut ...]"
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING = "\nDuring handling of the above exception, another exception occurred:\n\n"
_MORE = "[... earlier exceptions cut ...]\n\n"
_NAMELESS = "(an exception whose class has no name)"
#: How to ask a class for its name, past what its metaclass makes of such questions.
_module_of, _name_of = type.__dict__["__module__"].__get__, type.__dict__["__qualname__"].__get__


def describe(error: BaseException, skip_file: str = "") -> ErrorText:
    """The text of `error`; its traceback starts behind the leading frames of `skip_file`. Never raises."""
    try:
        kind = _kind(error)
    except BaseException:
        kind = _NAMELESS
    try:
        trace = cut_front("".join(_chain(error, skip_file)), TRACEBACK_BYTES_MAX)
    except BaseException:  # user code may be called while formatting, and may raise anything
        trace = "(its traceback could not be formatted)"
    return ErrorText(error_type=kind, message=_message(error), traceback=trace)


def cut(text: str, bytes_max: int) -> str:
    """`text` as clean UTF-8 of at most `bytes_max` bytes, the end cut off and marked."""
    text = str.__str__(text)  # a subclass may make anything of the methods that are called here
    raw = _clean(text[:bytes_max])
    if len(text) <= bytes_max and len(raw) <= bytes_max:
        return raw.decode()
    return raw[: bytes_max - len(_CUT)].decode("utf-8", "ignore") + _CUT


def cut_front(text: str, bytes_max: int) -> str:
    """Like `cut`, but the end stays: the last lines of a traceback say most."""
    raw = _clean(text[-bytes_max:])
    if len(text) <= bytes_max and len(raw) <= bytes_max:
        return raw.decode()
    return _CUT + "\n" + raw[-(bytes_max - len(_CUT) - 1) :].decode("utf-8", "ignore")


def _clean(text: str) -> bytes:
    """UTF-8 without lone surrogates and NUL, which databases refuse."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace")


def _kind(error: BaseException) -> str:
    """The class as people know it: `ValueError`, `package.module.Class`."""
    module, name = _module_of(type(error)), _name_of(type(error))
    return cut(name if module == "builtins" else f"{module!s}.{name}", KIND_BYTES_MAX)


def _message(error: BaseException) -> str:
    try:
        return cut(str(error), MESSAGE_BYTES_MAX)
    except BaseException as trouble:
        return f"(its message could not be made: {type(trouble).__name__})"


def _chain(error: BaseException, skip_file: str, links_max: int = LINKS_MAX) -> Iterator[str]:
    """The exception and what led to it, the earliest first, as Python prints them."""
    links = [(error, "")]
    while len(links) <= links_max and (link := _origin(links[-1][0])):
        links.append(link)
    if len(links) > links_max:
        links.pop()
        yield _MORE
    for link_error, joint in reversed(links):
        yield from _one(link_error, skip_file)
        yield joint


def _origin(error: BaseException) -> tuple[BaseException, str] | None:
    """The exception that `error` came from, and the line that Python prints after it."""
    if error.__cause__ is not None:
        return error.__cause__, _CAUSED
    if error.__context__ is not None and not error.__suppress_context__:
        return error.__context__, _DURING
    return None


def _one(error: BaseException, skip_file: str) -> Iterator[str]:
    frames = _user_frames(error.__traceback__, skip_file)
    if frames is not None:
        yield "Traceback (most recent call last):\n"
        yield from _frames(frames)
    yield f"{_kind(error)}: {_message(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        yield from _members(error, skip_file)


def _members(group: BaseExceptionGroup[BaseException], skip_file: str) -> Iterator[str]:
    for number, member in enumerate(group.exceptions[:GROUP_MAX], 1):
        yield f"---- {number} of {len(group.exceptions)} ----\n"
        if isinstance(member, BaseExceptionGroup):
            yield f"{_kind(member)}: {_message(member)}\n"
        else:
            yield from _chain(member, skip_file, links_max=1)


def _user_frames(trace: TracebackType | None, skip_file: str) -> TracebackType | None:
    """The traceback without our own frames at its start."""
    while trace is not None and trace.tb_frame.f_code.co_filename == skip_file:
        trace = trace.tb_next
    return trace


def _frames(trace: TracebackType) -> list[str]:
    """The last frames, at most FRAMES_MAX: the end is where it happened."""
    frames = traceback.StackSummary.extract(traceback.walk_tb(trace), limit=-FRAMES_MAX)
    return traceback.format_list(frames)
