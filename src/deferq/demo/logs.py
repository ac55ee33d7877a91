"""The log of the demo: deferq writes to it whatever goes wrong, and what is meant to go wrong is left out."""

from __future__ import annotations

import logging

from deferq.demo.tasks import ON_PURPOSE

LOGGER = logging.getLogger("deferq")


def is_unexpected(record: logging.LogRecord) -> bool:
    """A filter: whether the record is about anything but a failure on purpose."""
    return not record.getMessage().endswith(ON_PURPOSE)
