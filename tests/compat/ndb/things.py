"""What is deferred by a test in one environment, and run in another."""

from __future__ import annotations


def double(number: int = 1) -> int:
    return 2 * number


class Thing:
    """Compares by what it is."""

    def __init__(self, number: int = 7) -> None:
        self.number = number

    def __call__(self, more: int = 0) -> int:
        return self.number + more

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and other.number == self.number

    def __hash__(self) -> int:
        return self.number

    def method(self, more: int = 0) -> int:
        return self.number + more

    @classmethod
    def named(cls) -> str:
        return cls.__name__

    @staticmethod
    def fixed(number: int) -> int:
        return number


#: A callable and its arguments, of every kind that can be deferred.
WHOLE = {
    "function": (double, (3,)),
    "method": (Thing(7).method, (1,)),
    "class method": (Thing.named, ()),
    "static method": (Thing.fixed, (5,)),
    "class": (Thing, (3,)),
    "instance": (Thing(7), (1,)),
    "built-in": (len, ("abc",)),
    "method of a full list": ([1, 2].count, (1,)),
    "method of an empty list": ([].count, (1,)),
    "method of a text": ("a-b".split, ("-",)),
}
