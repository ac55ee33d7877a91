"""A queue.yaml that the application names itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deferq.app import Deferq
from deferq.compat.appengine.queueyaml import read
from deferq.default import default, look_for_queue_files

if TYPE_CHECKING:
    from deferq.compat.appengine.queueyaml.reading import QueueYaml


def load_queue_yaml(path: str | os.PathLike[str], deferq: Deferq | None = None) -> QueueYaml:
    """Let this file declare the queues, whatever the setting `queue_yaml` says; returns what the file says.

    It holds for `deferq`, or else for the default Deferq, also for one that is configured later. If the store is open,
    it learns of the queues at once; otherwise with the first task, or when a worker starts.

    Raises QueueYamlError, which tells all that is wrong with the file, ConfigError if PyYAML is not installed, and
    StoreError.
    """
    said = read(path)
    whole = str(Path(path).absolute())
    if deferq is None:
        look_for_queue_files(whole)
        deferq = default()
    else:
        deferq.take_queue_files(whole)
    deferq.tell_store()
    return said
