"""One measure a file; each has a `run(bench)` that returns rows. `bench.__main__` knows their names and order."""
