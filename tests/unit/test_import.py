"""Importing deferq does nothing but import, and its names are what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import deferq

#: Prints every audited event of an import that reaches outside: files that are no modules, sockets, threads, processes.
WATCH = """
import json, sys
import importlib.machinery, threading, warnings  # what the interpreter may load at any time is loaded before

seen = []
MODULES = (".py", ".pyc", ".so", ".pyd")
WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.mkdir",
           "os.remove", "os.rename", "os.chmod", "os.link", "os.symlink", "_thread.start_", "sqlite3.connect",
           "tempfile.", "signal.", "fcntl.", "shutil.", "pickle.")

def watch(event, args):
    if event == "open":
        path, mode, flags = args
        text = path.decode() if isinstance(path, bytes) else str(path)
        if flags & 0o3 or not text.endswith(MODULES):
            seen.append(f"open {text} {mode}")
    elif event.startswith(WATCHED):
        seen.append(event)

if sys.version_info < (3, 12):  # no audit event for it yet
    start = threading._start_new_thread
    threading._start_new_thread = lambda *args: seen.append("_thread.start_new_thread") or start(*args)
sys.addaudithook(watch)
import deferq
count = threading.active_count()
for name in deferq.__all__:
    getattr(deferq, name)
print(json.dumps({"seen": seen, "threads": count, "modules": sorted(sys.modules)}))
"""


def watched(folder: Path, program: str = WATCH) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=folder,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path), "DEFERQ_URL": "sqlite:///never.db"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_importing_opens_no_file_socket_thread_or_process(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.deferq]\nthreads = 'not even read'\n")
    found = watched(tmp_path)
    assert found["seen"] == []
    assert found["threads"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]


def test_the_watch_would_see_it(tmp_path: Path) -> None:
    program = WATCH.replace(
        "import deferq\n", "import deferq\nopen('a', 'w')\nthreading.Thread(target=int).start()\n", 1
    )
    seen = watched(tmp_path, program)["seen"]
    assert seen in (["open a w", "_thread.start_new_thread"], ["open a w", "_thread.start_joinable_thread"])


def test_importing_loads_nothing_but_the_standard_library(tmp_path: Path) -> None:
    modules = {name.partition(".")[0] for name in watched(tmp_path)["modules"]}
    assert modules - set(sys.stdlib_module_names) - {"deferq", "__main__", "sitecustomize", "usercustomize"} <= {
        name for name in modules if name.startswith(("_virtualenv", "_distutils", "__editable__", "_editable"))
    }


#: Slow to load, and of no use before the first task: in a web process or a command they may never be.
NOT_BEFORE_THE_FIRST_TASK = {
    *("asyncio", "ast", "base64", "concurrent.futures", "dataclasses", "difflib", "dis", "hashlib", "hmac", "inspect"),
    *("importlib.metadata", "importlib.resources", "importlib.util", "json", "logging", "pathlib", "pickle", "random"),
    *("secrets", "selectors", "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "tokenize", "tomllib"),
    *("traceback", "urllib.parse", "uuid"),
    *(
        "deferq.cli",
        "deferq.codec.codec",
        "deferq.codec.strictjson",
        "deferq.engines.base",
        "deferq.engines.memory",
        "deferq.engines.sqlite",
    ),
    *("deferq.making", "deferq.model.task", "deferq.model.transitions", "deferq.runtime", "deferq.stores"),
}

#: `-S`: what the site module loads, or a .pth file of the environment, is not deferq's doing.
LOADED = """
import sys
before = set(sys.modules)
import deferq
deferq.defer
{more}
print(*sorted(set(sys.modules) - before))
"""


def loaded(folder: Path, more: str = "") -> set[str]:
    done = subprocess.run(
        [sys.executable, "-S", "-c", LOADED.format(more=more)],
        cwd=folder,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_loads_nothing_that_only_a_task_needs(tmp_path: Path) -> None:
    assert loaded(tmp_path) & NOT_BEFORE_THE_FIRST_TASK == set()


def test_declaring_a_function_with_options_loads_none_of_it_either(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import deferq\n\n"
        "@deferq.deferrable(queue='mail', retry=deferq.RetryPolicy(max_attempts=3), timeout=5, tags=['mail'])\n"
        "def send(): ...\n\n"
        "@deferq.call_deferred(priority=1, aliases=['old.shop:charge'])\n"
        "def charge(): ...\n"
    )
    more = "sys.path.insert(0, ''); import shop"
    assert loaded(tmp_path, more) & NOT_BEFORE_THE_FIRST_TASK == set()


def test_registering_a_type_for_strict_json_loads_none_of_it_either(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import enum, deferq\n\n"
        "@deferq.register_codec\nclass Color(enum.Enum):\n    RED = 1\n\n"
        "class Money: ...\n\ndeferq.register_codec(Money, 'money', repr, lambda _: Money())\n"
    )
    more = "sys.path.insert(0, ''); import shop"
    assert loaded(tmp_path, more) & NOT_BEFORE_THE_FIRST_TASK == set()


def test_the_first_task_loads_it_so_the_names_are_right(tmp_path: Path) -> None:
    more = "import json; deferq.Deferq('sqlite:///jobs.db').defer(json.dumps, 1)"
    found = loaded(tmp_path, more)
    assert {"dataclasses", "hashlib", "inspect", "pickle", "sqlite3", "deferq.engines.base", "deferq.stores"} <= found
    assert not {"deferq.engines.memory", "deferq.codec.strictjson", "decimal", "zoneinfo"} & found


def test_declaring_wrapping_and_making_an_application_open_nothing_either(tmp_path: Path) -> None:
    program = WATCH.replace(
        "import deferq\n",
        """import deferq
deferq.wrap_wsgi(lambda environ, start_response: [])
deferq.wrap_asgi(lambda scope, receive, send: None)
deferq.deferrable(queue="mail")(json.dumps)
deferq.register("name", seen)
deferq.call(json.dumps, 1)
deferq.Deferq("sqlite:///jobs.db", queues={"mail": deferq.Queue()})
""",
        1,
    )
    found = watched(tmp_path, program)
    assert [event for event in found["seen"] if not event.endswith("pyproject.toml r")] == []
    assert found["threads"] == 1
    assert list(tmp_path.iterdir()) == []


def test_the_public_names_are_sorted_and_there() -> None:
    assert deferq.__all__ == sorted(deferq.__all__)
    assert len(set(deferq.__all__)) == len(deferq.__all__)
    for name in deferq.__all__:
        assert getattr(deferq, name) is not None


def test_a_star_import_brings_the_public_names_and_no_others() -> None:
    namespace: dict[str, object] = {}
    exec("from deferq import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(deferq.__all__)


def test_every_public_error_stands_in_the_drawn_tree() -> None:
    drawn = deferq.errors.__doc__ or ""
    for name in deferq.__all__:
        thing = getattr(deferq, name)
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert name in drawn
