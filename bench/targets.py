"""What deferq has set itself to reach."""

from __future__ import annotations

from collections.abc import Sequence

from bench.compare import Figure, Row
from bench.judging import Target, Value, Verdict, against, ours, variant
from bench.measures import (
    beside,
    bulk,
    crowd,
    deaths,
    defer,
    drain,
    http,
    idle,
    lock,
    mixed,
    pickup,
    push,
    start,
    threads,
)

#: How the systems call themselves.
TWO = "2 children"
FULL, NORMAL = "synchronous=FULL", "synchronous=NORMAL"
MIB_PER_50_MB = 50e6 / 2**20
#: Of these, push has to reach one: so many a second, or such a part of what a bare client reaches.
PUSHED_PER_S, PUSHED_SHARE = 3_000, 0.8


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """Every target that the run has measured."""
    return [verdict for target in TARGETS if (verdict := target.judge(rows)) is not None]


def _pushed(figure: Figure) -> Value:
    """How far it is beyond the nearer of its two targets."""

    def value(rows: Sequence[Row]) -> float | None:
        rate, share = ours(figure).of(rows), against(figure, "peer").of(rows)
        return None if rate is None or share is None else max(rate / PUSHED_PER_S, share / PUSHED_SHARE)

    return Value(figure, value)


TARGETS = (
    Target(
        text="defer, one caller, FULL: at least 88 % of the floor",
        value=against(defer.FULL, "floor"),
        at_least=0.88,
        form="{:.0%}",
    ),
    Target(
        text="defer, one caller, FULL: not below SqliteHuey",
        value=against(defer.FULL, "peer", "SqliteHuey"),
        at_least=1.0,
        form="{:.2f} x",
    ),
    Target(
        text="defer, one caller, NORMAL: at least 30,000/s",
        value=ours(defer.NORMAL),
        at_least=30_000,
    ),
    Target(
        text="defer, 8 threads, FULL: at least 15,000/s",
        value=ours(threads.EIGHT),
        at_least=15_000,
    ),
    Target(
        text="defer, 32 threads, FULL: at least 20,000/s",
        value=ours(threads.THIRTY_TWO),
        at_least=20_000,
    ),
    Target(
        text="16 processes and 4 workers: slowest at least half the mean",
        value=ours(crowd.EVEN),
        at_least=50,
        form="{:.0f} % of the mean",
    ),
    Target(
        text="16 processes and 4 workers: worst defer at most 500 ms",
        value=ours(crowd.WORST),
        at_most=500,
        form="{:.0f} ms",
    ),
    Target(
        text="16 processes and 4 workers: no error",
        value=ours(crowd.ERRORS),
        at_most=0,
    ),
    Target(
        text="defer_many, 10,000 a call: at least 100,000/s",
        value=ours(bulk.BULK),
        at_least=100_000,
    ),
    Target(
        text="drain: at least 40 % of the bare loop",
        value=against(drain.DRAIN, "floor"),
        at_least=0.4,
        form="{:.0%}",
    ),
    Target(
        text="drain: at least 6 times SqliteHuey",
        value=against(drain.DRAIN, "peer", "SqliteHuey"),
        at_least=6.0,
        form="{:.1f} x",
    ),
    Target(
        text="drain: at least 6 times RedisHuey",
        value=against(drain.DRAIN, "peer", "RedisHuey"),
        at_least=6.0,
        form="{:.1f} x",
    ),
    Target(
        text="drain, 2 children: at least 0.9 times one",
        value=variant(drain.DRAIN, TWO),
        at_least=0.9,
        form="{:.2f} x",
    ),
    Target(
        text="drain, tasks of 1 ms CPU, 2 children: at least 1.7 times one",
        value=variant(drain.BUSY, TWO),
        at_least=1.7,
        form="{:.2f} x",
    ),
    Target(
        text="drain beside 1,000,000 future tasks: at least 90 % of the rate beside none",
        value=against(beside.FUTURE, "floor"),
        at_least=0.9,
        form="{:.0%}",
    ),
    Target(
        text="drain beside 1,000,000 finished tasks: at least 90 % of the rate beside none",
        value=against(beside.FINISHED, "floor"),
        at_least=0.9,
        form="{:.0%}",
    ),
    Target(
        text="write lock held, tasks of 1 ms CPU: median at most 10 ms",
        value=ours(lock.P50),
        at_most=10,
        form="{:.1f} ms",
    ),
    Target(
        text="deferring and draining at once: at least 50 % of a plain drain",
        value=ours(mixed.SHARE),
        at_least=50,
        form="{:.0f} %",
    ),
    Target(
        text="deferring and draining at once: files after 60 s at most 125 % of those after 20 s",
        value=ours(mixed.GROWTH),
        at_most=125,
        form="{:.0f} %",
    ),
    Target(
        text="deferring and draining at once: log never above 70 MB",
        value=ours(mixed.LOG),
        at_most=70,
        form="{:.0f} MB",
    ),
    Target(
        text="pick-up p50, FULL: at most 1.0 ms",
        value=ours(pickup.P50, FULL),
        at_most=1.0,
        form="{:.2f} ms",
    ),
    Target(
        text="pick-up p50, NORMAL: at most 0.6 ms",
        value=ours(pickup.P50, NORMAL),
        at_most=0.6,
        form="{:.2f} ms",
    ),
    Target(
        text="pick-up p99, FULL: at most 4 ms",
        value=ours(pickup.P99, FULL),
        at_most=4.0,
        form="{:.2f} ms",
    ),
    Target(
        text="pick-up p99, NORMAL: at most 2 ms",
        value=ours(pickup.P99, NORMAL),
        at_most=2.0,
        form="{:.2f} ms",
    ),
    Target(
        text="idle worker: at most 50 ms CPU in 30 s",
        value=ours(idle.CPU),
        at_most=50,
        form="{:.0f} ms",
    ),
    Target(
        text="idle worker: at most 50 MB (47.7 MiB)",
        value=ours(idle.MEMORY),
        at_most=MIB_PER_50_MB,
        form="{:.1f} MiB",
    ),
    Target(
        text="SIGKILL of a child: its task runs again in under 1 s",
        value=ours(deaths.CHILD),
        at_most=1.0,
        form="{:.2f} s",
    ),
    Target(
        text="SIGKILL of a tree beside another worker: its task runs again in under 3 s",
        value=ours(deaths.TREE),
        at_most=3.0,
        form="{:.2f} s",
    ),
    Target(
        text="SIGTERM: what has not started is released in under 1 s",
        value=ours(deaths.STOP),
        at_most=1.0,
        form="{:.2f} s",
    ),
    Target(
        text="handler: a delivery over WSGI costs under 150 us",
        value=ours(http.WSGI),
        at_most=150,
        form="{:.0f} us",
    ),
    Target(text="handler: 1 MiB of junk is refused in under 5 ms", value=ours(http.JUNK), at_most=5, form="{:.1f} ms"),
    Target(
        text="handler: refusing it takes under 16 MB (15.3 MiB) more memory",
        value=ours(http.JUNK_MEMORY),
        at_most=16e6 / 2**20,
        form="{:.1f} MiB",
    ),
    *(
        Target(
            text=f"push to {server}: 3,000/s, or 80 % of a bare aiohttp client",
            value=_pushed(figure),
            at_least=1.0,
            form="{:.2f} x the nearer one",
        )
        for server, figure in push.FIGURES.items()
    ),
    Target(text="deferq --help: under 150 ms", value=ours(start.HELP), at_most=150, form="{:.0f} ms"),
    Target(text="import deferq: under 60 ms", value=ours(start.IMPORT), at_most=60, form="{:.0f} ms"),
)
