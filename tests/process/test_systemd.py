"""What systemd is told, by a real socket that plays its part, and the unit files of the pages."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deferq.cli.notifying import service_listeners
from deferq.model.events import Event, EventName
from deferq.runtime.config import WorkerConfig
from tests.cli.processes import PATIENCE_S, Running
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "howto" / "run-a-worker-as-a-service.md"
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Systemd:
    """The end of the socket at which systemd listens."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(PATIENCE_S)

    def hears(self) -> str:
        return self._socket.recv(4096).decode()

    def waits_for(self, words: str) -> None:
        while words not in self.hears().splitlines():
            pass

    def is_silent(self, for_s: float) -> bool:
        """Whether nothing comes for so long; what does come is heard."""
        if not select.select([self._socket], [], [], for_s)[0]:
            return True
        self.hears()
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)  # the path of a socket may have 107 bytes at most
    address = f"/tmp/deferq-test-{os.getpid()}.socket"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    listening = Systemd(address)
    yield listening
    listening.close()
    os.unlink(address)


def worker(folder: Path) -> Running:
    (folder / "pyproject.toml").write_text("")
    return Running(folder, "worker")


def test_a_worker_says_when_it_is_ready_and_when_it_stops(tmp_path: Path, systemd: Systemd) -> None:
    with worker(tmp_path) as running:
        assert systemd.hears().splitlines()[0] == "READY=1"
        running.send(signal.SIGTERM)
        assert systemd.hears().splitlines()[0] == "STOPPING=1"
        assert running.exit_code() == 0


def test_a_watched_worker_says_again_and_again_that_it_is_alive(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    with worker(tmp_path) as running:
        for _ in range(3):
            systemd.waits_for("WATCHDOG=1")
        running.send(signal.SIGSTOP)
        hear_it_out(systemd)
        running.send(signal.SIGCONT)
        systemd.waits_for("WATCHDOG=1")


def hear_it_out(systemd: Systemd) -> None:
    """A stopped process falls silent."""
    silent = False
    while not silent:
        silent = systemd.is_silent(1.0)


def test_a_socket_without_a_file_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"deferq-test-{os.getpid()}"
    listening = Systemd(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")

    (listener,) = service_listeners()
    listener(Event(EventName.WORKER_STARTED, 0))

    assert listening.hears() == "READY=1\nSTATUS=works"
    listening.close()


def test_a_systemd_that_does_not_listen_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/tmp/deferq-test-nobody-listens.socket")

    (listener,) = service_listeners()

    listener(Event(EventName.WORKER_STARTED, 0))


def test_outages_of_the_store_are_told(systemd: Systemd) -> None:
    (listener,) = service_listeners()

    listener(Event(EventName.STORE_UNAVAILABLE, 0))
    listener(Event(EventName.STORE_RECOVERED, 0))

    assert "out of reach" in systemd.hears()
    assert systemd.hears() == "STATUS=works"


@pytest.mark.usefixtures("systemd")
def test_what_a_task_starts_does_not_speak_for_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")

    service_listeners()

    assert [name for name in VARIABLES if name in os.environ] == []


def test_without_systemd_there_is_no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert service_listeners() == []


# ---- the page


def units() -> list[str]:
    return [block for block in blocks(PAGE, "ini") if "[Service]" in block]


def test_the_page_has_a_unit_and_a_template() -> None:
    assert ["%i" in unit for unit in units()] == [False, True]


@pytest.mark.parametrize("nth", [0, 1])
def test_a_unit_gives_more_time_to_stop_than_tasks_have_to_finish(nth: int) -> None:
    (given,) = re.findall(r"^TimeoutStopSec=(\d+)$", units()[nth], re.MULTILINE)

    assert int(given) > WorkerConfig().drain_s


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize(("nth", "name"), [(0, "shop-worker.service"), (1, "shop-worker@.service")])
def test_systemd_understands_a_unit(nth: int, name: str, tmp_path: Path) -> None:
    unit = tmp_path / name
    unit.write_text(units()[nth].replace("/srv/shop/.venv/bin/deferq", shutil.which("true") or "/bin/true"))

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )

    complaints = [line for line in (checked.stdout + checked.stderr).splitlines() if "shop-worker" in line]
    assert complaints == []
