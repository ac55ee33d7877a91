"""The file that declares queues beside the code, App Engine's queue.yaml: which one it is, and who reads it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path, PurePath

from deferq.config import NO_FILE, Settings
from deferq.errors import ConfigError
from deferq.model.queue import Queue

#: Named and not imported, as a plug-in: it is a leaf, and needs a package that may be missing.
READER = "deferq.compat.appengine.queueyaml"
_log = logging.getLogger("deferq")


def queues_in_file(settings: Settings, names: Sequence[str]) -> Mapping[str, Queue]:
    """What the file declares, if there is one; what it warns of is logged.

    Raises QueueYamlError for its mistakes, and ConfigError if a file that is named is not there.
    """
    path = queue_file(settings, names)
    if path is None:
        return {}
    said = import_module(READER).read(path)
    for warning in said.warnings:
        _log.warning("%s:%s", path, warning)
    queues: Mapping[str, Queue] = said.queues
    return queues


def queue_file(settings: Settings, names: Sequence[str]) -> Path | None:
    """The file that the setting `queue_yaml` names, else the first of these names that is found; None: there is none.

    A whole path among the names was given by code, and wins. A relative one in the setting stands in the project's
    folder. Raises ConfigError if a file that is named is not there.
    """
    if whole := next((name for name in names if PurePath(name).is_absolute()), None):
        return Path(whole)
    said, origin = settings.values["queue_yaml"]
    if said == NO_FILE:
        return None
    if said is None:
        return next((path for path in _candidates(settings, names) if path.is_file()), None)
    path: Path = settings.project / said
    if path.is_file():
        return path
    raise ConfigError(
        f"queue_yaml: there is no file {path} ({origin}). Give the path of a queue.yaml, relative to the project's"
        f" folder, or {NO_FILE!r} for none."
    )


def _candidates(settings: Settings, names: Sequence[str]) -> Iterator[Path]:
    """In the current folder, the one that modules come from first (the script's, or the application's), the project.

    Every process of an application should find the same file.
    """
    for folder in dict.fromkeys((Path.cwd(), Path(sys.path[0] if sys.path else ""), settings.project)):
        for name in names:
            yield folder / name
