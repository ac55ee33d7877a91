"""Ten thousand tasks in one transaction: all of them are stored, or none.

cd examples
deferq dev bulk.py       # terminal 1: runs tasks
python bulk.py           # terminal 2
"""

import time

from deferq import TaskHandle, call, defer_many

PICTURES = 10_000


def resize(picture: int) -> int:
    return picture * 2


def defer_all(pictures: int = PICTURES) -> list[TaskHandle]:
    return defer_many(call(resize, picture) for picture in range(pictures))


if __name__ == "__main__":
    began = time.monotonic()
    handles = defer_all()
    print(f"{len(handles):,} tasks stored in {time.monotonic() - began:.2f} s")
    for handle in handles:
        handle.wait(timeout=60)
    print(f"and run after {time.monotonic() - began:.2f} s")
