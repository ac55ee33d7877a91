"""Responses as App Engine's library has them: a text, a status, and headers in pairs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, TypeAlias

Answer: TypeAlias = tuple[str, HTTPStatus, list[tuple[str, str]]]

CONTENT_TYPE: Final = ("Content-Type", "text/plain")


def answer(status: HTTPStatus, text: str, *more: tuple[str, str]) -> Answer:
    """A plain text."""
    return text, status, [CONTENT_TYPE, *more]
