"""What a worker prints and logs is seen at once."""

from __future__ import annotations

import io
import logging
import sys


def show_output_at_once() -> None:
    """What a task prints is seen when it prints it, also through a pipe."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def log_to_stderr() -> None:
    """Unless the application has set its logging up."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
