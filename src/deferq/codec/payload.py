"""Arguments and results as bytes: pickle, protocol 5.

    body = pickle of (args, kwargs), or of (args, kwargs, extras) when something else is carried along

A body that mentions `__main__` starts with one more pickle, of the name under which a worker can import that module:
it has to be known before the first class is looked up. Nothing here checks a signature; `Codec` does that first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pickle import Unpickler, dumps, loads
from typing import Any

from deferq.codec.faults import Roots, explain_unrestorable, explain_unstorable
from deferq.codec.mainmodule import MAIN_NAMES, main_name, spellings
from deferq.errors import NotSerializable, PayloadCorrupt, TargetUnknown

PROTOCOL = 5
#: Larger bodies are not restored on trial at the call: it would take too long.
TRIAL_BYTES_MAX = 64 * 1024
#: The opcode STACK_GLOBAL: without it a body holds only plain data, which always can be restored.
_CLASS = b"\x93"
#: In both names of a running script, see MAIN_NAMES.
_MAIN = b"main__"

Extras = dict[str, Any]


def encode_call(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], context: Mapping[str, Any] | None = None, *, bound: int = 0
) -> bytes:
    """The stored form of the arguments.

    Args:
        args: positional arguments; the first `bound` of them come with the callable, not from the caller.
        kwargs: keyword arguments.
        context: values carried along, by name.
        bound: see args; only error messages need it.

    Raises NotSerializable, naming the path to the value that cannot be stored or could not be restored.
    """
    call = (args, kwargs) if context is None else (args, kwargs, {"context": context})
    return _stored(call, lambda: _roots(args, kwargs, context, bound))


def decode_call(body: bytes) -> tuple[tuple[Any, ...], dict[str, Any], Extras]:
    """The arguments, and what else was carried.

    Raises:
        TargetUnknown: a class in it is not known to this process.
        PayloadCorrupt: it cannot be restored, or is no call.
    """
    call = _load(body)
    if type(call) is tuple and 2 <= len(call) <= 3:
        args, kwargs, extras = call if len(call) == 3 else (*call, {})
        if type(args) is tuple and type(kwargs) is dict and type(extras) is dict:
            return args, kwargs, extras
    raise PayloadCorrupt("The payload holds no arguments of a call; it will not be run.")


def encode_result(value: Any) -> bytes:
    """The stored form of what a task returned; raises NotSerializable."""
    return _stored(value, lambda: [("result", value)])


def decode_result(body: bytes) -> Any:
    """What the task returned; raises like `decode_call`."""
    return _load(body)


def _roots(args: tuple[Any, ...], kwargs: Mapping[str, Any], context: Mapping[str, Any] | None, bound: int) -> Roots:
    """Every argument with the name its owner knows it by."""
    return [
        *((f"bound[{index}]", value) for index, value in enumerate(args[:bound])),
        *((f"args[{index}]", value) for index, value in enumerate(args[bound:])),
        *((f"kwargs[{name!r}]", value) for name, value in kwargs.items()),
        *((f"carry[{name!r}]", value) for name, value in (context or {}).items()),
    ]


def _stored(value: Any, roots: Callable[[], Roots]) -> bytes:
    """The pickle. With classes in it, it is restored once: some objects pickle well and never come back."""
    try:
        body = dumps(value, PROTOCOL)
    except Exception as error:
        raise explain_unstorable(roots(), error) from error
    if _CLASS not in body:
        return body
    try:
        if len(body) < TRIAL_BYTES_MAX:
            loads(body)
    except (Exception, SystemExit) as error:
        raise explain_unrestorable(roots(), error) from error
    return _with_name_of_main(body) if _MAIN in body else body


def _with_name_of_main(body: bytes) -> bytes:
    name = main_name()
    if name is not None:
        return dumps(name, PROTOCOL) + body
    classes = _ClassNames(BytesIO(body))
    classes.load()
    if classes.in_main:
        raise NotSerializable(
            f"An argument has the class {classes.in_main}, which is defined in an interactive session or in a script"
            " that no worker can import; define it in a module.",
            type_name=classes.in_main,
        )
    return body


class _ClassNames(Unpickler):
    """Notes a class of `__main__` while it loads. Only what is typed in a shell comes this way."""

    in_main = ""

    def find_class(self, module: str, name: str) -> Any:
        if module in MAIN_NAMES:
            self.in_main = name
        return super().find_class(module, name)


def _load(body: bytes) -> Any:
    try:
        return _restored(body) if _CLASS in body else loads(body)
    except (KeyboardInterrupt, TargetUnknown):
        raise
    except BaseException as error:
        raise PayloadCorrupt(
            f"The payload cannot be restored ({type(error).__name__}); it will not be run. Has a class in it"
            " changed since it was stored? Then defer the task anew."
        ) from error


def _restored(body: bytes) -> Any:
    """Load a body with classes in it."""
    stream = BytesIO(body)
    first = Restorer(stream).load()
    if _MAIN not in body or stream.tell() == len(body):
        return first
    restorer = Restorer(stream)
    restorer.main = first
    return restorer.load()


class Restorer(Unpickler):
    """Finds the classes of a script under the script's own name, and tells a missing class from broken data."""

    main: str | None = None

    def find_class(self, module: str, name: str) -> Any:
        """The class or function; raises TargetUnknown if this process has none of that name."""
        if self.main is not None and module in MAIN_NAMES:
            module = self.main
        cause: BaseException | None = None
        for spelling in spellings(module):
            try:
                return super().find_class(spelling, name)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit too, from the module's own code
                cause = error
        raise TargetUnknown(
            f"{module}.{name} is not known in this process ({type(cause).__name__}). A release that has it can read"
            " the task."
        ) from cause
