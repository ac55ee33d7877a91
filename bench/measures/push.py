"""One dispatcher process pushes no-ops to a local web server, beside a bare client that sends it the same requests."""

from __future__ import annotations

from pathlib import Path

from bench.compare import Bench, Case, Figure, Row, Values
from bench.measures.drain import drain
from bench.pushing import CONCURRENCY, SERVERS, BareClient, Pushed, bare_rate
from bench.system import opened

FIGURES = {server: Figure(title=f"push of no-ops to {server}", unit="/s") for server in SERVERS}
TURNS = 2


def run(bench: Bench) -> list[Row]:
    """Rows for each server."""
    return [row for server in SERVERS for row in _rows(bench, server)]


def _rows(bench: Bench, server: str) -> list[Row]:
    ours, threads = Pushed(server, "aiohttp", "ours"), Pushed(server, "threads", "variant")
    return bench.side_by_side([_bare(bench, server), _pushed(bench, server, ours), _pushed(bench, server, threads)])


def _bare(bench: Bench, server: str) -> Case:
    count, figure = bench.size(10_000, 1_000), FIGURES[server]

    def once(folder: Path) -> Values:
        return {figure: bare_rate(server, folder, count)}

    note = f"the same requests, prepared, {CONCURRENCY} at a time; mean of {TURNS} times {count:,}"
    return Case(candidate=BareClient(), figures=(figure,), once=once, note=note, turns=TURNS)


def _pushed(bench: Bench, server: str, pushed: Pushed) -> Case:
    count, figure = bench.size(10_000, 1_000), FIGURES[server]

    def once(folder: Path) -> Values:
        with opened(pushed, folder) as store:
            return {figure: drain(store, folder, count)}

    note = f"{CONCURRENCY} at a time; mean of {TURNS} drains of {count:,}"
    return Case(candidate=pushed, figures=(figure,), once=once, label=pushed.threads, note=note, turns=TURNS)
