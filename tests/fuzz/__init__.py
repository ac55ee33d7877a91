"""What any bytes may do: each `targets_*.py` holds functions that take bytes and raise only if it is wrong.

    python -m tests.fuzz [--target NAME] [--seconds S] [--executions N]

`catalogue.py` lists them, `one.py` is a process that runs one, `campaign.py` runs many, `guard.py` watches what a
target does beside raising. `findings/` holds inputs that were wrong once.
"""
