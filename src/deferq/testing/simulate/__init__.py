"""A seeded simulation of workers that share an engine, in one thread, in which everything that can go wrong does.

The real dispatcher runs on a real engine; time, chance, faults and what tasks do come from one seed. What happens is
written down, and each entry is checked against those before it. So a bug shows itself as a seed, and the same seed
shows it again.

An author of another engine runs it on theirs:

    from deferq.testing.simulate import simulate

    report = simulate(lambda clock: MyEngine(clock=clock), seeds=range(1000))

or by `python -m deferq.testing.simulate --engine my.module:make_engine --seeds 1000`.
"""

from deferq.testing.simulate.broken import Broken
from deferq.testing.simulate.clock import SimulatedClock
from deferq.testing.simulate.running import Report, simulate
from deferq.testing.simulate.stores import MakeEngine

__all__ = ["Broken", "MakeEngine", "Report", "SimulatedClock", "simulate"]
