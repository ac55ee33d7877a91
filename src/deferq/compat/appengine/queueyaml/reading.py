"""A queue.yaml as a whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from deferq.compat.appengine.queueyaml.amounts import size
from deferq.compat.appengine.queueyaml.composing import BYTES_MAX, compose
from deferq.compat.appengine.queueyaml.entries import BUCKET_SIZE, CONCURRENT, KEYS, RATE, TOP_KEYS, entry
from deferq.compat.appengine.queueyaml.nodes import fields, items, truth
from deferq.compat.appengine.queueyaml.problems import Problem, Report, shown
from deferq.errors import QueueYamlError
from deferq.model.queue import DEFAULT_QUEUE, Queue

QUEUES_MAX = 100
#: Top keys of App Engine's other files.
_OTHER_FILES = {
    "cron": "cron.yaml",
    "dispatch": "dispatch.yaml",
    "indexes": "index.yaml",
    **dict.fromkeys(
        ("runtime", "handlers", "service", "env_variables", "entrypoint", "app_engine_apis", "instance_class"),
        "app.yaml",
    ),
}
_ELSEWHERE = {
    **{key: f" It belongs into {file}." for key, file in _OTHER_FILES.items()},
    **dict.fromkeys(KEYS, " It stands in an entry under queue, behind a dash."),
}


class QueueYaml(NamedTuple):
    """What a queue.yaml says."""

    #: As it was named to whoever read it.
    path: str
    #: Every queue, `default` too, which App Engine has without being told.
    queues: Mapping[str, Queue]
    #: What does not do what one may think.
    warnings: tuple[Problem, ...]
    #: Bytes, or None. It is kept for nobody here: the disk is yours.
    total_storage_limit: int | None
    #: Whether `deferq queues load` resumes queues that an operator has paused; None: it does not say.
    resume_paused_queues: bool | None


def read(path: str | os.PathLike[str]) -> QueueYaml:
    """Read a file. Raises QueueYamlError, which tells all that is wrong with it."""
    name = os.fspath(path)
    return parse(_content(name), name)


def parse(data: bytes, name: str = "queue.yaml") -> QueueYaml:
    """What the bytes of a queue.yaml say; errors call it `name`. Raises QueueYamlError."""
    report = Report(name)
    found = fields(compose(data, name), "queue.yaml", TOP_KEYS, report, _ELSEWHERE)
    queues: dict[str, Queue] = {}
    lines: dict[str, int] = {}
    for item in items(found.get("queue"), "queues", report):
        _add(item, queues, lines, report)
    storage = size(found.get("total_storage_limit"), report)
    resume = truth(found.get("resume_paused_queues"), "resume_paused_queues", report)
    if storage is not None:
        report.remark(
            found["total_storage_limit"].key,
            "total_storage_limit: nothing is refused by it here; the disk is the limit.",
        )
    report.check()
    default = Queue(rate=RATE, bucket_size=BUCKET_SIZE, max_concurrent=CONCURRENT, source=_source(name))
    return QueueYaml(name, {DEFAULT_QUEUE: default, **queues}, tuple(sorted(report.warnings)), storage, resume)


def _add(item: yaml.Node, queues: dict[str, Queue], lines: dict[str, int], report: Report) -> None:
    read = entry(item, report, _source(report.name))
    if read is None:
        return
    name, place, queue = read
    if name in lines:
        report.wrong(place, f"name: there is a queue {name!r} in line {lines[name]} already. Keep one of them.")
        return
    lines[name] = place.start_mark.line + 1
    if queue is not None:
        queues[name] = queue
    if len(lines.keys() - {DEFAULT_QUEUE}) == QUEUES_MAX + 1:
        report.wrong(place, f"App Engine takes {QUEUES_MAX} queues, and this is one more. Do with fewer.")


def _source(name: str) -> str:
    """Without its folder: a release that stands in another one declares the same."""
    return Path(name).name


def _content(name: str) -> bytes:
    try:
        if stat.S_ISREG(os.stat(name).st_mode):
            with open(name, "rb") as file:
                return file.read(BYTES_MAX + 1)
        why = "it is no plain file"
    except OSError as error:
        why = error.strerror or type(error).__name__
    except ValueError:
        why = "no file can have such a name"
    raise QueueYamlError(f"{shown(name)} cannot be read: {why}. Give the path of a queue.yaml.", problems=())
