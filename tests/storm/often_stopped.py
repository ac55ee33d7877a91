"""A worker that begins again whenever SIGTERM has stopped it: `often_stopped.py URL`. It ends when a file says so.

How many signals it has heard stands in the file `heard`.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from deferq import Deferq

heard = 0


def main(url: str) -> None:
    with Deferq(url) as deferq:
        worker = deferq.worker(threads=4, listeners=())

        def on_sigterm(*_: object) -> None:
            global heard
            heard += 1
            worker.request_stop()

        signal.signal(signal.SIGTERM, on_sigterm)
        print("ready", flush=True)
        while not Path("enough").exists():
            worker.run()
        Path("heard").write_text(str(heard))


if __name__ == "__main__":
    main(*sys.argv[1:])
