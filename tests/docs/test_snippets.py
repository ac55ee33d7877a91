"""What the pages show is run: files are written into a folder, and the rest is typed in beside a worker."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, name_of, snippets

RUNNER = Path(__file__).with_name("run_page.py")
WORKER = [sys.executable, "-m", "deferq", "worker", "--threads", "2"]
#: Packages that are shown, and need not be installed to run the tests.
FRAMEWORKS = ("flask", "django", "fastapi", "sqlalchemy")
PYTEST_ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def with_python(pages: list[Path]) -> list[Path]:
    return [page for page in pages if snippets(page)]


@pytest.mark.parametrize("page", with_python(PAGES), ids=name_of)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    files = write_files(page, tmp_path)
    session = [(name_of(page), one.line, one.code) for one in snippets(page) if one.file_name is None]
    listing = tmp_path / "session.json"
    listing.write_text(json.dumps(session))
    with worker(tmp_path):
        for path in files:
            if missing(path):
                continue
            run([sys.executable, path.name], tmp_path)
        run([sys.executable, str(RUNNER), str(listing)], tmp_path)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-task.md"])
def test_hello_prints_in_the_other_terminal(page: str, tmp_path: Path) -> None:
    write_files(ROOT / page, tmp_path)
    with worker(tmp_path, [sys.executable, "-m", "deferq", "dev", "hello.py"]) as output:
        run([sys.executable, "hello.py"], tmp_path)
        assert until(lambda: "\nhello world\n" in output.read_text()), output.read_text()


def test_the_web_application_of_the_tutorial_runs_its_tasks(tmp_path: Path) -> None:
    pytest.importorskip("flask")
    write_files(ROOT / "docs" / "tutorial" / "in-a-web-application.md", tmp_path)
    script = (
        "from deferq.default import default; from shop import app; client = app.test_client();"
        "answer = client.post('/orders/7'); assert answer.status_code == 202, answer;"
        "print(default().task(answer.json['task']).wait(10))"
    )
    assert run([sys.executable, "-c", script], tmp_path).strip() == "receipt for order 7"


def test_the_asgi_application_of_the_tutorial_runs_its_tasks(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    write_files(ROOT / "docs" / "tutorial" / "in-a-web-application.md", tmp_path)
    script = (
        "from deferq.default import default; from fastapi.testclient import TestClient; from api import app\n"
        "with TestClient(app) as client:\n"
        "    answer = client.post('/orders/7'); assert answer.status_code == 202, answer\n"
        "    print(default().task(answer.json()['task']).wait(10))"
    )
    assert run([sys.executable, "-c", script], tmp_path).strip() == "receipt for order 7"


def test_the_tests_on_the_page_about_tests_pass(tmp_path: Path) -> None:
    write_files(ROOT / "docs" / "howto" / "test-your-tasks.md", tmp_path)
    # As it is where deferq is installed, and whether it is installed here or not.
    run(
        [sys.executable, "-m", "pytest", "-p", "deferq.testing.plugin", "-p", "no:cacheprovider"],
        tmp_path,
        PYTEST_ALONE,
    )
    assert not (tmp_path / ".deferq").exists()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=name_of)
def test_the_settings_of_a_page_are_accepted(page: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("\n".join(blocks(page, "toml")))
    run([sys.executable, "-c", "import deferq; deferq.Deferq()"], tmp_path)


# ---- helpers


def write_files(page: Path, folder: Path) -> list[Path]:
    """The snippets that name a file."""
    paths = []
    for one in snippets(page):
        if one.file_name is not None:
            path = folder / one.file_name
            path.write_text(one.code)
            paths.append(path)
    return paths


def missing(path: Path) -> bool:
    """Whether a file needs a framework that is not installed, or a project that a page does not show."""
    imported = set(re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
    return "django" in imported or any(
        name in imported and importlib.util.find_spec(name) is None for name in FRAMEWORKS
    )


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEFERQ_")}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}


def run(command: list[str], folder: Path, more: Mapping[str, str] = MappingProxyType({})) -> str:
    ran = subprocess.run(
        command,
        cwd=folder,
        env={**environment(), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@contextmanager
def worker(folder: Path, command: Sequence[str] = WORKER) -> Iterator[Path]:
    """A worker on the folder's default store; yields the file it prints into."""
    output = folder / "worker.out"
    with output.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=out, stderr=out)
    try:
        assert until(lambda: "(pid " in output.read_text() or process.poll() is not None)
        yield output
        assert process.poll() is None, output.read_text()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
