"""What a `deferred` library answers, as JSON: `answers.py google|ours`. One process asks one of them.

A case is a function without arguments; its answer is what it returns, or the name of what it raises. Where Google's
asks for a datastore or a task queue, it has the stubs of its SDK; ours has a store of its own.
"""

from __future__ import annotations

import base64
import datetime
import io
import json
import os
import pickle
import pickletools
import sys
from collections.abc import Callable
from typing import Any

from tests.compat.ndb.things import WHOLE, Thing, double

GOOGLE = sys.argv[1] == "google"
os.environ |= {"APPLICATION_ID": "s~answers", "SERVER_SOFTWARE": "Testing/1", "DEFERQ_TRUST_APP_ENGINE_HEADERS": "1"}

if GOOGLE:
    from google.appengine.api import taskqueue
    from google.appengine.ext import deferred, testbed

    bed = testbed.Testbed()
    bed.activate()
    bed.init_datastore_v3_stub()
    bed.init_memcache_stub()
    bed.init_taskqueue_stub()
else:
    from deferq.compat.appengine import deferred, taskqueue

CASES: dict[str, Callable[[], Any]] = {}


def case(name: str, ask: Callable[[], Any]) -> None:
    CASES[name] = ask


def raise_it(error: Exception) -> None:
    raise error


def lambdas() -> Any:
    return lambda: 1


anonymous = lambda: 1


def parts(body: bytes) -> list[Any]:
    """What a pickle names and holds, but for the module that the library is called by."""
    ours = ("google.appengine.ext.deferred.deferred", "deferq.compat.appengine.deferred.deferred")
    found = [argument for _, argument, _ in pickletools.genops(body) if isinstance(argument, str | int)]
    return ["the library" if argument in ours else argument for argument in found][2:]  # without protocol and frame


for name, (fn, args) in WHOLE.items():
    case(f"serialize: {name}", lambda fn=fn, args=args: parts(deferred.serialize(fn, *args)))
    case(f"serialize and run: {name}", lambda fn=fn, args=args: repr(type(deferred.run(deferred.serialize(fn, *args)))))
for name, thing in {
    "None": None,
    "a number": 7,
    "a lambda": anonymous,
    "a local lambda": lambdas(),
}.items():
    case(f"serialize: {name}", lambda thing=thing: deferred.serialize(thing))
case("serialize: a generator as argument", lambda: deferred.serialize(double, (n for n in ())))
for name, body in {
    "nothing": b"",
    "garbage": b"garbage",
    "no triple": pickle.dumps(7),
    "two": pickle.dumps((double, ())),
    "four": pickle.dumps((double, (), {}, 1)),
    "an unknown module": b"cnowhere\nnothing\n.",
    "arguments that do not fit": pickle.dumps((double, (1, 2, 3), {})),
    "a permanent failure": pickle.dumps((raise_it, (deferred.PermanentTaskFailure("x"),), {})),
    "a singular failure": pickle.dumps((raise_it, (deferred.SingularTaskFailure("x"),), {})),
    "an error": pickle.dumps((raise_it, (KeyError("x"),), {})),
    "a success": pickle.dumps((double, (4,), {})),
}.items():
    case(f"run: {name}", lambda body=body: deferred.run(body))

    def post(body: bytes = body, **changes: Any) -> Any:
        return answered(deferred.Handler().post(environ(body, **changes)))

    case(f"post: {name}", post)
case("run_from_datastore: an unknown key", lambda: deferred.run_from_datastore("aghzfmFuc3dlcnIMCxIFVGhpbmcYAQw"))
for member in ("Error", "PermanentTaskFailure", "SingularTaskFailure"):
    case(f"{member}: its bases", lambda member=member: [base.__name__ for base in getattr(deferred, member).__mro__])
for member in ("application", "defer", "invoke_member", "run", "run_from_datastore", "serialize", "set_log_level"):
    case(f"{member}: is there", lambda member=member: callable(getattr(deferred, member)))
for member in ("_DEFAULT_URL", "_DEFAULT_QUEUE", "_TASKQUEUE_HEADERS"):
    case(f"{member}", lambda member=member: getattr(deferred.deferred, member))
case("_curry_callable", lambda: deferred.deferred._curry_callable(Thing.fixed, 1, two=2)[1:])


def environ(body: bytes, *, without: str = "", **changes: Any) -> dict[str, Any]:
    made = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/_ah/queue/deferred",
        "SERVER_SOFTWARE": "gunicorn/1",
        "REMOTE_ADDR": "0.1.0.2",
        "HTTP_X_APPENGINE_TASKNAME": "task1",
        "HTTP_X_APPENGINE_QUEUENAME": "default",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **changes,
    }
    made.pop(without, None)
    return made


def answered(answer: Any) -> Any:
    text, status, headers = answer
    return [text, int(status), type(status).__name__, [list(header) for header in headers]]


GOOD = pickle.dumps((double, (4,), {}))


def posted(**changes: Any) -> Any:
    return answered(deferred.Handler().post(environ(GOOD, **changes)))


case("post: no task name", lambda: posted(without="HTTP_X_APPENGINE_TASKNAME"))
case("post: another address", lambda: posted(REMOTE_ADDR="10.0.0.1"))
case(
    "post: another address on a development server", lambda: posted(REMOTE_ADDR="::1", SERVER_SOFTWARE="Development/2")
)
case("post: no SERVER_SOFTWARE", lambda: posted(without="SERVER_SOFTWARE"))
case("post: no CONTENT_LENGTH", lambda: posted(without="CONTENT_LENGTH"))
case("run_from_request", lambda: answered(deferred.Handler().run_from_request(environ(GOOD))))


def called(method: str) -> Any:
    told: list[Any] = []
    body = deferred.application(
        environ(GOOD, REQUEST_METHOD=method), lambda status, headers, _=None: told.append([status, *map(list, headers)])
    )
    return [told, b"".join(part if isinstance(part, bytes) else str(part).encode() for part in body).decode()]


case("application: POST", lambda: called("POST"))
case("application: GET", lambda: called("GET"))


def deferring(**options: Any) -> Any:
    task = deferred.defer(double, 1, **options)
    return {
        "url": task.url,
        "method": task.method,
        "queue": task.queue_name,
        "headers": sorted(name for name in task.headers if name not in ("Host", "X-AppEngine-Current-Namespace")),
        "enqueued": task.was_enqueued,
        "deleted": task.was_deleted,
        "named": task.name is not None,
        "class": type(task).__name__,
        "retries": task.retry_options and task.retry_options.task_retry_limit,
    }


UTC = datetime.UTC
IN_AN_HOUR = datetime.datetime.now(UTC) + datetime.timedelta(hours=1)
for name, options in {
    "nothing": {},
    "_countdown": {"_countdown": 60},
    "a negative _countdown": {"_countdown": -5},
    "31 days": {"_countdown": 31 * 86_400},
    "_eta": {"_eta": IN_AN_HOUR},
    "both": {"_eta": IN_AN_HOUR, "_countdown": 5},
    "_name": {"_name": "a-name"},
    "_name again": {"_name": "a-name"},
    "a bad _name": {"_name": "no spaces please"},
    "a long _name": {"_name": "n" * 501},
    "a bad _queue": {"_queue": "no_underscores"},
    "_url": {"_url": "/custom/path"},
    "_url of nothing": {"_url": ""},
    "_url None": {"_url": None},
    "a relative _url": {"_url": "custom"},
    "_headers": {"_headers": {"X-One": "1", "Content-Type": "text/x"}},
    "_target": {"_target": "worker"},
    "_retry_options": {"_retry_options": taskqueue.TaskRetryOptions(task_retry_limit=3)},
    "_transactional": {"_transactional": True},
    "_transactional with _name": {"_transactional": True, "_name": "named"},
    "a keyword of nobody": {"_contdown": 3},
}.items():
    case(f"defer: {name}", lambda options=options: deferring(**options))


def ask(question: Callable[[], Any]) -> Any:
    try:
        answer = question()
    except Exception as error:
        return f"raises {type(error).__name__}"
    return base64.b64encode(answer).decode() if isinstance(answer, bytes) else answer


if __name__ == "__main__":
    if GOOGLE and sys.argv[2:] == ["bodies"]:
        found = {name: base64.b64encode(deferred.serialize(fn, *args)).decode() for name, (fn, args) in WHOLE.items()}
    else:
        found = {name: ask(question) for name, question in CASES.items()}
    print(json.dumps(found))
