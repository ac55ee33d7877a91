"""Kill storms: real workers, children and producers on a real file, and what must hold afterwards.

- `ledger.py`: what tasks and producers say they did; deferq has no part in it
- `storm_tasks.py`, `producer.py`: what runs
- `processes.py`, `crowd.py`, `storm.py`: who runs it, who replaces the dead, and who kills, freezes and stops them
- `aftermath.py`, `checks.py`: what is left, and which promises it would break

A storm that fails prints its seed: `DEFERQ_STORM_SEED=... pytest tests/storm/test_storm.py`. Blows come in the same
order then, but processes are as fast as they are: a seed narrows a failure down, and repeats it with some luck.
"""
