"""Defers tasks of all kinds until it is killed: `producer.py URL SEED PER_SECOND AT_FIRST`.

The ledger says what it is about to defer, and then what deferq has answered. What has a name is deferred again.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import storm_tasks as tasks
from ledger import note

from deferq import Call, Deferq, StoreError

#: One time in so many it defers several tasks in one transaction.
BULK_EVERY, BULK = 20, 15


def main(url: str, seed: str, per_second: str, at_first: str) -> None:
    deferq, chance = Deferq(url), random.Random(seed)
    deferq.engine.counts()
    print("ready", flush=True)
    number, bulk = 0, int(at_first) or 1
    while True:
        defer([f"{seed}-{number + each}" for each in range(bulk)], deferq, chance)
        number += bulk
        time.sleep(chance.expovariate(float(per_second) / bulk))
        bulk = BULK if chance.randrange(BULK_EVERY) == 0 else 1


def defer(tokens: list[str], deferq: Deferq, chance: random.Random) -> None:
    calls = [tasks.any_call(deferq, token, chance) for token in tokens]
    for token, call in zip(tokens, calls, strict=True):
        note("named" if has_name(call) else "intend", token)
    try:
        handles = deferq.defer_many(calls) if len(calls) > 1 else [calls[0].defer()]
        for token, handle in zip(tokens, handles, strict=True):
            note("accepted", token, handle.id)
        if len(calls) == 1 and has_name(calls[0]):
            note("again", tokens[0], calls[0].defer(if_exists="return").id)
    except StoreError:  # somebody was stopped who had the write lock
        for token in tokens:
            note("refused", token)


def has_name(call: Call[Any]) -> bool:
    return bool((call.options or {}).get("name"))


if __name__ == "__main__":
    main(*sys.argv[1:])
