"""A command in a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

from tests.cli.processes import PATIENCE_S, environment


class Terminal:
    """`deferq ...` on a terminal of 100 columns and 30 rows, with everything it sends there."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        named = {"TERM": "xterm", "COLUMNS": "100", "LINES": "30", "PYTHONSAFEPATH": ""}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deferq", *words],
            cwd=folder,
            env={**environment(), **named},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._bytes = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *raised: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)
        os.close(self._ours)

    @property
    def output(self) -> str:
        return self._bytes.decode(errors="replace")

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Wait until `text` was sent so many times."""
        ends = time.monotonic() + PATIENCE_S
        while self.output.count(text) < times:
            assert time.monotonic() < ends, f"no {text!r} within {PATIENCE_S} s in:\n{self.output}"
            time.sleep(0.01)

    def send(self, signal_number: int) -> None:
        self.process.send_signal(signal_number)

    def exit_code(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._ours, 65_536)
            except OSError:  # the other end is closed
                return
            if not read:
                return
            self._bytes += read
