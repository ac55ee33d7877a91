"""What Google's `ndb` has read and keeps, by the thread, until its request is over.

On App Engine each request begins with an empty environment, and `ndb` with an empty context. Here threads serve many
requests and run many tasks, and would go on with what others have read long ago.
"""

from __future__ import annotations

import sys
from typing import Final

from deferq.current import before_attempt

_MODULE: Final = "google.appengine.ext.ndb.tasklets"


def begin_anew() -> None:
    """Let `ndb`, if this process has loaded it, begin with an empty context in this thread."""
    tasklets = sys.modules.get(_MODULE)
    if tasklets is not None:
        tasklets.set_context(None)


def begin_anew_with_each_task() -> None:
    """From now on, before any worker of this process calls a function. Asked once or often, it is done once."""
    if begin_anew not in before_attempt:
        before_attempt.append(begin_anew)
