"""Bad input at the call that no other test shows: through `defer`, through options, and through `deferq defer`.

One clear error each, which names the field and does not echo the value; nothing is imported, run or stored.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deferq import Deferq, DeferqError, InvalidOption, InvalidUrl, NotSerializable, TaskAlreadyExistsError
from deferq.cli.main import main
from deferq.errors import PayloadTooComplex, PayloadTooDeep, TargetNotAllowed
from tests.badinput.watching import Watch
from tests.support import sample_tasks
from tests.support.sample_tasks import note
from tests.unit.test_urls import ABSOLUTE, INVALID

CANARY = "canary-7f3a"


class Bad(NamedTuple):
    number: str
    what: str
    do: Callable[[Deferq], object]
    error: type[Exception]
    says: str
    #: Of the application.
    settings: dict[str, Any] = {}  # noqa: RUF012


class Watchful:
    """A class that leaves traces when it is made."""

    def __new__(cls, *args: object) -> Watchful:
        sample_tasks.seen.append("__new__")
        return super().__new__(cls)

    def __init__(self, *args: object) -> None:
        sample_tasks.seen.append("__init__")


class Loud(type):
    def __call__(cls, *args: object) -> object:
        sample_tasks.seen.append("a metaclass")
        return super().__call__(*args)


class Made(metaclass=Loud): ...


def row() -> sqlite3.Row:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    found: sqlite3.Row = connection.execute("select ?", (CANARY,)).fetchone()
    connection.close()
    return found


def nested(levels: int) -> Any:
    value: Any = CANARY
    for _ in range(levels):
        value = [value]
    return value


def itself() -> list[Any]:
    value: list[Any] = [CANARY]
    value.append(value)
    return value


def not_allowed(what: str, fn: Any, number: str = "B2") -> Bad:
    return Bad(number, what, lambda app: app.defer(fn, CANARY), TargetNotAllowed, "allow", {"allow": ["shop."]})


def json(number: str, what: str, make: Callable[[], Any], error: type[Exception], says: str) -> list[Bad]:
    """As an argument, and deep in one."""
    doors: list[Callable[[Deferq], object]] = [
        lambda app: app.defer(note, make()),
        lambda app: app.defer_many([app.call(note, 1), app.call(note, key={"a": [make()]})]),
    ]
    return [Bad(number, what, do, error, says, {"payload": "json"}) for do in doors]


def option(number: str, what: str, error: type[Exception], says: str, **options: Any) -> list[Bad]:
    """Through each door that takes the option."""
    (name, value), *_ = options.items()
    return [
        Bad(number, what, lambda app: app.call(note).defer(**options), error, says),
        Bad(number, what, lambda app: app.defer(note, **{f"_{name}": value}), error, says),
    ]


def header(number: str, what: str, name: Any, value: Any = CANARY) -> list[Bad]:
    return option(number, what, InvalidOption, "headers", headers={name: value})


TABLE: list[Bad] = [
    not_allowed("a function outside of the allow-list", note),
    not_allowed("a built-in function", len),
    not_allowed("eval", eval, "B3"),
    not_allowed("a class that would be made", Watchful, "B6"),
    not_allowed("a class whose metaclass would do something", Made, "B6"),
    *json("B7", "a row", row, NotSerializable, "row"),
    *json("B8", "NaN", lambda: math.nan, NotSerializable, "not a finite number"),
    *json("B8", "Infinity", lambda: math.inf, NotSerializable, "not a finite number"),
    *json("B8", "1e400", lambda: 1e400, NotSerializable, "not a finite number"),
    *json("B8", "sNaN", lambda: Decimal("sNaN"), NotSerializable, "not a finite number"),
    *json("B9", "2^63", lambda: 2**63, NotSerializable, "2\\^63"),
    *json("B9", "5,000 digits", lambda: 10**5000, NotSerializable, "2\\^63"),
    *json("B10", "an int as key", lambda: {1: CANARY}, NotSerializable, "key"),
    *json("B10", "a tuple as key", lambda: {(1, 2): CANARY}, NotSerializable, "key"),
    *json("B11", "a lone surrogate", lambda: f"{CANARY}\ud800", NotSerializable, "surrogate"),
    *json("B11", "NUL", lambda: f"{CANARY}\0", NotSerializable, "NUL"),
    *json("B12", "a list in itself", itself, NotSerializable, "contains itself"),
    *json("B14", "65 levels", lambda: nested(65), PayloadTooDeep, "64 levels"),
    *json("B14", "5,000 levels", lambda: nested(5_000), PayloadTooDeep, "64 levels"),
    *json("B14", "100,000 levels", lambda: nested(100_000), PayloadTooDeep, "64 levels"),
    *json("B15", "a million lists", lambda: [[]] * 1_000_000, PayloadTooComplex, "100,000 values"),
    *(bad for url in ABSOLUTE for bad in option("B54", f"url {url:.40}", TargetNotAllowed, "absolute url", url=url)),
    *(
        bad
        for url in INVALID
        if url not in ("", None)
        for bad in option("B56", f"url {url!r:.40}", InvalidUrl, "url", url=url)
    ),
    *(
        bad
        for name in ("Host", "content-length", "Transfer-Encoding", "X-AppEngine-Cron", "Authorization", "Connection",
                     "X-CloudTasks-TaskName", "X-Deferq-Task", "X-APPENGINE-QUEUENAME")
        for bad in header("B65", f"header {name}", name)
    ),
    *(
        bad
        for name in ("a b", "a:b", "a_b", "", "ä", "a\n", "a\0", "x" * 8192, 5, None, b"a")
        for bad in header("B66", f"header name {name!r:.20}", name)
    ),
    *(
        bad
        for value in (f"{CANARY}\r\nX: y", f"{CANARY}\0", f"{CANARY}\n", "x" * 8193, "ä", 5, None, b"x")
        for bad in header("B67", f"header value {value!r:.20}", "X-A", value)
    ),
]  # fmt: skip


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: f"{bad.number} {bad.what}")
def test_bad_input_is_one_clear_error_and_nothing_happens(
    make_app: Callable[..., Deferq], bad: Bad, watch: Watch
) -> None:
    app = make_app(**bad.settings)
    with watch(app, imports=True), pytest.raises(bad.error, match=bad.says) as caught:
        bad.do(app)
    said = str(caught.value)
    assert isinstance(caught.value, DeferqError)
    assert CANARY not in said
    assert len(said) < 500
    assert said.isprintable()
    assert app.engine.queues() == []


def test_a_header_that_app_engine_lets_tasks_set_is_taken(make_app: Callable[..., Deferq]) -> None:
    """B65"""
    app = make_app()
    handle = app.defer(note, _headers={"X-AppEngine-FailFast": "1"})
    assert handle.state.name == "PENDING"


def test_a_name_whose_task_is_being_ended_is_still_taken(make_app: Callable[..., Deferq]) -> None:
    """B70: while it runs and its cancellation has been asked for."""
    from tests.support import lease_one

    app = make_app()
    handle = app.call(note).defer(name="once")
    lease_one(app.engine)
    handle.cancel()
    with pytest.raises(TaskAlreadyExistsError) as caught:
        app.call(note, CANARY).defer(name="once")
    assert caught.value.task_id == handle.id


# ---- the command line

Argv = tuple[str, ...]
NOTE = "tests.support.sample_tasks:note"

COMMANDS: list[tuple[str, Argv, str]] = [
    *(("B3", ("defer", target, f'"{CANARY}"'), "allow") for target in ("os:system", "builtins:eval", "subprocess:run")),
    *(
        ("B4", ("defer", target), "module:function")
        for target in ("app.tasks.os.system", "app..tasks", "app.tasks", "eval")
    ),
    *(("B4", ("defer", target), "target") for target in ("__main__:x", f"{NOTE}.__class__", ":", "a:b:c")),
    *(("B5", ("defer", target), "target") for target in ("x" * 10_240, "a:\0", "a:\u202eb", "a:b\n")),
    ("B6", ("defer", "tests.badinput.test_calls:Watchful"), "allow"),
    ("B49", ("defer", NOTE, "--eta", "2030-01-01T00:00"), "time zone"),
    ("B50", ("defer", NOTE, "--eta", "2030-01-01T00:00Z", "--countdown", "5"), "one of them"),
    *(("B50", ("defer", NOTE, "--countdown", text), "countdown") for text in ("nan", "inf", "soon", "1e400", "")),
    ("B51", ("defer", NOTE, "--eta", "9999-12-31T23:59:60Z"), "eta"),
    ("B51", ("defer", NOTE, "--eta", "9999-12-31T23:59:59Z"), "1970 and 2090"),
    ("B51", ("defer", NOTE, "--eta", "0001-01-01T00:00Z"), "1970 and 2090"),
    *(
        ("B68", ("defer", NOTE, f"--queue={name}"), "queue")
        for name in ("a\n", "", "x" * 101, "../x", "ｄｅｆａｕｌｔ", "a;drop table", "'", '"', "%s", "{}")
    ),
    *(("B69", ("defer", NOTE, f"--name={name}"), "name") for name in ("a/b", "x" * 501, "\U0001f600", "a\n", "")),
    *(("B72", ("defer", NOTE, f"--priority={text}"), "priority") for text in ("high", "nan", "True", str(2**40))),
    *(("B73", ("worker", "--once", option), option.partition("=")[0].strip("-")) for option in
      ("--threads=0", "--threads=-1", "--threads=x", "--drain-s=-1", "--drain-s=nan")),
    *(("B74", ("tasks", "ls", option), option.partition("=")[0].strip("-")) for option in
      ("--limit=-1", "--limit=0x10", "--limit=1e3", "--limit=", "--after=-1", "--after=' or 1=1 --",
       f"--after={10**30}", "--state=' or 1=1 --", f"--limit={10**30}",
       "--queue=\udcff", "--name=\udcff", "--target=a\udcff", "--state=;")),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a project whose application allows its own modules only."""
    (tmp_path / "pyproject.toml").write_text('[tool.deferq]\nallow = ["shop.", "tests.support."]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEFERQ_URL", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "says"), [pytest.param(*case[1:], id=f"{case[0]} {' '.join(case[1])!a:.80}") for case in COMMANDS]
)
def test_the_command_line_refuses_it_too(
    on_file: Callable[..., Deferq],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    watch: Watch,
    words: Argv,
    says: str,
) -> None:
    app = on_file()
    url = f"sqlite:///{folder}/jobs.db"
    app.engine.counts()
    with watch(app, imports=True):
        assert main(["--url", url, *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert "Traceback" not in said.err
    assert CANARY not in said.err
    assert all(letter.isprintable() or letter == "\n" for letter in said.err)


STATEMENTS = ["' or 1=1 --", '"; drop table deferq_task; --', "%s", "{}", "%' or '%'='", "a\0b", "x" * 10_000]


@pytest.mark.parametrize("option", ["--queue", "--target", "--name"])
@pytest.mark.parametrize(
    "text", ["' or 1=1 --", '"; drop table deferq_task; --', "%s", "{}", "%' or '%'='", "a\0b", "x" * 10_000]
)
def test_a_filter_is_a_value_and_never_a_statement(
    on_file: Callable[..., Deferq],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    watch: Watch,
    option: str,
    text: str,
) -> None:
    """B74: nothing fits it, and nothing else comes of it."""
    app = on_file(allow=["tests."])
    app.call(note).defer(name="once")
    with watch(app, imports=True):
        assert main(["--url", f"sqlite:///{folder}/jobs.db", "tasks", "ls", f"{option}={text}"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("No task fits.")


def test_a_page_of_any_size_ends(
    on_file: Callable[..., Deferq], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """B74"""
    on_file(allow=["tests."]).defer(note)
    assert main(["--url", f"sqlite:///{folder}/jobs.db", "tasks", "ls", f"--limit={10**18}"]) == 0
    assert "sample_tasks:note" in capsys.readouterr().out


def test_what_is_to_be_made_at_the_call_is_not_made_at_defer() -> None:
    """B6: the canaries would sing."""
    sample_tasks.forget()
    Watchful()
    Made()
    assert sample_tasks.seen == ["__new__", "__init__", "a metaclass"]
    sample_tasks.forget()
