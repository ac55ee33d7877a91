"""Parameters and headers, as they are given and as they travel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode


class CaselessHeaders:
    """Headers by their names in any case. One that is set again takes the new spelling, and goes to the end."""

    def __init__(self, headers: Any) -> None:
        """`headers` is a mapping, or pairs."""
        self._spelled: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        former = self._spelled.get(name.lower())
        if former is not None:
            del self._values[former]
        self._spelled[name.lower()] = name
        self._values[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._values[self._spelled[name.lower()]]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._spelled

    def setdefault(self, name: str, value: Any) -> None:
        """Set a header that is not there."""
        if name not in self:
            self[name] = value

    def copy(self) -> dict[str, Any]:
        """A plain dict of them."""
        return dict(self._values)

    def flattened(self) -> list[tuple[bytes, bytes]]:
        """Pairs, one for each value."""
        return flattened(self._values)


def flattened(params: Mapping[Any, Any]) -> list[tuple[bytes, bytes]]:
    """Names and values as bytes in UTF-8; a value that can be iterated over, and is no text, gives a pair for each."""
    return [(_bytes(name), _bytes(one)) for name, value in params.items() for one in _each(value)]


def encoded(params: Mapping[Any, Any]) -> str:
    """`params` as a query, or as the body of a form."""
    return urlencode(flattened(params))


def _each(value: Any) -> Iterable[Any]:
    if isinstance(value, str | bytes):
        return (value,)
    return value if isinstance(value, Iterable) else (value,)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
