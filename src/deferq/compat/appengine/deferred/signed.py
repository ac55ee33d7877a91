"""Deliveries that deferq has signed: the lease is taken up, the task runs, and its outcome goes back or is stored.

The callable runs in the context of the view, as on App Engine: what the framework knows of the request is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from contextvars import copy_context
from http import HTTPStatus
from typing import Any, NamedTuple

from deferq.codec.codec import Invocation
from deferq.codec.context import restore
from deferq.compat.appengine.deferred.answers import Answer, answer
from deferq.compat.appengine.deferred.failures import PermanentTaskFailure
from deferq.current import CURRENT, CurrentTask
from deferq.default import default
from deferq.http.attempt import Attempt
from deferq.http.handler import Handler
from deferq.http.message import ANSWER_KEY, Request, Response
from deferq.http.refusals import left
from deferq.model.outcome import SUCCEEDED, Cancelled, Failed, Outcome
from deferq.runtime.executor import outcome_of, timed_out

Environ = MutableMapping[str, Any]
_SIGNED = "HTTP_X_DEFERQ_TASK"
_OUR_HEADERS = ("x-deferq-", "retry-after", "allow")


def claims(environ: Environ) -> bool:
    """Whether it has the header of a signed delivery."""
    return _SIGNED in environ


def run(environ: Environ, before: Callable[[], None], forbidden: Callable[[Environ], Answer]) -> Answer:
    """Run what is delivered, if it is ours. `before` is called before that, and `forbidden` if it is not.

    Raises what the callable raises, and PermanentTaskFailure for what cannot be restored. The outcome is stored by
    then, or left for the wrapper to write it on whatever is answered.
    """
    handler, request = default().handler(), Request.from_wsgi(environ)
    delivered = handler.admit(request, requests=True)
    if isinstance(delivered, Response):
        left(request, delivered)
        return forbidden(environ) if delivered.status == HTTPStatus.FORBIDDEN else _refused(delivered)
    attempt = handler.begin(request, delivered)
    if isinstance(attempt, Response):
        return _begun_before(left(request, attempt))
    before()
    return _conclude(handler, request, attempt, _attempted(handler, attempt))


class _Ended(NamedTuple):
    """What an attempt came to."""

    outcome: Outcome
    #: What the callable has raised.
    error: BaseException | None = None


def _attempted(handler: Handler, attempt: Attempt) -> _Ended:
    invocation = handler.prepare(attempt)
    if not isinstance(invocation, Invocation):
        return _Ended(invocation)
    assert attempt.current is not None
    ended = _called(attempt.current, invocation)
    outcome = handler.executor.settled(ended.outcome, attempt.current)
    return _Ended(outcome) if outcome is SUCCEEDED else ended


def _called(current: CurrentTask, invocation: Invocation) -> _Ended:
    try:
        copy_context().run(_call, current, invocation)
    except BaseException as error:
        return _Ended(outcome_of(error), error)
    return _Ended(timed_out() if current.seconds_left == 0 else SUCCEEDED)


def _call(current: CurrentTask, invocation: Invocation) -> None:
    CURRENT.set(current)
    restore(default().codec.carried, invocation.context)
    value = invocation.fn(*invocation.args, **invocation.kwargs)
    if value is not None and hasattr(type(value), "__await__"):
        asyncio.run(_awaited(value))


async def _awaited(value: Any) -> None:
    await value


def _conclude(handler: Handler, request: Request, attempt: Attempt, ended: _Ended) -> Answer:
    """Nobody hears of an outcome by a response that somebody else writes, unless the wrapper is there to add it."""
    outcome, error = ended
    heard = ANSWER_KEY in request.environ and error is None
    response = left(request, handler.conclude(request, attempt, outcome, heard=heard))
    if error is not None:
        raise error
    if isinstance(outcome, Failed) and outcome.permanent:
        raise PermanentTaskFailure(outcome.error.message)
    if outcome is SUCCEEDED and response.status == HTTPStatus.OK:
        return answer(HTTPStatus.OK, "Success")
    return answer(HTTPStatus(response.status), _word(outcome), *_own_headers(response))


def _word(outcome: Outcome) -> str:
    return "Cancelled" if isinstance(outcome, Cancelled) else type(outcome).__name__


def _begun_before(response: Response) -> Answer:
    """Another delivery of it has begun, or has ended it."""
    return answer(HTTPStatus(response.status), HTTPStatus(response.status).phrase, *_own_headers(response))


def _refused(response: Response) -> Answer:
    """Without a length nothing is read, and nothing lost: App Engine's library would take it for an empty task."""
    status = HTTPStatus(response.status)
    if status is HTTPStatus.LENGTH_REQUIRED:
        status = HTTPStatus.BAD_REQUEST
    return answer(status, status.phrase, *_own_headers(response))


def _own_headers(response: Response) -> list[tuple[str, str]]:
    """What the sender has to know beside the status."""
    return [(name, value) for name, value in response.headers if name.lower().startswith(_OUR_HEADERS)]
