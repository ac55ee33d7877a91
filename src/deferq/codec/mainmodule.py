"""The name under which other processes can import what is `__main__` here."""

from __future__ import annotations

import sys
from functools import lru_cache
from os.path import basename, realpath, splitext
from types import ModuleType

#: What the module of a running script calls itself; the second is its copy in a child of multiprocessing.
MAIN_NAMES = ("__main__", "__mp_main__")


def main_name() -> str | None:
    """The importable name of the running script; None in an interactive session, or if its file cannot be imported."""
    main = sys.modules.get("__main__")
    return None if main is None else _importable_name(main)


def main_file() -> str | None:
    """The file name of the running script, without its folder; None in an interactive session."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return basename(path) if isinstance(path, str) else None


def spellings(module: str) -> tuple[str, ...]:
    """The names to look `module` up by, in order.

    The running script is never imported by its own name: that would execute it a second time.
    """
    main = sys.modules.get("__main__")
    if main is None or module != _importable_name(main):
        return (module,)
    return ("__main__", module) if _hides_another(main, module) else ("__main__",)


@lru_cache(maxsize=1)
def _importable_name(main: ModuleType) -> str | None:
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # python -m package.module
        return None if spec.name in MAIN_NAMES else str(spec.name)
    stem, suffix = splitext(main_file() or "")
    importable = stem.isidentifier() and stem not in MAIN_NAMES and suffix in (".py", ".pyc", ".pyw")
    return stem if importable else None


@lru_cache(maxsize=1)
def _hides_another(main: ModuleType, name: str) -> bool:
    """Whether a module called like the script, `tools/app.py` beside a package `app`, can be imported as well."""
    if getattr(main, "__spec__", None) is not None:
        return False
    from importlib.util import find_spec

    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return name in sys.modules
    return spec is not None and realpath(spec.origin or "") != realpath(main.__file__ or "")
