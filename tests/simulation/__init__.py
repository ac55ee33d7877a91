"""A world in one thread, made from one seed, in which everything that can go wrong does."""
