"""App Engine's queue.yaml: from the file to declared queues."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deferq.errors import ConfigError

if TYPE_CHECKING:
    from deferq.compat.appengine.queueyaml.reading import QueueYaml


def read(path: str | os.PathLike[str]) -> QueueYaml:
    """Read a queue.yaml.

    Raises QueueYamlError, which tells all that is wrong with it, and ConfigError if PyYAML is not installed.
    """
    with _pyyaml():
        from deferq.compat.appengine.queueyaml.reading import read as read_file
    return read_file(path)


def parse(data: bytes, name: str = "queue.yaml") -> QueueYaml:
    """What the bytes of a queue.yaml say; errors call it `name`. Raises what `read` raises."""
    with _pyyaml():
        from deferq.compat.appengine.queueyaml.reading import parse as parse_bytes
    return parse_bytes(data, name)


@contextmanager
def _pyyaml() -> Iterator[None]:
    """What needs PyYAML is imported where a file is read: it may be missing, and is slow to load."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        raise ConfigError(
            'A queue.yaml is read with PyYAML, which is not installed. Run: pip install "deferq[gae]". Or let deferq do'
            " without the file: DEFERQ_QUEUE_YAML=none."
        ) from None


__all__ = ["parse", "read"]
