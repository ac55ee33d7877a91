"""The header Host of a task, and which version of the application it means: two ways to say the same.

App Engine puts both into the environment of a request. Where it is not there, neither is known, and none is needed.
"""

from __future__ import annotations

import os

from deferq.compat.appengine.taskqueue.errors import InvalidTaskError
from deferq.compat.appengine.taskqueue.limits import DEFAULT_APP_VERSION, UNKNOWN_APP_VERSION, Version
from deferq.compat.appengine.taskqueue.params import CaselessHeaders


def resolve(target: str | Version | None, headers: CaselessHeaders) -> str | Version:
    """The target of a task; writes the header that goes with it. Raises InvalidTaskError if both are given."""
    if target is not None:
        if "Host" in headers:
            raise InvalidTaskError("target and the header Host say the same; give one of them, not both.")
        if host := _host_of(target):
            headers["Host"] = host
        return target
    if "Host" not in headers:
        host = os.environ.get("HTTP_HOST")
        if not host:
            return UNKNOWN_APP_VERSION
        headers["Host"] = host
    return _target_of(headers["Host"])


def _host_of(target: str | Version) -> str | None:
    default = os.environ.get("DEFAULT_VERSION_HOSTNAME")
    if default is None or target is DEFAULT_APP_VERSION:
        return default
    return f"{target}.{default}"


def _target_of(host: str) -> str | Version:
    default = os.environ.get("DEFAULT_VERSION_HOSTNAME")
    if default is None:
        return UNKNOWN_APP_VERSION
    version = host[: -len(default) - 1] if host.endswith(default) else ""
    return version or DEFAULT_APP_VERSION
