"""Strict JSON: what goes in comes out, or is refused."""
