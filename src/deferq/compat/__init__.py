"""The interfaces of the systems that deferq replaces, for code that was written for them."""
