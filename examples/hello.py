"""The smallest program: a function is called later, by another process.

cd examples
deferq dev hello.py      # terminal 1: runs tasks, and starts anew when the file changes
python hello.py          # terminal 2: terminal 1 prints "hello world"
"""

from deferq import defer


def hello(name: str) -> None:
    print("hello", name)


if __name__ == "__main__":
    defer(hello, "world")
