"""What any bytes may do: each `targets_*.py` holds functions that take bytes and raise only if it is wrong."""
