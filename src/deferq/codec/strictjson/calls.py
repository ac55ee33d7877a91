"""Calls and results as strict JSON; what `codec.payload` is for pickle.

body = [args, kwargs], or [args, kwargs, context] when something else is carried along
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deferq.codec.strictjson.reading import Reader
from deferq.codec.strictjson.writing import Writer
from deferq.errors import PayloadCorrupt, PayloadFormatError
from deferq.registry import Registry

#: The body, and the list or dict of arguments in it.
_AROUND_ARGUMENTS = 2


class StrictJson:
    """How an application stores calls and results in strict JSON."""

    def __init__(self, registry: Registry, size_max: int) -> None:
        """`registry` knows the types of the application, `size_max` is how many bytes a body may have."""
        self._registry = registry
        self._size_max = size_max

    def encode_call(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        context: Mapping[str, Any] | None = None,
        *,
        bound: int = 0,
    ) -> bytes:
        """The stored form of the arguments; the parameters are those of `payload.encode_call`.

        Raises NotSerializable, PayloadTooDeep or PayloadTooComplex, naming the argument, or PayloadTooLargeError.
        """
        return Writer(self._registry, "arguments", self._size_max).call(args, kwargs, context, bound)

    def decode_call(self, body: bytes) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
        """The arguments, and what else was carried.

        Raises:
            TargetUnknown: a type in it, or a time zone, is not known to this process.
            PayloadCorrupt: it is no strict JSON (PayloadFormatError), cannot be restored, or is no call.
        """
        call = self._read(body, _AROUND_ARGUMENTS)
        if type(call) is list and [type(part) for part in call] in ([list, dict], [list, dict, dict]):
            return tuple(call[0]), call[1], {"context": call[2]} if len(call) == 3 else {}
        raise PayloadCorrupt("The payload holds no arguments of a call; it will not be run.")

    def encode_result(self, value: Any) -> bytes:
        """The stored form of what a task returned; raises like `encode_call`."""
        return Writer(self._registry, "result", self._size_max).result(value)

    def decode_result(self, body: bytes) -> Any:
        """What the task returned; raises like `decode_call`."""
        return self._read(body, 0)

    def _read(self, body: bytes, around: int) -> Any:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise PayloadFormatError(
                f"The payload is no strict JSON: it is no UTF-8 (byte {error.start}); it will not be run.",
                offset=error.start,
            ) from None
        return Reader(text, self._registry, around=around).document()
