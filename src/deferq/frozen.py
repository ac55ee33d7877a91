"""What frozen dataclasses are, without the 10 ms that importing `dataclasses` takes.

For the few classes that `import deferq` needs; every other file uses dataclasses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

if TYPE_CHECKING:
    from dataclasses import Field


class _DataclassFields:
    """Made when somebody asks, so that `dataclasses.replace`, `fields` and `asdict` take a Frozen like their own."""

    def __get__(self, instance: object, owner: type[Frozen]) -> dict[str, Field[Any]]:
        from dataclasses import make_dataclass

        fields: dict[str, Field[Any]] = vars(make_dataclass(owner.__name__, owner.__slots__))["__dataclass_fields__"]
        return fields


class Frozen:
    """A value: it never changes, and equals another of its class with the same fields.

    A subclass names its fields in `__slots__`, in the order of its `repr`, and fills them once in its `__init__`.
    """

    __slots__: tuple[str, ...] = ()
    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    else:
        __dataclass_fields__ = _DataclassFields()

    def _fill(self, **fields: Any) -> None:
        """Give every field its value."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    def __repr__(self) -> str:
        fields = ", ".join([f"{name}={getattr(self, name)!r}" for name in self.__slots__])
        return f"{type(self).__qualname__}({fields})"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Frozen) or type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __replace__(self, **changes: Any) -> Self:  # copy.replace, from Python 3.13 on
        return type(self)(**{**dict(zip(self.__slots__, self._values(), strict=True)), **changes})

    def __getstate__(self) -> tuple[Any, ...]:
        return self._values()

    def __setstate__(self, values: tuple[Any, ...]) -> None:
        self._fill(**dict(zip(self.__slots__, values, strict=True)))
