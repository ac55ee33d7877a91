"""The embedded worker in real servers: started by their commands, asked by HTTP, stopped by signals."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deferq.model.task import State
from tests.docs.pages import blocks
from tests.process.servers.running import PAGE, Site
from tests.process.servers.table import SERVERS, UNTOLD, Server

TASKS = 60


def each(servers: list[Any], *, quick: bool = False) -> list[Any]:
    """Servers as parameters; slow ones, but for the quick."""
    return [
        pytest.param(
            one, id=one.name.replace(", ", "-").replace(" ", "-"), marks=() if quick and one.quick else pytest.mark.slow
        )
        for one in servers
    ]


@pytest.fixture(scope="module", params=each(SERVERS, quick=True))
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Each server in turn, started when a task was due already, with all its workers at work."""
    site = Site(request.param, tmp_path_factory.mktemp("site"))
    try:
        site.early = site.defer_from_elsewhere()
        site.start()
        site.wait_for_workers()
        yield site
    finally:
        site.close()


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    """A server that is yet to be started."""
    site = Site(server, tmp_path)
    yield site
    site.close()


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_the_command_stands_on_the_page(server: Server) -> None:
    assert server.command in [line for block in blocks(PAGE, "") for line in block.splitlines()]


# ---- while it runs


def test_what_was_due_before_the_server_started_runs_without_a_request(running: Site) -> None:
    assert running.early is not None
    running.wait_for_success(running.early)


def test_importing_the_application_starts_no_thread_and_opens_no_store(running: Site) -> None:
    assert running.lines("imported")
    assert [what for _, *what in running.lines("imported") if what] == []


def test_a_task_of_a_request_runs_in_a_process_that_serves(running: Site) -> None:
    running.wait_for_success(*running.defer("note"))
    pids = {int(pid) for _, pid in running.lines("ran")}
    assert pids <= running.serving()


def test_each_process_that_serves_has_one_worker_and_the_one_above_them_has_none(running: Site) -> None:
    running.get("/here")
    assert running.workers() == running.serving()
    assert len(running.bells()) == running.server.processes
    if running.server.parent:
        assert files_of_the_store(running, running.process.pid) == []


def test_no_task_runs_twice(running: Site) -> None:
    before = len(running.lines("ran"))
    ids = running.defer("note", TASKS)
    running.wait_for_success(*ids)
    assert Counter(number for number, _ in running.lines("ran")[before:]) == dict.fromkeys(map(str, range(TASKS)), 1)
    assert {running.task(one).attempts for one in ids} == {1}


def test_the_processes_share_the_work(running: Site) -> None:
    running.wait_for_success(*running.defer("meet", running.server.processes))
    assert {int(pid) for _, pid in running.lines("met")} == running.serving()


@pytest.mark.slow
@pytest.mark.parametrize("server", each(UNTOLD))
def test_where_nobody_says_that_a_process_begins_its_first_request_starts_the_worker(site: Site) -> None:
    (site.folder / "gunicorn.conf.py").unlink()
    early = site.defer_from_elsewhere()
    site.start()
    site.wait_until(site.listens, "an open port")
    assert (site.workers(), site.bells(), site.task(early).state) == (set(), [], State.PENDING)

    site.get("/here")

    site.wait_for_success(early)
    site.wait_for_workers()


# ---- how it ends


STOPS = [(server, number, code) for server in SERVERS for number, code in server.stops]


@pytest.mark.slow
@pytest.mark.parametrize(("server", "number", "code"), STOPS, ids=lambda value: getattr(value, "name", value))
def test_a_stop_lets_the_running_task_finish_and_leaves_nothing_behind(
    site: Site, number: signal.Signals, code: int
) -> None:
    site.start()
    site.wait_for_workers()
    held = site.defer("hold", site.server.processes)
    site.wait_until(lambda: len(site.lines("begun")) == len(held), "the tasks to begin")
    waiting = [site.defer_from_elsewhere()]  # a server may be cut short that still serves the request of before
    site.send(number)
    (site.folder / "go").touch()

    assert site.exit_code() == code, site.output()

    assert {site.task(one).state for one in held} == {State.SUCCEEDED}
    assert {site.task(one).state for one in waiting} <= {State.SUCCEEDED, State.PENDING}
    assert (site.leased(), site.bells(), site.workers()) == ([], [], set())
    assert "Traceback" not in site.output()


@pytest.mark.slow
@pytest.mark.parametrize("server", each(SERVERS))
def test_the_task_of_a_killed_process_runs_again(site: Site) -> None:
    site.start(LEASE_S="6")
    (task_id,) = site.defer("hold")
    site.wait_until(lambda: bool(site.lines("begun")), "the task to begin")
    (_, pid), *_ = site.lines("begun")
    if site.server.processes == 1:  # nobody is left, so the server is started again
        site.kill()
        site.start(LEASE_S="6")
    else:
        os.kill(int(pid), signal.SIGKILL)
    (site.folder / "go").touch()

    site.wait_for_success(task_id)

    assert [failure.error_type for failure in site.store.task(task_id).details().failures] == ["WorkerLost"]
    assert {line[1] for line in site.lines("begun")} > {pid}


RELOADING = [server for server in SERVERS if server.source is not None]


@pytest.mark.slow
@pytest.mark.parametrize("server", each(RELOADING))
def test_after_a_reload_a_new_worker_runs_the_tasks_and_the_old_one_is_gone(site: Site) -> None:
    site.start()
    site.wait_for_success(*site.defer("note"))
    site.wait_for_workers()

    site.reload()

    site.wait_for_workers()

    assert len(site.bells()) == 1
    site.wait_for_success(*site.defer("note"))
    assert [what for _, *what in site.lines("imported") if what] == []
    assert "Traceback" not in site.output()


@pytest.mark.slow
@pytest.mark.parametrize("server", each(SERVERS))
def test_with_an_external_worker_no_server_starts_one(site: Site) -> None:
    site.start(DEFERQ_WORKER="external")
    (task_id,) = site.defer("note")
    assert [word for word in site.get("/here").split() if word.startswith("deferq")] == []
    assert (site.workers(), site.bells(), site.task(task_id).state) == (set(), [], State.PENDING)


@pytest.mark.slow
@pytest.mark.parametrize("server", each([one for one in SERVERS if one.name == "gunicorn preloading"]))
def test_what_was_opened_before_the_fork_is_not_inherited(site: Site) -> None:
    """The application defers while it is imported, so the process that forks has the store open."""
    site.start(DEFER_AT_IMPORT="1", DEFERQ_WORKER="external")
    _, *inherited = site.get("/here").split()
    assert files_of_the_store(site, site.process.pid) != []
    assert inherited == []
    site.kill()

    site.start(DEFER_AT_IMPORT="1")
    site.wait_until(lambda: len(site.lines("ran")) == 2, "the tasks of both starts")
    site.wait_for_workers()


def files_of_the_store(site: Site, pid: int) -> list[str]:
    """What a process has open there."""
    paths = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        if descriptor.is_symlink():
            paths.append(str(descriptor.readlink()))
    return [path for path in paths if path.startswith(f"{site.folder}/jobs.db")]
