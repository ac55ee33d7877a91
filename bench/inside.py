"""A process with a worker in its own threads, as a web server embeds it: python -m bench.inside URL"""

from __future__ import annotations

import signal
import sys

from bench.ours import connect


def main(url: str) -> None:
    """Work until SIGTERM."""
    with connect(url) as deferq:
        worker = deferq.worker()
        signal.signal(signal.SIGTERM, lambda *_: worker.request_stop())
        worker.run()


if __name__ == "__main__":
    main(sys.argv[1])
