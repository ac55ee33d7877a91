"""Where tasks live. `base` is the port; each engine behind it has a room of its own."""
