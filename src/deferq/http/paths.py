"""Where the handler is, said without loading what reads deliveries."""

from __future__ import annotations

from typing import Final

#: Nothing under it reaches the application.
OUR_PATHS: Final = "/_deferq/"
#: The same as `wire.RUN_PATH`.
RUN_PATH: Final = "/_deferq/run"
