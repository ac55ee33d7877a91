"""The pytest plugin, as a project finds it that has installed deferq."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import deferq

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "newsletter"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the entry points that deferq declares, as an installation leaves them."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    installed = tmp_path / "installed" / "deferq_as_installed-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: deferq-as-installed\nVersion: 0\n")
    lines = [f"[{group}]\n{name} = {where}" for group, names in declared.items() for name, where in names.items()]
    (installed / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEFERQ_", "PYTEST_"))}
    path = os.pathsep.join([str(Path(deferq.__file__).parent.parent), str(project / "installed")])
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env={**kept, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


FIXTURES = """
import pytest

from deferq import RetryPolicy, call, defer
from deferq.testing import assert_deferred, deferred_tasks


def test_tasks_are_recorded(deferq_tasks, deferq_clock):
    assert deferq_tasks.clock is deferq_clock
    defer(print, "hello")
    assert_deferred(print, "hello")
    assert deferq_tasks.drain()[0].outcome == "succeeded"


def test_each_test_begins_with_nothing(deferq_tasks):
    assert deferred_tasks() == []


def test_inline(deferq_inline, deferq_clock, capsys):
    defer(print, "hello")
    call(print, "later").defer(countdown=60)
    assert capsys.readouterr().out == "hello\\n"
    deferq_clock.advance(60)
    assert capsys.readouterr().out == "later\\n"


@pytest.mark.parametrize("order", [1])
def test_both_together_are_inline(deferq_tasks, deferq_inline, order):
    assert deferq_tasks is deferq_inline


@pytest.mark.usefixtures("deferq_inline")
class TestAll:
    def test_a_whole_class(self, capsys):
        defer(print, "hello")
        assert capsys.readouterr().out == "hello\\n"


def test_an_error_of_a_task_fails_the_test(deferq_inline):
    with pytest.raises(ZeroDivisionError):
        call(divmod, 1, 0).defer(retry=RetryPolicy(max_attempts=1))
"""

#: Runs when all plugins are loaded, and before any test is.
CONFTEST = """
import sys

import pytest

loaded = set(sys.modules)


@pytest.fixture
def loaded_before():
    return loaded
"""

UNUSED = """
def test_nothing_was_loaded_that_costs_time(loaded_before):
    assert "deferq.testing.plugin" in loaded_before
    costly = {"deferq.testing.recorder", "deferq.engines.base", "deferq.runtime", "deferq.stores"}
    assert not costly & loaded_before
"""


def test_a_project_s_tests_pass_and_leave_no_store(project: Path) -> None:
    (project / "conftest.py").write_text(CONFTEST)
    (project / "test_unused.py").write_text(UNUSED)
    (project / "test_fixtures.py").write_text(FIXTURES)
    for path in EXAMPLE.glob("*.py"):
        (project / path.name).write_text(path.read_text())
    ran = run(project, "pytest", "-p", "no:cacheprovider", "-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    number = sum(path.read_text().count("def test_") for path in project.glob("test_*.py"))
    assert f"{number} passed" in ran.stdout
    assert not (project / ".deferq").exists()


def test_the_example_is_tested_without_pytest_too(project: Path) -> None:
    for path in EXAMPLE.glob("*.py"):
        (project / path.name).write_text(path.read_text())
    ran = run(project, "unittest", "-q", "test_with_unittest")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Ran 2 tests" in ran.stderr
    assert not (project / ".deferq").exists()


def test_importing_the_package_loads_nothing_of_it() -> None:
    program = (
        "import deferq, sys; before = set(sys.modules); import deferq.testing;"
        "print(sorted(set(sys.modules) - before)); from deferq.testing import *;"
        "import deferq.testing as t; print([n for n in t.__all__ if n not in globals() or n not in dir(t)])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines() == ["['deferq.testing']", "[]"], ran.stderr
