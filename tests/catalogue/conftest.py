"""The same engines as in the conformance suite."""

from tests.conformance.conftest import engine, make_engine, put

__all__ = ["engine", "make_engine", "put"]
