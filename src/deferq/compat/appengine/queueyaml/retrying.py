"""retry_parameters: from App Engine's words to a RetryPolicy."""

from __future__ import annotations

import yaml

from deferq.compat.appengine.queueyaml.amounts import age
from deferq.compat.appengine.queueyaml.nodes import Field, fields, seconds, whole
from deferq.compat.appengine.queueyaml.problems import Report
from deferq.model.retry import ATTEMPTS_MAX, DEFAULT_RETRY, SECONDS_MAX, RetryPolicy

KEYS = ("task_retry_limit", "task_age_limit", "min_backoff_seconds", "max_backoff_seconds", "max_doublings")
#: What App Engine takes for what is left out.
MIN_BACKOFF_S, MAX_BACKOFF_S, DOUBLINGS = 0.1, 3600.0, 16
#: Every wait has reached its longest by then.
DOUBLINGS_MAX = 64


def retry_policy(node: yaml.Node, report: Report, *, pull: bool = False) -> RetryPolicy | None:
    """The policy; None: something is wrong with it.

    App Engine tries for ever where neither limit is given. Here a task is then tried as often as deferq tries by
    default, and kept as dead. Waits are not spread, as they are not there. In a pull queue the limit is one of leases,
    and where there is none, a task can be leased any number of times.
    """
    found = fields(node, "retry_parameters", KEYS, report, {})
    before = len(report.errors)
    retries = whole(found.get("task_retry_limit"), "task_retry_limit", 0, ATTEMPTS_MAX - 1, report)
    age_s = age(found.get("task_age_limit"), report)
    shortest, longest = _backoff(found, report)
    doublings = whole(found.get("max_doublings"), "max_doublings", 0, None, report)
    if len(report.errors) > before:
        return None
    return RetryPolicy(
        max_attempts=_leases(retries) if pull else _attempts(retries, age_s),
        min_backoff_s=shortest,
        max_backoff_s=longest,
        max_doublings=min(DOUBLINGS if doublings is None else doublings, DOUBLINGS_MAX),
        max_age_s=age_s,
        jitter=False,
    )


def _backoff(found: dict[str, Field], report: Report) -> tuple[float, float]:
    """Both ends of it. Where one is given alone, the other gives way."""
    shortest = seconds(found.get("min_backoff_seconds"), "min_backoff_seconds", SECONDS_MAX, report)
    longest = seconds(found.get("max_backoff_seconds"), "max_backoff_seconds", SECONDS_MAX, report)
    if shortest is not None and longest is not None and shortest > longest:
        report.wrong(
            found["min_backoff_seconds"].value,
            f"min_backoff_seconds ({shortest:g}) is more than max_backoff_seconds ({longest:g}). Make it at most that.",
        )
    if shortest is None:
        return min(MIN_BACKOFF_S, MAX_BACKOFF_S if longest is None else longest), _or(longest, MAX_BACKOFF_S)
    return shortest, max(MAX_BACKOFF_S, shortest) if longest is None else longest


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _attempts(retries: int | None, age_s: float | None) -> int | None:
    if retries is not None:
        return retries + 1
    return DEFAULT_RETRY.max_attempts if age_s is None else None


def _leases(limit: int | None) -> int | None:
    return None if limit is None else max(1, limit)
