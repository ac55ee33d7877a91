"""From the words of a command to the application and its Deferq."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from deferq.app import Deferq
from deferq.config import Settings, Value, gather
from deferq.default import default
from deferq.errors import ConfigError, StoreUnavailable
from deferq.http.web import Web, kind_of
from deferq.suggest import did_you_mean

#: The origin of the url that a command was given.
BY_OPTION = "option --url"
#: Frames of a failed import that are shown.
FRAMES_MAX = 5


class AppNotLoaded(ConfigError):
    """The application cannot be imported."""


class Loaded(NamedTuple):
    """An application and the Deferq that it uses."""

    deferq: Deferq
    #: What was imported, for people; empty: nothing.
    name: str
    #: Its file, if it has one.
    file: str | None

    @property
    def delivers_to(self) -> str:
        """The web application that tasks with an url are delivered to, for people; empty: none is known."""
        web = self.deferq.web
        return f"{web.name} ({web.kind})" if web else ""


class Reference(NamedTuple):
    """What `hello.py`, `package.module` or `module:attribute` mean."""

    module: str
    attribute: str
    #: Goes first on sys.path.
    folder: Path


def load(app: str | None, url: str | None) -> Loaded:
    """Import the application (None: what the setting `app` says, if anything) and return its Deferq.

    An URL given on the command line wins over what the application configures. Raises AppNotLoaded.
    """
    if url is not None:
        os.environ["DEFERQ_URL"] = url  # for whatever the application makes of the default settings
    app = app or gather({})["app"]
    put_on_path(Path.cwd())
    if app is None:
        return Loaded(_with_url(default(), url), "", None)
    reference = parse(app)
    put_on_path(reference.folder)
    module, found = import_reference(reference)
    owner = getattr(found, "owner", None)  # of an application that was wrapped by a Deferq of its own
    deferq = next((one for one in (found, owner) if isinstance(one, Deferq)), None) or default()
    if reference.attribute and (kind := kind_of(found)):
        deferq.web = Web(kind, found, name=f"{reference.module}:{reference.attribute}")
    return Loaded(_with_url(deferq, url), reference.module, getattr(module, "__file__", None))


def settings_of(url: str | None) -> Settings:
    """What a command has without an application. Raises ConfigError."""
    return gather({"url": url}, said_by=BY_OPTION)


def app_of(url: str | None) -> str | None:
    """The application to import, where nothing else says which store it is. Raises ConfigError."""
    settings = settings_of(url)
    app: str | None = settings["app"]
    return app if settings["url"] is None else None


@contextmanager
def open_store(args: argparse.Namespace, *, must_exist: bool = True) -> Iterator[Deferq]:
    """The store of a command that runs no tasks.

    The application is imported only if nothing else says which store it is, so that one that is broken can be looked
    into. Raises StoreUnavailable if the store `must_exist` and does not: a misspelt name must not make an empty one.
    """
    app = args.app or app_of(args.url)
    deferq = load(app, args.url).deferq if app else _with_url(Deferq(args.url), args.url)
    try:
        if must_exist:
            _check_exists(deferq)
        yield deferq
    finally:
        deferq.close()


def _check_exists(deferq: Deferq) -> None:
    path = getattr(deferq.engine, "path", None)
    if isinstance(path, Path) and not path.exists():
        raise StoreUnavailable(
            f"There is no store {path} (url: {deferq.settings.values['url'].origin}). It is made by the first task that"
            " is deferred and by the first worker; is this the right folder, or is --url missing?"
        )


def _with_url(deferq: Deferq, url: str | None) -> Deferq:
    if url is not None:
        if deferq.settings["url"] != url:
            deferq.close()  # it may have been used while it was imported
        values = {**deferq.settings.values, "url": Value(url, BY_OPTION)}
        deferq.settings = replace(deferq.settings, values=values)
    return deferq


# ---- importing


def put_on_path(folder: Path) -> None:
    """Make `folder` the first place where modules are looked for."""
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


def parse(app: str) -> Reference:
    """What `app` refers to. Raises AppNotLoaded."""
    before, _, attribute = app.partition(":")
    if not before.endswith(".py") and os.sep not in before:
        return Reference(before, attribute, Path.cwd())
    file = Path(before).absolute()
    if not file.is_file():
        raise AppNotLoaded(f"The application '{app}' cannot be imported: there is no file {file}.{_near_file(file)}")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise AppNotLoaded(
            f"The application '{app}' cannot be imported: {file.name} is no name of a module. Name a file like hello.py"
            " (letters, digits and '_'), or a module like package.module."
        )
    return Reference(file.stem, attribute, file.parent)


def import_reference(reference: Reference) -> tuple[Any, Any]:
    """The module, and the attribute (or the module, if there is none). Raises AppNotLoaded."""
    module = import_app(reference.module)
    found = module
    for name in filter(None, reference.attribute.split(".")):
        if not hasattr(found, name):
            raise AppNotLoaded(
                f"The module '{reference.module}' has no '{reference.attribute}' ({module.__file__})."
                f"{did_you_mean(name, dir(found))}"
            )
        found = getattr(found, name)
    return module, found


def import_app(name: str) -> Any:
    """The module `name`. Raises AppNotLoaded with the part of the traceback that says why."""
    try:
        return import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a script without `if __name__ == "__main__"` may end itself
        raise AppNotLoaded(_why_not(name, error)) from error


def _why_not(name: str, error: BaseException) -> str:
    missing = isinstance(error, ModuleNotFoundError) and error.name is not None
    if missing and (name == error.name or name.startswith(f"{error.name}.")):  # type: ignore[attr-defined]
        return (
            f"The application '{name}' cannot be imported: there is no module '{error.name}'."  # type: ignore[attr-defined]
            f"{_near_module(name)}\nLooked in: {', '.join(map(_shown, sys.path))}.\nRun the command in the folder that"
            " holds it, or give the file itself (deferq worker path/to/app.py)."
        )
    where = f"\nModules are looked for in: {', '.join(map(_shown, sys.path))}." if missing else ""
    return (
        f"The application '{name}' cannot be imported: it raised {type(error).__name__}.\n{_relevant_end(error)}{where}"
    )


def _shown(entry: str) -> str:
    return entry or "(current folder)"


def _relevant_end(error: BaseException) -> str:
    """The traceback without Python's import machinery and without deferq's own frames."""
    told = traceback.TracebackException.from_exception(error)
    inside = str(Path(__file__).parent)
    frames = [
        frame
        for frame in told.stack
        if not frame.filename.startswith(("<frozen importlib", inside)) and not _is_importlib(frame.filename)
    ]
    told.stack = traceback.StackSummary.from_list(frames[-FRAMES_MAX:])
    return "".join(told.format(chain=False)).rstrip()


def _is_importlib(filename: str) -> bool:
    return Path(filename).parent.name == "importlib"


def _near_module(name: str) -> str:
    here = Path.cwd()
    modules = [entry.stem for entry in here.glob("*.py")]
    modules += [entry.parent.name for entry in here.glob("*/__init__.py")]
    return did_you_mean(name.partition(".")[0], modules)


def _near_file(file: Path) -> str:
    names = [entry.name for entry in file.parent.glob("*.py")] if file.parent.is_dir() else []
    return did_you_mean(file.name, names)
