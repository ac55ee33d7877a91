"""A command in a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.cli.processes import PATIENCE_S, environment

#: The first terminal that the leader of a session opens becomes its own: then Ctrl-C and a hangup reach it.
LEAD = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execv(sys.executable, [sys.executable, "-m", "deferq", *sys.argv[1:]])
"""
CTRL_C = b"\x03"


class Terminal:
    """`deferq ...` on a terminal of 100 columns and 30 rows, with everything it sends there."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        named = {"TERM": "xterm", "COLUMNS": "100", "LINES": "30", "PYTHONSAFEPATH": ""}
        self.process = subprocess.Popen(
            [sys.executable, "-c", LEAD, *words],
            cwd=folder,
            env={**environment(), **named},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._bytes = b""
        self._hung_up = threading.Event()
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *raised: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.hang_up()

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

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def hang_up(self) -> None:
        """Close the window."""
        self._hung_up.set()
        self._reader.join(PATIENCE_S)
        if not self._closed:
            os.close(self._ours)
        self._closed = True

    def exit_code(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def _read(self) -> None:
        while not self._hung_up.is_set():
            if not select.select([self._ours], [], [], 0.05)[0]:
                continue
            try:
                read = os.read(self._ours, 65_536)
            except OSError:  # the other end is closed
                return
            if not read:
                return
            self._bytes += read
