"""Strict JSON: what is stored comes back equal and of the same type, or is refused when it is deferred."""
