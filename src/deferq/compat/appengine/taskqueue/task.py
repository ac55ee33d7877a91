"""A task as App Engine's library has it: made first, and added to a queue afterwards."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from deferq.compat.appengine.taskqueue import hosts
from deferq.compat.appengine.taskqueue.errors import (
    InvalidDispatchDeadlineError,
    InvalidTagError,
    InvalidTaskError,
    InvalidTaskNameError,
    InvalidUrlError,
    TaskTooLargeError,
)
from deferq.compat.appengine.taskqueue.limits import (
    DEFAULT_QUEUE,
    MAX_DISPATCH_DEADLINE,
    MAX_PULL_TASK_SIZE_BYTES,
    MAX_PUSH_TASK_SIZE_BYTES,
    MAX_TAG_LENGTH,
    MAX_URL_LENGTH,
    METHODS,
    MIN_DISPATCH_DEADLINE,
    PULL,
    TASK_NAME_PATTERN,
    Version,
)
from deferq.compat.appengine.taskqueue.params import CaselessHeaders, encoded
from deferq.compat.appengine.taskqueue.times import current_s, due_at

if TYPE_CHECKING:
    from deferq.compat.appengine.deferred.calls import DeferredCall
    from deferq.compat.appengine.taskqueue.rpc import UserRPC

_KEYWORDS = frozenset(
    ("name", "method", "url", "headers", "params", "countdown", "eta", "retry_options", "target", "tag")
) | {"dispatch_deadline_usec", "_size_check"}
_WITH_BODY = ("POST", "PUT", PULL)
_SEPARATORS = len(": \r\n")


class Task:
    """A request that will be made later, or, with the method PULL, something that is leased by whoever asks for it.

    Args:
        payload: the body; text goes as UTF-8.
        name: unique in its queue; None: one is made when it is added.
        method: POST, GET, HEAD, PUT, DELETE or PULL.
        url: a path of the application; none: `/_ah/queue/` and the name of the queue.
        headers: a mapping; a value may be a list.
        params: a mapping: the form that a POST or a pull task has as its payload, the query of the others.
        countdown, eta: when it is due, up to 30 days ahead.
        retry_options: a TaskRetryOptions.
        target: which version or module it is meant for: deferq's route.
        tag: what pull tasks can be leased by.
        dispatch_deadline_usec: how long a delivery may take, 15 seconds to 24 hours.

    Raises InvalidTaskError, or what stands below it, InvalidTagError or InvalidDispatchDeadlineError; TypeError for
    other keywords.
    """

    def __init__(self, payload: Any = None, **kwargs: Any) -> None:
        if unknown := sorted(kwargs.keys() - _KEYWORDS):
            raise TypeError(f"Task() takes no {', '.join(unknown)}.")
        self._name: str | None = _checked_name(kwargs.get("name"))
        self._url, query = _split(kwargs.get("url"))
        self._on_queue_url = not kwargs.get("url")
        headers = CaselessHeaders(kwargs.get("headers") or {})
        _add_namespaces(headers)
        self._method: str = kwargs.get("method", "POST").upper()
        self._tag: str | None = kwargs.get("tag")
        #: Text where it is made of params, as App Engine's library has it.
        self._payload: bytes | str | None = None
        self._fill(payload, query, headers, kwargs)
        self._target = hosts.resolve(kwargs.get("target"), headers)
        self._headers = headers
        self._eta_posix = due_at(kwargs.get("eta"), kwargs.get("countdown"), current_s())
        self._retry_options = kwargs.get("retry_options")
        self._dispatch_deadline_usec = kwargs.get("dispatch_deadline_usec")
        self._queue_name: str | None = None
        self._retry_count = 0
        self._enqueued = self._deleted = False
        #: What the deferred library would have called; None: it is a request for a view.
        self._call: DeferredCall | None = None
        if kwargs.get("_size_check", True):
            self._check_size()
        _check_deadline(self._dispatch_deadline_usec)
        #: What deferq says of the target: None unless somebody has named one.
        self._route = self._named_target(kwargs)

    # ---- making one

    def _fill(self, payload: Any, query: str, headers: CaselessHeaders, kwargs: dict[str, Any]) -> None:
        """Payload and query, as the method has them."""
        params = kwargs.get("params", {})
        if query and params:
            raise InvalidTaskError("url has a query, and there are params as well; give one of them, not both.")
        if self._method != PULL and self._tag is not None:
            raise InvalidTaskError("tag: only pull tasks have one.")
        if self._method == PULL:
            self._fill_pull(payload, params, headers, kwargs)
        elif self._method == "POST":
            self._fill_post(payload, query, params, headers)
        elif self._method in METHODS:
            self._fill_other(payload, query, params, headers)
        else:
            raise InvalidTaskError(f"method: {self._method!r} is none of {', '.join((*METHODS, PULL))}.")

    def _fill_pull(self, payload: Any, params: Any, headers: CaselessHeaders, kwargs: dict[str, Any]) -> None:
        for field in ("url", "headers", "target"):
            if kwargs.get(field):
                raise InvalidTaskError(f"{field}: a pull task is not delivered, and has none.")
        if params:
            if payload:
                raise InvalidTaskError("payload and params: a pull task has one of them, not both.")
            payload = encoded(params)
        if payload is None:
            raise InvalidTaskError("payload: a pull task needs one.")
        self._payload = _body(payload, headers)

    def _fill_post(self, payload: Any, query: str, params: Any, headers: CaselessHeaders) -> None:
        if payload and params:
            raise InvalidTaskError("payload and params: a POST has one of them as its body, not both.")
        if query:
            raise InvalidTaskError("url: that of a POST has no query; give params instead, which become its body.")
        if params:
            self._payload = encoded(params)
            headers.setdefault("content-type", "application/x-www-form-urlencoded")
        elif payload is not None:
            self._payload = _body(payload, headers)

    def _fill_other(self, payload: Any, query: str, params: Any, headers: CaselessHeaders) -> None:
        if payload:
            if self._method not in _WITH_BODY:
                raise InvalidTaskError(f"payload: a {self._method} has none; only {', '.join(_WITH_BODY)} have.")
            self._payload = _body(payload, headers)
        query = encoded(params) if params else query
        if query:
            self._url = f"{self._url}?{query}"

    def _check_size(self) -> None:
        most = MAX_PULL_TASK_SIZE_BYTES if self._method == PULL else MAX_PUSH_TASK_SIZE_BYTES
        if self.size > most:
            raise TaskTooLargeError(
                f"A task of {self.size:,} bytes is too large: at most {most:,}, with its method, url and headers. Keep"
                " the data elsewhere and pass its key.",
                size=self.size,
                limit=most,
            )
        if self._tag and len(self._tag) > MAX_TAG_LENGTH:
            raise InvalidTagError(
                f"tag: at most {MAX_TAG_LENGTH} characters, and this has {len(self._tag)}.", field="tag"
            )

    def _named_target(self, kwargs: dict[str, Any]) -> str | None:
        """A target that was only concluded from the request at hand says nothing about who shall run the task."""
        named = kwargs.get("target") is not None or "Host" in CaselessHeaders(kwargs.get("headers") or {})
        return self._target if named and isinstance(self._target, str) else None

    # ---- what it is

    @property
    def name(self) -> str | None:
        """Its name; None: it has been given none, and was not added yet."""
        return self._name

    @property
    def method(self) -> str:
        """POST, GET, HEAD, PUT, DELETE or PULL."""
        return self._method

    @property
    def url(self) -> str:
        """Where it is delivered to, with the query; without a path if that is the one of its queue."""
        return self._url

    @property
    def on_queue_url(self) -> bool:
        """Whether it is delivered to the url of its queue."""
        return self._on_queue_url

    @property
    def payload(self) -> bytes | str | None:
        """The body of the request, a text where it was made of params; None: there is none."""
        return self._payload

    @property
    def headers(self) -> dict[str, Any]:
        """A copy of the headers."""
        return self._headers.copy()

    @property
    def eta(self) -> datetime:
        """When it is due, or when its lease ends: in UTC."""
        return datetime.fromtimestamp(self._eta_posix, UTC)

    @property
    def eta_posix(self) -> float:
        """The same in seconds since the epoch."""
        return self._eta_posix

    @property
    def _eta_usec(self) -> int:
        return round(self._eta_posix * 1e6)

    @property
    def size(self) -> int:
        """Bytes of method, url, headers and payload."""
        headers = sum(len(name) + len(value) + _SEPARATORS for name, value in self._headers.flattened())
        return len(self._method) + len(self._payload or b"") + len(self._url) + headers

    @property
    def target(self) -> str | Version:
        """Which version or module it is meant for."""
        return self._target

    @property
    def tag(self) -> str | None:
        """What a pull task can be leased by."""
        return self._tag

    @property
    def queue_name(self) -> str | None:
        """The queue it was added to."""
        return self._queue_name

    @property
    def retry_count(self) -> int:
        """Of a leased pull task: how often it was leased."""
        return self._retry_count

    @property
    def retry_options(self) -> Any:
        """The TaskRetryOptions it was given."""
        return self._retry_options

    @property
    def dispatch_deadline_usec(self) -> int | None:
        """How long a delivery may take."""
        return self._dispatch_deadline_usec

    @property
    def was_enqueued(self) -> bool:
        """Whether it was added to a queue."""
        return self._enqueued

    @property
    def was_deleted(self) -> bool:
        """Whether it was deleted by way of this object."""
        return self._deleted

    def extract_params(self) -> dict[Any, bytes | list[bytes]]:
        """The parameters: from the body of a POST or a pull task, from the query of the others.

        A name that comes once has its value, one that comes more often a list. Names are as the payload is, text or
        bytes; values are bytes. Raises ValueError if they are none.
        """
        query: Any = self._payload if self._method in (PULL, "POST") else urlsplit(self._url).query
        found: dict[Any, list[bytes]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else ():
            found.setdefault(name, []).append(value if isinstance(value, bytes) else value.encode())
        return {name: values[0] if len(values) == 1 else values for name, values in found.items()}

    # ---- what is done with it

    def add(self, queue_name: str = DEFAULT_QUEUE, transactional: bool = False) -> Task:
        """Add it to a queue, and return it. See `Queue.add`."""
        added: Task = self.add_async(queue_name, transactional).get_result()
        return added

    def add_async(
        self, queue_name: str = DEFAULT_QUEUE, transactional: bool = False, rpc: UserRPC | None = None
    ) -> UserRPC:
        """The same, with an UserRPC whose `get_result()` returns it."""
        from deferq.compat.appengine.taskqueue.queue import Queue

        return Queue(queue_name).add_async(self, transactional, rpc)

    def _was_added(self, queue_name: str, name: str) -> None:
        self._queue_name, self._name, self._enqueued = queue_name, name, True

    def _was_deleted(self, deleted: bool) -> None:
        self._deleted = deleted

    def _lease_ends(self, eta_us: int) -> None:
        self._eta_posix = eta_us / 1e6

    @classmethod
    def _of_lease(
        cls, queue_name: str, name: str, payload: bytes, tag: str | None, eta_us: int, retry_count: int
    ) -> Task:
        """A pull task that was leased."""
        task = cls(payload=payload, name=name, method=PULL, tag=tag, _size_check=False)
        task._was_added(queue_name, name)
        task._lease_ends(eta_us)
        task._retry_count = retry_count
        return task

    def __repr__(self) -> str:
        own = ("tag",) if self._method == PULL else ("headers", "url", "target")
        fields = sorted((*_SHOWN, *own))
        return f"Task<{', '.join(f'{field}={getattr(self, field)!r}' for field in fields)}>"


_SHOWN = (
    "eta",
    "method",
    "name",
    "queue_name",
    "payload",
    "size",
    "retry_options",
    "was_enqueued",
    "was_deleted",
)


def _checked_name(name: str | None) -> str | None:
    if name and not re.fullmatch(TASK_NAME_PATTERN, name):
        raise InvalidTaskNameError(
            f"name: a task name has 1 to 500 ASCII letters, digits, '-' or '_' ({TASK_NAME_PATTERN}), and this one has"
            " not.",
            field="name",
        )
    return name


def _split(url: str | None) -> tuple[str, str]:
    """Path and query of an url of the application; both empty: it is the url of the queue."""
    if not url:
        return "", ""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _invalid_url("it cannot be read") from None
    if parts.scheme or parts.netloc:
        raise _invalid_url("it names a scheme or a host, and is to be a path of the application")
    if parts.fragment:
        raise _invalid_url("it has a fragment, which is never sent")
    if not parts.path.startswith("/"):
        raise _invalid_url("its path does not begin with a slash")
    if len(parts.path) > MAX_URL_LENGTH:
        raise _invalid_url(f"it has {len(parts.path):,} characters, and at most {MAX_URL_LENGTH:,} are allowed")
    return parts.path, parts.query


def _invalid_url(why: str) -> InvalidUrlError:
    return InvalidUrlError(f"url: {why}.", field="url")


def _add_namespaces(headers: CaselessHeaders) -> None:
    """What App Engine's namespaces travel by: nobody sets one here, so the current one is the empty one."""
    default = os.environ.get("HTTP_X_APPENGINE_DEFAULT_NAMESPACE")
    if default is not None:
        headers.setdefault("X-AppEngine-Default-Namespace", default)
    headers.setdefault("X-AppEngine-Current-Namespace", "")


def _body(payload: Any, headers: CaselessHeaders) -> bytes:
    if not payload:
        return b""
    if isinstance(payload, str):
        headers.setdefault("content-type", "text/plain; charset=utf-8")
        return payload.encode()
    if not isinstance(payload, bytes):
        raise InvalidTaskError(f"payload: text or bytes are expected, not an object of type {type(payload).__name__}.")
    return payload


def _check_deadline(usec: Any) -> None:
    if usec is None:
        return
    if not isinstance(usec, int):
        raise TypeError("dispatch_deadline_usec: a whole number of microseconds is expected.")
    if not MIN_DISPATCH_DEADLINE <= timedelta(seconds=min(usec, 10**15) / 1_000_000) <= MAX_DISPATCH_DEADLINE:
        raise InvalidDispatchDeadlineError(
            "dispatch_deadline_usec: between 15 seconds and 24 hours are allowed, in microseconds.",
            field="dispatch_deadline_usec",
        )
