"""The vocabulary of deferq and its rules: pure values, no clock, no randomness, no I/O."""
