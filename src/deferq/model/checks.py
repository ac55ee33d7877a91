"""What the name, the route and the priority of a task may be."""

from __future__ import annotations

import re

from deferq.errors import InvalidName, InvalidOption

PRIORITY_MIN, PRIORITY_MAX = -100, 100
# Compiled when they are first needed: importing deferq is to be quick.
_TASK_NAME = r"[a-zA-Z0-9_-]{1,500}"
_ROUTE = r"[a-zA-Z0-9_.-]{1,100}"


def check_task_name(name: object) -> str:
    """Return `name` if it can name a task: 1 to 500 ASCII letters, digits, dashes or underscores.

    Raises InvalidName otherwise, without echoing the name.
    """
    if isinstance(name, str) and re.fullmatch(_TASK_NAME, name):
        return name
    raise InvalidName(
        "name: a task name has 1 to 500 ASCII letters, digits, '-' or '_', and this one has not.", field="name"
    )


def check_route(route: object) -> str | None:
    """Return `route` if it can name a group of workers: 1 to 100 ASCII letters, digits, dots, dashes or underscores.

    None means: any. Raises InvalidName otherwise, without echoing the route.
    """
    if route is None or (isinstance(route, str) and re.fullmatch(_ROUTE, route)):
        return route
    raise InvalidName(
        "route: a route has 1 to 100 ASCII letters, digits, '.', '-' or '_', and this one has not.", field="route"
    )


def check_priority(priority: object) -> int:
    """Return `priority` if it is a whole number from -100 to 100; raises InvalidOption otherwise."""
    if isinstance(priority, int) and not isinstance(priority, bool) and PRIORITY_MIN <= priority <= PRIORITY_MAX:
        return priority
    raise InvalidOption(
        f"priority: expected a whole number from {PRIORITY_MIN} to {PRIORITY_MAX}, higher is served first.",
        field="priority",
    )
