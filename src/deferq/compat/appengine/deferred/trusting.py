"""Deliveries by App Engine itself, which signs nothing: its front end lets nobody else send these headers.

Anywhere else they prove nothing, and whoever sends them could run any code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from deferq.compat.appengine.deferred.answers import Answer, answer
from deferq.compat.appengine.wrapping import TOLD_KEY
from deferq.default import default

NAMED: Final = "HTTP_X_APPENGINE_TASKNAME"
#: Whom App Engine's queue calls from.
_QUEUE_ADDRESS: Final = "0.1.0.2"
_PIECE = 64 * 1024
_log = logging.getLogger()


def is_from_queue(environ: Mapping[str, Any]) -> bool:
    """Whether header and address are those of App Engine's queue, or of its development server."""
    in_development = str(environ.get("SERVER_SOFTWARE") or "").startswith("Devel")
    address = environ.get(TOLD_KEY) or environ.get("REMOTE_ADDR")
    return NAMED in environ and (in_development or address == _QUEUE_ADDRESS)


def run(environ: Mapping[str, Any]) -> Answer:
    """Run the body. What is not all there is refused: an empty body would be taken for a task that cannot be run.

    So is a large call that stands in Google's datastore: with any other answer Google's queue would forget the task.
    """
    from deferq.compat.appengine.deferred.deferred import run as run_body
    from deferq.compat.appengine.deferred.entities import Elsewhere

    body = _body(environ)
    if body is None:
        return answer(HTTPStatus.BAD_REQUEST, "The body of the request has no length, or is not as long as it says.")
    try:
        run_body(body)
    except Elsewhere as error:
        _log.error("%s It stays in Google's queue.", error)
        return answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    return answer(HTTPStatus.OK, "Success")


def _body(environ: Mapping[str, Any]) -> bytes | None:
    """All of it; None: it is not as long as it says, or nobody says where it ends."""
    text = str(environ.get("CONTENT_LENGTH") or "")
    length = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
    read, most = environ["wsgi.input"].read, default().settings["payload_limit"]
    if length is not None:
        body = _read(read, min(length, most + 1))
        return body if len(body) == length else None
    if text or not environ.get("wsgi.input_terminated"):
        return None
    body = _read(read, most + 1)  # the server has put it together from chunks
    return body if 0 < len(body) <= most else None


def _read(read: Callable[[int], bytes], length: int) -> bytes:
    pieces = []
    while length > 0 and (piece := read(min(length, _PIECE))):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)
