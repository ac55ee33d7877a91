"""The machine under the figures: without it they mean little."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from statistics import median

TICKS = os.sysconf("SC_CLK_TCK")


def describe(folder: Path) -> dict[str, str]:
    """What to know about this machine, as label and value."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return {
        "date": time.strftime("%Y-%m-%d"),
        "CPUs": f"{os.cpu_count()} ({_cpu_model()}), load before the run {load}",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": sqlite3.sqlite_version,
        "file system": file_system_of(folder),
        "fsync": f"{fsync_ms(folder):.3f} ms (median of 200 appends of 4 KiB)",
        "synchronous": "FULL unless a row says otherwise",
        "peers": ", ".join(_versions()),
    }


def file_system_of(folder: Path) -> str:
    """Type of the file system that holds `folder`."""
    best, kind = "", "unknown"
    for line in _lines(Path("/proc/self/mountinfo")):
        before, _, after = line.partition(" - ")
        mount = before.split()[4]
        if len(mount) >= len(best) and folder.resolve().is_relative_to(mount):
            best, kind = mount, after.split()[0]
    return kind


def fsync_ms(folder: Path, count: int = 200) -> float:
    """Milliseconds that a file takes to become durable after an append of a page."""
    path, block, took = folder / "fsync", b"\0" * 4096, []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            begun = time.perf_counter()
            os.write(descriptor, block)
            os.fsync(descriptor)
            took.append(time.perf_counter() - begun)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(took) * 1000


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (status := _stat(int(entry.name))):
            children.setdefault(int(status[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_s(root: int) -> float:
    """CPU seconds that a tree has used: to the nanosecond where the kernel counts them, else in clock ticks."""
    return sum(max(_precise_s(pid), _ticks_s(pid)) for pid in tree(root))


def pss_mib(root: int) -> float:
    """Memory of a tree in MiB, pages that processes share divided among them."""
    kib = 0
    for pid in tree(root):
        for line in _lines(Path(f"/proc/{pid}/smaps_rollup")):
            if line.startswith("Pss:"):
                kib += int(line.split()[1])
    return kib / 1024


def _precise_s(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(line.split()[0]) for task in tasks for line in _lines(task)) / 1e9


def _ticks_s(pid: int) -> float:
    status = _stat(pid)
    return (int(status[11]) + int(status[12])) / TICKS if status else 0.0


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name: state, parent, ..."""
    for line in _lines(Path(f"/proc/{pid}/stat")):
        return line.rpartition(")")[2].split()
    return []


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text().splitlines()
    except OSError:
        return


def _cpu_model() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> Iterator[str]:
    for package in ("huey", "dramatiq", "rq", "redis"):
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            yield f"{package} missing"
    yield _redis_version()


def _redis_version() -> str:
    if shutil.which("redis-server") is None:
        return "redis-server missing (apt-get install redis-server)"
    words = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return "redis-server " + next((word[2:] for word in words if word.startswith("v=")), "?")
