"""deferq measured beside its peers and beside the floor: `python -m bench`."""
