"""Real processes, watched line by line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 20.0


class Running:
    """`deferq ...` in a folder, with everything it prints. At the end of the block nothing of it lives on."""

    def __init__(self, folder: Path, *words: str, command: Sequence[str] = ("-m", "deferq")) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command, *words],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *raised: object) -> None:
        with suppress(ProcessLookupError):
            self.send_to_all(signal.SIGKILL)
        self.process.wait()
        self.wait_for_silence()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str, *, times: int = 1) -> str:
        """Wait until `text` has been printed in so many lines; returns the last of them."""
        with self._news:
            shown = self._news.wait_for(lambda: len(self._with(text)) >= times or self._ended, PATIENCE_S)
            found = self._with(text)
        assert shown, f"no {text!r} within {PATIENCE_S} s in:\n{self.output}"
        assert len(found) >= times, f"it ended without {text!r}:\n{self.output}"
        return found[-1]

    def wait_for_silence(self) -> None:
        """Wait until nobody can print any more: neither the process nor a child of it."""
        with self._news:
            assert self._news.wait_for(lambda: self._ended, PATIENCE_S), f"somebody still lives:\n{self.output}"

    def send(self, signal_number: int) -> None:
        self.process.send_signal(signal_number)

    def send_to_all(self, signal_number: int) -> None:
        """As a terminal does with Ctrl-C: to the process and its children."""
        os.killpg(self.process.pid, signal_number)

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)

    def _with(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def environment() -> dict[str, str]:
    """Ours, without what would configure deferq."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DEFERQ_")}


def wait_for_file(path: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < ends, f"no {path.name}"
        time.sleep(0.005)
