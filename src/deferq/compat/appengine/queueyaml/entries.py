"""One entry under `queue:`."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from deferq.compat.appengine.queueyaml import retrying
from deferq.compat.appengine.queueyaml.amounts import PAUSED, rate
from deferq.compat.appengine.queueyaml.nodes import Field, fields, items, text, whole
from deferq.compat.appengine.queueyaml.problems import Report, shown
from deferq.model.queue import DEFAULT_QUEUE, Queue
from deferq.model.retry import RetryPolicy

KEYS = (
    "name", "rate", "bucket_size", "max_concurrent_requests", "mode", "target", "retry_parameters", "acl",
)  # fmt: skip
TOP_KEYS = ("queue", "total_storage_limit", "resume_paused_queues", "application")
#: What App Engine takes for what is left out.
RATE, BUCKET_SIZE, CONCURRENT = "5/s", 5, 1_000
BUCKET_SIZE_MAX, CONCURRENT_MAX = 500, 5_000
NAME_PATTERN = r"[a-zA-Z0-9-]{1,100}"
_TARGET = re.compile(r"(?:(?!-)[a-z0-9-]{1,100}\.)?(?!-)[a-z0-9-]{1,63}")
_ROUTE_MAX = 100
_ELSEWHERE = {
    **dict.fromkeys(retrying.KEYS, " It stands under retry_parameters."),
    **dict.fromkeys(TOP_KEYS, " It stands at the top of the file, and once."),
}
_ONLY_PUSH = ("bucket_size", "max_concurrent_requests", "target")


class Entry(NamedTuple):
    """What one entry says."""

    name: str
    #: Where the name stands.
    place: yaml.Node
    #: None: something is wrong with it.
    queue: Queue | None


def entry(node: yaml.Node, report: Report, source: str) -> Entry | None:
    """One entry; None: it has no name. `source` is the file, for people."""
    before = len(report.errors)
    found = fields(node, "a queue", KEYS, report, _ELSEWHERE)
    name = _name(node, found, report) if isinstance(node, yaml.MappingNode) else None
    pull = _mode(found, report) == "pull"
    policy = _policy(found, report, pull=pull)
    _check_acl(found.get("acl"), report)
    limits = _pull(found, report) if pull else _push(found, name, report)
    route = None if pull else _route(found.get("target"), report)
    if name is None:
        return None
    right = len(report.errors) == before
    queue = Queue(**limits, retry=policy, route=route, pull=pull, source=source) if right else None
    return Entry(name, found["name"].value, queue)


def _name(node: yaml.Node, found: dict[str, Field], report: Report) -> str | None:
    if "name" not in found:
        report.wrong(node, "This queue has no name. Give it one: 'name: ...'.")
        return None
    name = text(found["name"], "name", report)
    if name is None or re.fullmatch(NAME_PATTERN, name):
        return name
    report.wrong(
        found["name"].value,
        f"name: expected 1 to 100 ASCII letters, digits or '-', as App Engine does, and this is {shown(name)}.",
    )
    return None


def _mode(found: dict[str, Field], report: Report) -> str | None:
    mode = text(found.get("mode"), "mode", report)
    if mode not in (None, "push", "pull"):
        report.wrong(found["mode"].value, f"mode: expected push or pull, and this is {shown(mode or '')}.")
    return mode


def _push(found: dict[str, Field], name: str | None, report: Report) -> dict[str, Any]:
    speed = rate(found.get("rate"), report)
    if "rate" not in found and name is not None and name != DEFAULT_QUEUE:
        report.remark(found["name"].value, f"rate: queue {name} has none, and gets {RATE}. Give it one.")
    size = whole(found.get("bucket_size"), "bucket_size", 0, BUCKET_SIZE_MAX, report) or BUCKET_SIZE
    most = whole(found.get("max_concurrent_requests"), "max_concurrent_requests", 1, CONCURRENT_MAX, report)
    limits: dict[str, Any] = {"max_concurrent": most or CONCURRENT}
    if speed == PAUSED:
        return {**limits, "paused": True}
    return {**limits, "rate": speed or RATE, "bucket_size": size}


def _pull(found: dict[str, Field], report: Report) -> dict[str, Any]:
    """Nothing limits a pull queue but who asks."""
    if "rate" in found:
        report.wrong(
            found["rate"].key,
            "rate: a pull queue has none, since whoever leases says how much. Leave out rate, or mode.",
        )
    for key in _ONLY_PUSH:
        if key in found:
            report.remark(found[key].key, f"{key}: it means nothing for a pull queue.")
    return {}


def _policy(found: dict[str, Field], report: Report, *, pull: bool) -> RetryPolicy | None:
    field = found.get("retry_parameters")
    return None if field is None else retrying.retry_policy(field.value, report, pull=pull)


def _route(field: Field | None, report: Report) -> str | None:
    target = text(field, "target", report)
    if target is None or field is None:
        return None
    if not _TARGET.fullmatch(target):
        report.wrong(
            field.value,
            "target: expected a service, or a version and a service (v1.worker), in small letters, digits and '-', and"
            f" this is {shown(target)}.",
        )
        return None
    if len(target) > _ROUTE_MAX:
        report.wrong(field.value, f"target: it becomes a route, which has up to {_ROUTE_MAX} characters. Shorten it.")
        return None
    return target


def _check_acl(field: Field | None, report: Report) -> None:
    """It is for App Engine's REST interface, which is not there."""
    if field is None:
        return
    for item in items(field, "user_email or writer_email", report):
        for key, value in fields(item, "acl", ("user_email", "writer_email"), report, {}).items():
            text(value, key, report)
    report.remark(field.key, "acl: nobody is kept out or let in by it here; who can open the store can use the queue.")
