"""Applications, and the servers that run them in tests."""
