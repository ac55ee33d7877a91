"""What takes deliveries: a WSGI application, and the same in steps for a view of the application.

A delivery is signed, and nothing of any other is looked into. On App Engine itself, if one says so, its headers and
its address stand for a signature (`trusting.py`).
"""

from __future__ import annotations

import http
import logging
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from deferq import errors as core
from deferq.compat.appengine.deferred import asgi, signed, trusting
from deferq.compat.appengine.deferred.answers import CONTENT_TYPE, Answer, answer
from deferq.default import default

Environ = MutableMapping[str, Any]
_HEADERS: Final = "HTTP_X_APPENGINE_"
#: As App Engine's front end would have it, and so what unsigned requests are told in either mode.
_NO_TASK_NAME: Final = "Detected an attempted XSRF attack. The header 'X-AppEngine-Taskname' was not set."
_NOT_FROM_QUEUE: Final = "Detected an attempted XSRF attack. This request did not originate from Task Queue."

_log = logging.getLogger()
_level = logging.INFO


def set_log_level(log_level: int) -> None:
    """At which level the one line is logged that each delivery leaves: its X-AppEngine headers."""
    global _level
    _level = log_level


class Handler:
    """Takes deliveries, and may be subclassed. `application` is one.

    Args:
        trust_app_engine_headers: take what is not signed if App Engine's headers and address are right; None: as the
            setting of that name says. Anywhere but on App Engine this lets everybody run any code.
    """

    #: Of a subclass as well whose own `__init__` does not call this one: App Engine's has none.
    _trusts: bool | None = None

    def __init__(self, *, trust_app_engine_headers: bool | None = None) -> None:
        self._trusts = trust_app_engine_headers

    def run_from_request(self, environ: Environ) -> Answer:
        """Run what the request brings: body of the response, status, and headers in pairs.

        Raises PermanentTaskFailure, SingularTaskFailure, and whatever else the callable raises.
        """
        if signed.claims(environ):
            return signed.run(environ, lambda: self._log_headers(environ), self.refusal)
        if not self.trusts() or not trusting.is_from_queue(environ):
            return self.refusal(environ)
        self._log_headers(environ)
        return trusting.run(environ)

    def post(self, environ: Environ) -> Answer:
        """The same for a view: failures that the callable has said become responses, all others are raised."""
        try:
            return self.run_from_request(environ)
        except (core.RetryTask, core.Snooze):
            _log.debug("Failure executing task, task retry forced")
            return answer(http.HTTPStatus.REQUEST_TIMEOUT, "SingularTaskFailure")
        except core.PermanentTaskFailure:
            _log.exception("Permanent failure attempting to execute task")
            return answer(http.HTTPStatus.OK, "PermanentTaskFailure")

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
        """The same as a WSGI application. Raises what the callable raises."""
        if environ["REQUEST_METHOD"] != "POST":
            text, status, headers = "", http.HTTPStatus.METHOD_NOT_ALLOWED, [("Allow", "POST"), CONTENT_TYPE]
        else:
            text, status, headers = self.post(environ)
        start_response(f"{status.value} {status.phrase}", headers)
        return [text.encode("utf-8")]

    async def post_async(self, scope: Environ, body: bytes) -> Answer:
        """`post` for a view of an ASGI application, which has read the body; never raises what the callable raises."""
        return await asgi.post(self, scope, body)

    def trusts(self) -> bool:
        """Whether App Engine's headers and address stand for a signature."""
        return bool(default().settings["trust_app_engine_headers"]) if self._trusts is None else self._trusts

    def refusal(self, environ: Environ) -> Answer:
        """The answer to what nobody has signed."""
        message = _NOT_FROM_QUEUE if trusting.NAMED in environ else _NO_TASK_NAME
        _log.error(message)
        return answer(http.HTTPStatus.FORBIDDEN, message)

    def _log_headers(self, environ: Environ) -> None:
        headers = (f"{name[5:]}:{value}" for name, value in environ.items() if name.upper().startswith(_HEADERS))
        _log.log(_level, "%s", ", ".join(headers))


#: Its name on Python 2.
TaskHandler = Handler
application = Handler()


async def asgi_application(scope: Environ, receive: asgi.Receive, send: asgi.Send) -> None:
    """`application` for ASGI."""
    await asgi.serve(application, scope, receive, send)
