"""Tests count in a file of their own. Set before anything of the application is imported."""

import os
import tempfile

os.environ["DEFERQ_URL"] = f"sqlite:///{tempfile.mkdtemp(prefix='counter-')}/counter.db"
