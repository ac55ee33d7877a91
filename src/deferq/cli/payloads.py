"""What a task carries and what it returned, shown by the inert reader; and whether the signatures fit.

Nothing is imported or restored for it, so that a payload can be looked at whoever made it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

from deferq.app import Deferq
from deferq.cli.output import printable
from deferq.codec.inert import BRIEF, FULL, Shown, name_of, show_call, show_result
from deferq.codec.signing import Keyring, Purpose
from deferq.engines.base import Details
from deferq.errors import CodecNotAllowed, DeferqError, PayloadCorrupt, PayloadSignatureError, UnknownKey
from deferq.model.task import Task

_LINE = 100


class Signature(NamedTuple):
    """Whether it fits: one word for programs, and a phrase for people."""

    code: str
    words: str


class Inside(NamedTuple):
    """What was seen of one envelope; `shown` is None if it was not to be shown."""

    signature: Signature
    shown: Shown | None
    #: Bytes of a large call that is kept beside the task; None: nothing is.
    beside_bytes: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much is shown of what is inside."""
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--no-arguments", action="store_true", help="show neither the arguments nor the result")
    how_much.add_argument("--full", action="store_true", help="shorten arguments and result only when they are huge")


def call_inside(deferq: Deferq, task: Task, details: Details, args: argparse.Namespace) -> Inside:
    """The call that `task` stands for."""
    limits = FULL if args.full else BRIEF
    shown, signature = show_call(details.payload, limits), _signature(deferq, "payload", task, details.payload)
    spill = deferq.engine.spill(task.id) if shown.elsewhere else None
    if spill is not None:
        shown = show_call(spill, limits)
    return Inside(signature, None if args.no_arguments else shown, None if spill is None else len(spill))


def result_inside(deferq: Deferq, task: Task, details: Details, args: argparse.Namespace) -> Inside | None:
    """What `task` returned; None: nothing is stored."""
    if details.result is None:
        return None
    shown = None if args.no_arguments else show_result(details.result, FULL if args.full else BRIEF)
    return Inside(_signature(deferq, "result", task, details.result), shown)


# ---- signatures


def _signature(deferq: Deferq, purpose: Purpose, task: Task, envelope: bytes | None) -> Signature:
    if envelope is None:
        return Signature("missing", "missing")
    from deferq.stores import keyring_if_any

    try:
        keyring = keyring_if_any(deferq.engine, deferq.settings)
    except DeferqError as error:
        return Signature("unchecked", f"signature not checked: {error}")
    if keyring is None:
        return Signature("unchecked", "signature not checked: there is no secret beside the store, and none is set")
    return _verdict(keyring, purpose, task, envelope)


def _verdict(keyring: Keyring, purpose: Purpose, task: Task, envelope: bytes) -> Signature:
    try:
        keyring.open(purpose, task.id, task.target, envelope, url=task.url if purpose == "payload" else None)
    except UnknownKey:
        key = envelope[4:8].hex()
        return Signature(
            "unknown-key", f"signed with key {key}, which is not known here (are `secrets` set, or --app?)"
        )
    except PayloadSignatureError:
        return Signature("wrong", "the signature does not fit: it was changed, or made for another task or target")
    except CodecNotAllowed:  # it is raised for what is genuine
        pass
    except PayloadCorrupt:
        return Signature("wrong", "no signature")
    except DeferqError as error:
        return Signature("unchecked", f"signature not checked: {error}")
    return Signature("fits", "signature fits")


# ---- for programs


def call_document(inside: Inside, target: str) -> dict[str, Any] | None:
    """The call in JSON: texts for people, in the parts that it has."""
    shown = inside.shown
    if shown is None:
        return None
    return {
        "text": shown.call(target),
        "args": list(shown.args),
        "kwargs": dict(shown.kwargs),
        "carried": dict(shown.carried),
        **_notes(shown),
    }


def result_document(inside: Inside | None) -> dict[str, Any] | None:
    """The result in JSON."""
    if inside is None or inside.shown is None:
        return None
    return {"text": inside.shown.value, "signature": inside.signature.code, **_notes(inside.shown)}


def _notes(shown: Shown) -> dict[str, Any]:
    return {
        "imports": list(shown.imports),
        "besides": list(shown.besides),
        "problems": list(shown.problems),
        "cut": shown.cut,
    }


# ---- for people


def print_call(inside: Inside, target: str) -> None:
    """The call; each argument in a line of its own if it is long."""
    shown = inside.shown
    if shown is None:
        return
    print("\ncall")
    text = shown.call(target)
    lines = [text] if len(text) <= _LINE or shown.value is not None else _lines(shown, name_of(target))
    _print_lines([*lines, *_note_lines(shown)])


def print_result(inside: Inside | None) -> None:
    """What it returned."""
    if inside is not None and inside.shown is not None:
        print("\nresult")
        _print_lines([inside.shown.value or "", *_note_lines(inside.shown)])


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        print(f"  {printable(line)}")


def _lines(shown: Shown, name: str) -> Iterator[str]:
    yield f"{name}("
    for text in (*shown.args, *(f"{key}={text}" for key, text in shown.kwargs)):
        yield f"    {text},"
    yield ")"


def _note_lines(shown: Shown) -> Iterator[str]:
    if shown.carried:
        yield f"carried: {', '.join(f'{key}={text}' for key, text in shown.carried)}"
    if shown.imports:
        yield f"restoring it imports: {', '.join(shown.imports)}"
    for text in shown.besides:
        yield f"restoring it also runs: {text}"
    for problem in shown.problems:
        yield f"problem: {problem}"
    if shown.cut:
        yield "(shortened; see --full)"
