"""What a bare aiohttp client reaches: python -m bench.bareclient URL BASE COUNT CONCURRENCY

It sends what `deferq push` sends, to the same handler: tasks that it has leased and signed beforehand. It settles none.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

import aiohttp
from yarl import URL

from bench import tasks
from bench.ours import connect
from deferq.codec.headers import signed_headers
from deferq.codec.wire import RUN_PATH
from deferq.engines.base import Want, new_lease_id

Delivery = tuple[list[tuple[str, str]], bytes]
LEASE_US = 600_000_000


def prepared(url: str, count: int) -> list[Delivery]:
    """So many deliveries."""
    with connect(url) as deferq:
        deferq.defer_many(deferq.call(tasks.noop) for _ in range(count))
        leased = deferq.engine.turn(
            (), Want(free=count, ahead=0, lease_id=new_lease_id(1, 1), lease_us=LEASE_US)
        ).leased
        keyring, now_s = deferq.codec.keyring, time.time()
        return [(signed_headers(keyring, task, path=RUN_PATH, now_s=now_s), task.payload) for task in leased]


async def send(base: str, deliveries: Iterator[Delivery], concurrency: int) -> None:
    """Send them all, so many at a time."""
    url = URL(base + RUN_PATH)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def lane() -> None:
            for headers, body in deliveries:
                async with session.post(url, data=body, headers=headers) as response:
                    await response.read()
                    if response.status != 200:
                        raise RuntimeError(f"the handler answers {response.status}")

        await asyncio.gather(*(lane() for _ in range(concurrency)))


def main(url: str, base: str, count: str, concurrency: str) -> None:
    """Print how many a second."""
    deliveries = prepared(url, int(count))
    begun_s = time.perf_counter()
    asyncio.run(send(base, iter(deliveries), int(concurrency)))
    print(len(deliveries) / (time.perf_counter() - begun_s))


if __name__ == "__main__":
    main(*sys.argv[1:])
