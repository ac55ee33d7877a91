"""What every leasing engine does alike. A new engine joins by one line in `conftest.py`."""
