"""A seeded simulation of workers that share an engine, in one thread, in which everything that can go wrong does.

The real dispatcher runs on a real engine; time, chance, faults and what tasks do come from one seed. What happens is
written down, and each entry is checked against those before it. So a bug shows itself as a seed, and the same seed
shows it again.

An author of another engine runs it on theirs:

    from deferq.testing.simulate import simulate

    report = simulate(lambda clock: MyEngine(clock=clock), seeds=range(1000))

or by `python -m deferq.testing.simulate --engine my.module:make_engine --seeds 1000`. `explore(Scope(crashes=1))`
leaves nothing to chance: it tries all interleavings of two workers and one task.

What is checked, from an append-only history:
    I1 no loss: what was accepted ends in one way or is still there; what is missing was kept as long as it had to be.
    I2 ambiguous accept: a put that ended in an error is no task or one; put again, it is one.
    I3 lease exclusion: no two holders, each judged by the deadline it believes in itself.
    I4 the fence: a stale lease changes nothing. Whoever holds a lease is not told that it is lost.
    I5, I6 starts: no more than the attempts allowed, crashes included; a single one where only one is allowed.
    I7 names: one task at a time has a name, and none while its tombstone stands.
    I9, I10 limits: rate and places of a queue, over all workers, whatever happens to them and to the clock.
    I14 liveness: after the last fault everything ends within backlog / throughput + lease + 2 polls.
    I15 bounds: a store that is out of reach is asked a few times a second; nobody runs in circles.
There is nothing to check yet for I8 (transactional completion), I11 (strict order per key), I12 (schedules) and I13
(iteration): deferq has no such feature.
"""

from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.clock import SimulatedClock
from deferq.testing.simulate.exhaustive import Explored, explore
from deferq.testing.simulate.running import Report, simulate
from deferq.testing.simulate.scope import Scope
from deferq.testing.simulate.stores import MakeEngine

__all__ = ["Broken", "Explored", "MakeEngine", "Report", "Scope", "SimulatedClock", "explore", "simulate"]
