"""Everything about one task: what it calls, where it stands, how it got there, and what went wrong.

Arguments and result are read without importing, calling or restoring anything, whoever made them. Arguments may be
private: --no-arguments leaves them out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from deferq.cli import payloads
from deferq.cli.arguments import EXIT_FAILED, EXIT_OK, add_json, add_store, task_id
from deferq.cli.loading import open_store
from deferq.cli.output import plural, print_fields, print_json, printable, size
from deferq.cli.tasks import failure_document, missing, task_document
from deferq.cli.times import local, relative
from deferq.codec.signing import codec_of
from deferq.engines.base import Details
from deferq.model.state import State
from deferq.model.task import SUSPECT_FROM, Options, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_store(parser)
    add_json(parser)
    payloads.add_arguments(parser)
    parser.add_argument("id", metavar="ID", type=task_id)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    with open_store(args) as deferq:
        found = deferq.engine.get([args.id])
        if not found:
            print(f"deferq: {missing(args.id)}", file=sys.stderr)
            return EXIT_FAILED
        details = deferq.engine.details(args.id)
        now = deferq.engine.now()
        seen = _Seen(
            found[0],
            details,
            payloads.call_inside(deferq, found[0], details, args),
            payloads.result_inside(deferq, found[0], details, args),
        )
    if args.json:
        print_json(_document(seen, now))
    else:
        _print_for_people(seen, now)
    return EXIT_OK


class _Seen(NamedTuple):
    task: Task
    details: Details
    call: payloads.Inside
    result: payloads.Inside | None


def _document(seen: _Seen, now: int) -> dict[str, Any]:
    task, details = seen.task, seen.details
    return {
        **task_document(task, now),
        "codec": codec_of(details.payload),
        "signature": seen.call.signature.code,
        "beside_bytes": seen.call.beside_bytes,
        "call": payloads.call_document(seen.call, task.target),
        "result_bytes": None if details.result is None else len(details.result),
        "result": payloads.result_document(seen.result),
        "failures": [failure_document(failure) for failure in details.failures],
    }


def _print_for_people(seen: _Seen, now: int) -> None:
    task, details = seen.task, seen.details
    print_fields(
        (
            ("id", task.id),
            ("target", task.target),
            ("queue", task.queue),
            ("name", task.name),
            ("state", _state_line(task, now)),
            ("priority", task.priority or None),
            ("attempts", f"{task.attempts} of {_attempts_max(task.options)}, started {task.starts} times"),
            ("parked", f"{task.parks} times in a row" if task.parks else None),
            ("crashes", _crashes(task)),
            ("url", task.url),
            ("route", task.route),
            ("tags", ", ".join(task.options.tags)),
            ("headers", ", ".join(f"{name}: {value}" for name, value in task.options.headers)),
            ("timeout", None if task.options.timeout_s is None else f"{task.options.timeout_s:g} s"),
            ("arguments", _envelope(task.payload_bytes, details.payload, seen.call)),
            ("result", _envelope(len(details.result or b""), details.result, seen.result)),
        )
    )
    payloads.print_call(seen.call, task.target)
    payloads.print_result(seen.result)
    print("\ntimeline")
    for at, words in sorted(_timeline(task, details)):
        print(f"  {local(at)}  {printable(words)} ({relative(at, now)})")
    if details.failures and details.failures[-1].traceback:
        print(f"\nlast traceback (attempt {details.failures[-1].attempt})")
        print(printable(details.failures[-1].traceback.rstrip()))
    for failure in [failure for failure in details.failures if failure.report][-1:]:
        print(f"\nreport of its quarantine (attempt {failure.attempt})")
        print(printable(failure.report.rstrip()))


def _envelope(length: int, envelope: bytes | None, inside: payloads.Inside | None) -> str | None:
    if inside is None:
        return None
    beside = "" if inside.beside_bytes is None else f" and {size(inside.beside_bytes)} beside it"
    return f"{size(length)}{beside}, {codec_of(envelope) or 'no envelope'}, {inside.signature.words}"


def _crashes(task: Task) -> str | None:
    """How often its worker died while it ran, and what follows from that."""
    if not task.crashes:
        return None
    times = f"its worker has died {plural(task.crashes, 'time')}"
    return times + (", so it runs in quarantine" if task.crashes >= SUSPECT_FROM and not task.state.finished else "")


def _state_line(task: Task, now: int) -> str:
    reason = f": {task.reason}" if task.reason else ""
    cancelling = ", cancellation requested" if task.cancel_requested and not task.state.finished else ""
    return f"{task.reading(now)}{reason}{cancelling}"


def _attempts_max(options: Options) -> str:
    attempts = options.retry.max_attempts
    return "any number" if attempts is None else str(attempts)


def _timeline(task: Task, details: Details) -> Iterator[tuple[int, str]]:
    """What is known to have happened, and what will."""
    yield task.created_at, "deferred"
    for failure in details.failures:
        error = f": {failure.error_type}: {failure.message}" if failure.error_type else f": {failure.message}"
        yield failure.at, f"attempt {failure.attempt} {failure.kind}{error}"
    if task.state is State.PENDING:
        yield task.leasable_at, "due"
    if task.state is State.LEASED:
        yield task.leasable_at, "end of the lease, unless it is renewed"
    if task.expires_at is not None and not task.state.finished:
        yield task.expires_at, "expires"
    if task.finished_at is not None:
        yield task.finished_at, task.state.name.lower() + (f": {task.reason}" if task.reason else "")
