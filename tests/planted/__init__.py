"""Bugs as colleagues make them, planted in a copy of the package: the simulator must notice each of them."""
