"""The peers, as the measures ask for them."""

from __future__ import annotations

from bench.compare import Bench
from bench.peers.dramatiq_redis import Dramatiq
from bench.peers.huey_redis import HueyRedis
from bench.peers.huey_sqlite import HueySqlite
from bench.peers.rq_redis import Rq
from bench.system import System


def peers(bench: Bench) -> list[System]:
    """Every peer, installed or not."""
    return [HueySqlite(), HueyRedis(bench.server), Dramatiq(bench.server), Rq(bench.server)]
