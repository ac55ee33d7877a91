"""Importing the application, and what is said when that fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deferq import Deferq
from deferq.cli.loading import AppNotLoaded, load


@pytest.fixture(autouse=True)
def _forget_modules(folder: Path) -> None:
    """Modules of other tests' folders must not be found again."""
    for name in ("shop", "shop.tasks", "broken", "plain"):
        sys.modules.pop(name, None)


def test_a_file_is_imported_by_its_stem_and_its_folder_comes_first(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "plain.py").write_text("x = 1\n")

    loaded = load("sub/plain.py", None)

    assert loaded.name == "plain"
    assert loaded.file == str(folder / "sub" / "plain.py")
    assert sys.path[0] == str(folder / "sub")


def test_a_module_of_a_package_in_the_current_folder(folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "tasks.py").write_text("")

    assert load("shop.tasks", None).name == "shop.tasks"


def test_a_deferq_named_by_its_attribute_is_used(folder: Path) -> None:
    (folder / "plain.py").write_text("from deferq import Deferq\nclass Holder: q = Deferq('memory://')\n")

    loaded = load("plain:Holder.q", None)

    assert isinstance(loaded.deferq, Deferq)
    assert loaded.deferq.settings["url"] == "memory://"


@pytest.mark.parametrize(("wrap", "kind"), [("wrap_wsgi", "WSGI"), ("wrap_asgi", "ASGI")])
def test_an_application_that_a_deferq_has_wrapped_brings_that_one_along(folder: Path, wrap: str, kind: str) -> None:
    (folder / "plain.py").write_text(
        f"from deferq import Deferq\ndef page(*arguments): ...\napp = Deferq('memory://').{wrap}(page)\n"
    )

    loaded = load("plain:app", None)

    assert loaded.deferq.settings["url"] == "memory://"
    assert loaded.delivers_to == f"plain:app ({kind})"


def test_an_url_on_the_command_line_wins_over_the_application(folder: Path) -> None:
    (folder / "plain.py").write_text("from deferq import Deferq\nq = Deferq('sqlite:///own.db')\n")

    assert load("plain:q", "memory://").deferq.engine.url == "memory://"


def test_the_setting_app_is_imported_if_nothing_is_named(folder: Path) -> None:
    (folder / "plain.py").write_text("")
    (folder / "pyproject.toml").write_text("[tool.deferq]\napp = 'plain'\n")

    assert load(None, None).name == "plain"


@pytest.mark.parametrize(
    ("app", "why"),
    [
        ("plian", "there is no module 'plian'. Did you mean 'plain'?"),
        ("plian.py", "Did you mean 'plain.py'?"),
        ("plain:y", "has no 'y'"),
        ("my-file.py", "is no name of a module"),
        ("broken", "No module named 'not_installed'"),
    ],
)
def test_what_cannot_be_imported_says_why(folder: Path, app: str, why: str) -> None:
    (folder / "plain.py").write_text("x = 1\n")
    (folder / "my-file.py").write_text("")
    (folder / "broken.py").write_text("import not_installed\n")

    with pytest.raises(AppNotLoaded) as raised:
        load(app, None)

    assert why in str(raised.value)


@pytest.mark.parametrize(
    ("source", "why"),
    [("x = (", "was never closed"), ("raise ValueError('boom')", "ValueError: boom"), ("exit(3)", "SystemExit")],
)
def test_the_end_of_the_traceback_is_shown_and_only_that(folder: Path, source: str, why: str) -> None:
    (folder / "broken.py").write_text(source)

    with pytest.raises(AppNotLoaded) as raised:
        load("broken", None)

    assert why in str(raised.value)
    assert f'{folder}/broken.py", line 1' in str(raised.value)
    assert "importlib" not in str(raised.value)
    assert "loading.py" not in str(raised.value)


def test_a_store_that_the_application_opened_while_it_was_imported_gives_way_to_the_url(folder: Path) -> None:
    (folder / "plain.py").write_text("from deferq import Deferq\nq = Deferq('sqlite:///own.db')\nq.engine.counts()\n")

    assert load("plain:q", "memory://").deferq.engine.url == "memory://"
