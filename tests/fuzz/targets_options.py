"""Any texts as what a caller says of a task: refused with a declared error, or such that they can travel in headers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from deferq.errors import InvalidName, InvalidOption, ScheduleError
from deferq.model.retry import RetryPolicy
from deferq.model.task import Options, decode_options
from deferq.options import (
    check_headers,
    check_instant,
    check_name,
    check_options,
    check_priority,
    check_queue_name,
    check_route,
    check_seconds,
    check_tags,
    check_timeout,
    due_at,
    expires_at,
    translate_underscore,
)
from tests.fuzz.fixtures import NOW

_REFUSED = (InvalidOption, InvalidName, ScheduleError)
_UNDERSCORED = ("_countdown", "_eta", "_name", "_queue", "_target", "_url", "_headers", "_transactional")
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "name": check_name,
    "queue": check_queue_name,
    "route": check_route,
    "headers": check_headers,
    "tags": check_tags,
    "priority": check_priority,
    "timeout": check_timeout,
    "countdown": lambda value: due_at({"countdown": value}, NOW),
    "expires": lambda value: expires_at(value, NOW),
    "eta": lambda value: check_instant("eta", value),
    "seconds": lambda value: check_seconds("seconds", value),
}


def seeds_options() -> list[bytes]:
    """JSON, as values of every kind can be said in it."""
    return [
        b'{"headers":{"X-Shop":"7","Accept":"text/plain; q=1"}}',
        b'{"headers":{"X-AppEngine-QueueName":"a","Host":"b"}}',
        b'{"headers":{"X-A":"a\\r\\nX-B: c"}}',
        b'{"name":"welcome-7","queue":"mail","route":"eu.west-1","tags":["a","\xc3\xa4"],"priority":5}',
        b'{"countdown":60.5,"timeout":9,"expires":1e9,"eta":"2030-01-01","seconds":-1}',
        b'{"retry":{"max_attempts":3,"min_backoff_s":0.1,"max_backoff_s":10,"max_doublings":3,"max_age_s":60}}',
        b'{"_countdown":5,"_name":"a","_queue":"b","_url":"/_ah/queue/b","_target":"c","_transactional":false}',
        b'{"if_exists":"return","name":"a"}',
        b'{"stored":{"timeout_s":5,"tags":["a"],"headers":[["X-A","1"]],"retry":{"jitter":false}}}',
    ]


def fuzz_options(data: bytes) -> None:
    """`data` is JSON; what is none is taken as a text for every option."""
    try:
        given = json.loads(data.decode())
    except (ValueError, RecursionError):
        given = dict.fromkeys(_CHECKS, data.decode("utf-8", "surrogateescape"))
    for name, check in _CHECKS.items():
        value = given.get(name, given) if isinstance(given, dict) else given
        try:
            passed = check(value)
        except _REFUSED:
            continue
        _check_passed(name, passed)
    if isinstance(given, dict):
        _check_together(given)


def _check_passed(name: str, passed: Any) -> None:
    if name in ("name", "queue", "route") and passed is not None:
        assert passed.isascii()
        assert passed.isprintable()
    if name == "headers":
        for key, text in passed:
            assert f"{key}: {text}".isascii(), "it cannot travel"
            assert not set(key + text) & set("\r\n\0")
            assert ":" not in key
            assert not key.lower().startswith("x-deferq-")
    if name in ("name", "queue", "route", "headers", "tags", "timeout"):
        stored = Options(**{"headers": passed} if name == "headers" else {})
        assert decode_options(stored.encode()) == stored


def _check_together(given: dict[str, Any]) -> None:
    """Names of options, those of App Engine, and a retry policy."""
    for check in (
        lambda: check_options(given),
        lambda: translate_underscore({name: given[name] for name in _UNDERSCORED if name in given}),
        lambda: RetryPolicy(**_policy(given.get("retry"))).backoff_s(3),
    ):
        try:
            check()
        except _REFUSED:
            continue


def _policy(value: object) -> dict[str, Any]:
    known = RetryPolicy.__slots__
    return {name: what for name, what in value.items() if name in known} if isinstance(value, dict) else {}
