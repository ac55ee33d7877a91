"""queue.yaml takes effect: which file it is, whose word wins, what becomes of tasks."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deferq import ConfigError, Deferq, Queue, RetryPolicy, UnknownQueueError, configure
from deferq import default as default_module
from deferq.compat.appengine import deferred, load_queue_yaml, taskqueue
from deferq.engines.base import Filter, LeasingEngine
from deferq.engines.declaring import declare
from deferq.engines.memory import MemoryEngine
from deferq.engines.sqlite import SqliteEngine
from deferq.errors import QueueYamlError
from deferq.model.outcome import SUCCEEDED
from deferq.model.settings import QueueSettings
from deferq.model.task import Task
from tests.support import START, US, FakeClock, TaskMaker, lease, sample_tasks, settle
from tests.support.sample_tasks import note

NAMES = ("queue.yaml", "queue.yml")
MAIL = "queue:\n- name: mail\n  rate: 2/s\n  target: worker\n  retry_parameters: {task_retry_limit: 3}\n"
INDEX = "queue:\n- name: index\n  rate: 1/s\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, a project of its own, with nothing in the environment and no default Deferq."""
    monkeypatch.setattr(default_module, "_default", None)
    monkeypatch.setattr(default_module, "_queue_files", NAMES)
    monkeypatch.delenv("DEFERQ_QUEUE_YAML", raising=False)
    monkeypatch.setenv("DEFERQ_URL", "memory://")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    sample_tasks.forget()
    yield tmp_path
    if default_module._default is not None:
        default_module._default.close()


def write(path: Path, text: str = MAIL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def queues() -> set[str]:
    return set(default_module.default().queues)


def settings_of(app: Deferq, name: str) -> QueueSettings:
    return next(queue for queue in app.engine.queues() if queue.name == name)


# ---- which file


def test_without_a_file_nothing_is_declared_and_any_queue_will_do() -> None:
    assert queues() == set()
    assert default_module.call(note).defer(queue="whatever").task.queue == "whatever"


@pytest.mark.parametrize("name", NAMES)
def test_the_file_beside_the_application_is_found(folder: Path, name: str) -> None:
    write(folder / name)
    assert queues() == {"default", "mail"}


def test_it_is_found_where_modules_come_from_first_and_in_the_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "deep").mkdir()
    monkeypatch.chdir(folder / "deep")
    write(folder / "queue.yaml", INDEX)
    assert queues() == {"default", "index"}
    write(folder / "elsewhere" / "queue.yaml", MAIL)
    configure()
    assert queues() == {"default", "mail"}
    write(folder / "deep" / "queue.yaml", "queue:\n")
    configure()
    assert queues() == {"default"}


def test_no_file_is_looked_for_before_the_queues_are_needed(folder: Path) -> None:
    app = configure()
    write(folder / "queue.yaml")
    assert set(app.queues) == {"default", "mail"}


def test_a_deferq_that_is_not_the_default_looks_for_none(folder: Path) -> None:
    write(folder / "queue.yaml")
    assert Deferq("memory://").queues == {}


@pytest.mark.parametrize("how", ["argument", "environment", "project", "whole path"])
def test_the_setting_says_which(folder: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "queue.yaml", INDEX)
    path = write(folder / "conf" / "queues.yaml")
    if how == "environment":
        monkeypatch.setenv("DEFERQ_QUEUE_YAML", "conf/queues.yaml")
    if how == "project":
        (folder / "pyproject.toml").write_text("[tool.deferq]\nqueue_yaml = 'conf/queues.yaml'\n")
    given = {"argument": {"queue_yaml": "conf/queues.yaml"}, "whole path": {"queue_yaml": str(path)}}.get(how, {})
    configure(**given)
    assert queues() == {"default", "mail"}
    assert set(Deferq("memory://", **given).queues) == {"default", "mail"}


def test_the_setting_may_say_that_there_is_none(folder: Path) -> None:
    write(folder / "queue.yaml")
    configure(queue_yaml="none")
    assert queues() == set()


def test_a_file_that_is_named_has_to_be_there(folder: Path) -> None:
    write(folder / "queue.yaml")
    configure(queue_yaml="nowhere.yaml")
    with pytest.raises(ConfigError, match=r"there is no file .*nowhere.yaml \(code, .*test_queue_yaml_applied.py"):
        queues()


def test_importing_the_package_is_enough_and_opens_nothing(folder: Path) -> None:
    """In a process of its own: here it is imported already."""
    write(folder / "queue.yaml")
    program = (
        "import deferq, sys\n"
        "assert deferq.Deferq('memory://').queues == {}\n"
        "import deferq.compat.appengine\n"
        "assert 'yaml' not in sys.modules\n"
        "from deferq.default import default\n"
        "print(sorted(default().queues))"
    )
    assert ran(program) == "['default', 'mail']\n"


def ran(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_pyyaml_it_is_said_how_to_get_it(folder: Path) -> None:
    write(folder / "queue.yaml")
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from deferq.compat.appengine import load_queue_yaml\n"
        "from deferq.default import default\n"
        "for ask in (lambda: default().queues, lambda: load_queue_yaml('queue.yaml')):\n"
        "    try: ask()\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
        "default().settings.values['queue_yaml'] = ('none', '')\n"
        "print(default().queues)"
    )
    first, second, third = ran(program).splitlines()
    assert first == second
    assert first.startswith("ConfigError ")
    assert 'pip install "deferq[gae]"' in first
    assert third == "{}"


# ---- a file that is named in code


def test_a_file_that_code_names_wins_over_the_setting_and_over_what_is_found(folder: Path) -> None:
    write(folder / "queue.yaml", "queue:\n")
    write(folder / "set.yaml", INDEX)
    configure(queue_yaml="set.yaml")
    said = load_queue_yaml(write(folder / "named.yaml"))
    assert set(said.queues) == queues() == {"default", "mail"}
    configure(queue_yaml="set.yaml")  # another default; the file is still the one
    assert queues() == {"default", "mail"}


def test_an_open_store_learns_of_it_at_once_and_calls_are_made_anew(folder: Path) -> None:
    app = configure()
    app.defer(note)
    load_queue_yaml(write(folder / "named.yaml", "queue:\n- name: default\n  rate: 9/s\n  target: worker\n"))
    assert settings_of(app, "default").limits.rate == "9/s"
    assert app.defer(note).task.route == "worker"


def test_it_can_be_loaded_for_another_deferq(folder: Path) -> None:
    other = Deferq("memory://")
    load_queue_yaml(write(folder / "named.yaml"), other)
    assert set(other.queues) == {"default", "mail"}
    assert queues() == set()


def test_a_file_with_mistakes_changes_nothing(folder: Path) -> None:
    app = configure(queues={"index": Queue()})
    with pytest.raises(QueueYamlError, match=r"bad\.yaml:1:1: "):
        load_queue_yaml(write(folder / "bad.yaml", "queues:\n"))
    assert set(app.queues) == {"index"}


# ---- what it does


def test_tasks_have_the_policy_and_the_route_that_the_file_gives_their_queue(folder: Path) -> None:
    write(folder / "queue.yaml")
    app = configure()
    task = app.call(note).defer(queue="mail").task
    assert (task.options.retry, task.route) == (RetryPolicy(max_attempts=4, jitter=False), "worker")
    assert settings_of(app, "mail").limits.rate == "2/s"
    own = app.call(note).defer(queue="mail", retry=RetryPolicy(max_attempts=9), route="mine").task
    assert (own.options.retry, own.route) == (RetryPolicy(max_attempts=9), "mine")


def test_tasks_of_the_task_queue_have_them_too(folder: Path) -> None:
    write(folder / "queue.yaml")
    app = configure()
    taskqueue.add(url="/jobs", queue_name="mail", name="one")
    taskqueue.add(
        url="/jobs", queue_name="mail", name="two", target="mine",
        retry_options=taskqueue.TaskRetryOptions(task_retry_limit=0),
    )  # fmt: skip
    stored = {task.name: task for task in find(app)}
    assert (stored["one"].options.retry.max_attempts, stored["one"].route) == (4, "worker")
    assert (stored["two"].options.retry.max_attempts, stored["two"].route) == (1, "mine")


def test_calls_that_are_deferred_as_on_app_engine_have_them_too(folder: Path) -> None:
    write(folder / "queue.yaml")
    app = configure()
    deferred.defer(note, _queue="mail", _name="one")
    deferred.defer(note, _queue="mail", _name="two", _retry_options=taskqueue.TaskRetryOptions(task_retry_limit=0))
    deferred.defer(note, "x" * 200_000, _queue="mail", _name="large")
    stored = {task.name: (task.options.retry.max_attempts, task.route) for task in find(app)}
    assert stored == {"one": (4, "worker"), "two": (1, "worker"), "large": (4, "worker")}
    with pytest.raises(taskqueue.UnknownQueueError, match=r"Did you mean 'mail'\?"):
        deferred.defer(note, _queue="mial")


def test_a_pull_queue_of_the_file_is_pulled_from_and_takes_nothing_else(folder: Path) -> None:
    write(folder / "queue.yaml", "queue:\n- name: exports\n  mode: pull\n")
    app = configure()
    exports = taskqueue.Queue("exports")
    exports.add(taskqueue.Task(payload="x", method="PULL"))
    assert lease(app.engine) == [], "it is no worker's business"
    assert [task.payload for task in exports.lease_tasks(60, 10)] == [b"x"]
    with pytest.raises(taskqueue.InvalidQueueModeError):
        taskqueue.add(url="/jobs", queue_name="exports")
    with pytest.raises(taskqueue.InvalidQueueModeError):
        taskqueue.Queue().add(taskqueue.Task(payload="x", method="PULL"))


def find(app: Deferq) -> list[Task]:
    return app.engine.find(Filter()).tasks


def test_a_queue_that_the_file_does_not_name_is_unknown(folder: Path) -> None:
    write(folder / "queue.yaml")
    app = configure()
    with pytest.raises(
        UnknownQueueError, match=r"'mial' is not declared\. Did you mean 'mail'\? Declare it in queue\.yaml"
    ):
        app.call(note).defer(queue="mial")
    with pytest.raises(taskqueue.UnknownQueueError, match="'mial' is not declared"):
        taskqueue.add(url="/jobs", queue_name="mial")


def test_what_code_says_of_a_queue_wins_over_the_file(folder: Path) -> None:
    write(folder / "queue.yaml")
    app = configure(queues={"mail": Queue(max_concurrent=1), "index": Queue()})
    assert set(app.queues) == {"default", "mail", "index"}
    assert app.queues["mail"] == Queue(max_concurrent=1)


def test_a_file_with_mistakes_refuses_the_first_call_and_looking_goes_on(folder: Path) -> None:
    write(folder / "queue.yaml", "queue: 5\n")
    app = configure()
    assert app.engine.counts().queues == ()
    with pytest.raises(QueueYamlError, match=r"queue\.yaml:1:8: Expected a list of queues"):
        app.defer(note)
    assert find(app) == []
    write(folder / "queue.yaml")  # which is looked at again, since nothing was taken from it
    assert app.call(note).defer(queue="mail").task.route == "worker"


def test_what_is_odd_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(folder / "queue.yaml", "queue:\n- name: mail\n")
    with caplog.at_level(logging.WARNING, "deferq"):
        configure().defer(note)
    assert caplog.messages == [f"{path}:2:9: rate: queue mail has none, and gets 5/s. Give it one."]


def test_a_stopped_queue_takes_tasks_and_an_operator_lets_it_go_on(folder: Path) -> None:
    write(folder / "queue.yaml", "queue:\n- name: mail\n  rate: 0\n")
    app = configure()
    app.call(note).defer(queue="mail")
    assert settings_of(app, "mail").paused
    assert lease(app.engine) == []


# ---- rates are kept


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest, folder: Path, clock: FakeClock) -> Iterator[LeasingEngine]:
    made = MemoryEngine(clock=clock) if request.param == "memory" else SqliteEngine(folder / "jobs.db", clock=clock)
    with closing(made) as engine:
        yield engine


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.mark.parametrize(
    ("rate", "bucket", "per_s"),
    [("5/s", 5, 5), ("5/s", 100, 5), ("60/m", 1, 1), ("0.5/s", 20, 0.5), ("36000/h", 10, 10)],
)
def test_two_hundred_tasks_start_as_the_file_says(
    engine: LeasingEngine, clock: FakeClock, folder: Path, rate: str, bucket: int, per_s: float
) -> None:
    text = f"queue:\n- {{name: mail, rate: {rate}, bucket_size: {bucket}}}\n"
    declare(engine, configure(queue_yaml=str(write(folder / "queue.yaml", text))).queues)
    engine.put(TaskMaker(clock).many(200, "mail"))
    started = started_at(engine, clock, 200, 1 / per_s)
    assert started[-1] == pytest.approx((200 - bucket) / per_s)
    assert all(number + 1 <= bucket + per_s * at + 1e-6 for number, at in enumerate(started))


def started_at(engine: LeasingEngine, clock: FakeClock, count: int, step_s: float) -> list[float]:
    """After how many seconds each task starts, if somebody with free slots asks every `step_s`."""
    started: list[float] = []
    for _ in range(count):
        leased = lease(engine, count)
        started += [(clock.now - START) / US] * len(leased)
        for task in leased:
            settle(engine, task, SUCCEEDED)
        clock.advance(step_s)
    assert len(started) == count
    return started


def test_no_more_run_at_a_time_than_the_file_says(engine: LeasingEngine, clock: FakeClock, folder: Path) -> None:
    text = "queue:\n- {name: mail, rate: 500/s, bucket_size: 500, max_concurrent_requests: 7}\n"
    app = configure(queue_yaml=str(write(folder / "queue.yaml", text)))
    declare(engine, app.queues)
    engine.put(TaskMaker(clock).many(20, "mail"))
    assert len(lease(engine, 20)) == 7
    assert lease(engine, 20) == []
