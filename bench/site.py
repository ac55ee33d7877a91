"""The web application that tasks are pushed to; its server says by DEFERQ_URL which store it belongs to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from deferq import Deferq


def _hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


#: Its tasks are pushed, so it runs no worker.
app = Deferq(os.environ["DEFERQ_URL"], worker="external").wrap_wsgi(_hello)
