"""The parts of the reference that are made from the code. `python -m tests.docs.tables` writes them anew."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

import deferq
from deferq import errors
from deferq.cli.main import VERBS
from deferq.config import SETTINGS
from tests.badinput import catalogue as bad_input
from tests.badinput.requests import FORGED
from tests.badinput.wire import WIRE
from tests.catalogue.failures import FAILURES, Row
from tests.compat import catalogue as app_engine
from tests.docs.provoked import messages
from tests.hostile.kinds import ENDS, GOES_ON, KINDS, REPLACED, THREAD, End
from tests.planted.bug import Bug
from tests.planted.bugs import BY_TOPIC

DOCS = Path(__file__).resolve().parents[2] / "docs"


def settings_table() -> str:
    rows = ["| name | environment | default | what it sets |", "|---|---|---|---|"]
    for setting in SETTINGS.values():
        default = "" if setting.default is None else f"`{setting.default}`"
        rows.append(f"| `{setting.name}` | `{setting.variable}` | {default} | {setting.help} |")
    return "\n".join(rows)


def error_tree() -> str:
    """The tree that stands at the top of errors.py."""
    lines = inspect.getdoc(errors).splitlines()  # type: ignore[union-attr]
    tree = [line for line in lines if line.startswith("    ")]
    return "```\n" + textwrap.dedent("\n".join(tree)) + "\n```"


def error_sections() -> str:
    """Every error: what it means, when it is raised, what to do, and what it says."""
    return "\n\n".join(_error_section(error) for error in error_classes())


def _error_section(error: type[Exception]) -> str:
    home = "deferq" if error.__name__ in deferq.__all__ else "deferq.errors"
    builtin = [base.__name__ for base in error.__bases__ if base.__module__ == "builtins" and base is not Exception]
    kind = f" Also a Python `{builtin[0]}`." if builtin else ""
    meaning, when, do = docstring_parts(error)
    lines = [
        f"### `{error.__name__}`",
        f"{meaning}{kind} Import it from `{home}`.",
        f"*Raised when* {when}",
        f"*Do:* {do}",
    ]
    said = messages(error.__name__)
    if said:
        lines += ["It says, for example:", "```\n" + "\n\n".join(map(_wrapped, said)) + "\n```"]
    return "\n\n".join(lines)


def _wrapped(message: str) -> str:
    return textwrap.fill(message, 110, break_long_words=False, break_on_hyphens=False)


def docstring_parts(error: type[Exception]) -> tuple[str, str, str]:
    """What it means, when it is raised, and what to do. Raises ValueError for a docstring of another form."""
    text = inspect.getdoc(error) or ""
    meaning, when_line, rest = text.partition("\n\nWhen: ")
    when, do_line, do = rest.partition("\nDo: ")
    if not (meaning and when_line and when and do_line and do) or "\n\n" in rest:
        raise ValueError(f"{error.__name__}: a docstring says what it means, then 'When: ...', then 'Do: ...'")
    return " ".join(meaning.split()), " ".join(when.split()), " ".join(do.split())


def error_classes() -> list[type[Exception]]:
    """Every error in the order of its file."""
    return [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, Exception)]


def verb_table() -> str:
    return "\n".join(["| verb | |", "|---|---|", *(f"| `deferq {verb}` | {text} |" for verb, text in VERBS.items())])


def failure_table() -> str:
    rows = ["| | seen elsewhere | what deferq promises | tried by |", "|---|---|---|---|"]
    for row in FAILURES:
        shown = [f"`{test}`" for test in row.tests] + ([f"*waits {_for(row)}*"] if row.waits_for else [])
        rows.append(f"| {row.number} | {row.seen} ({row.reported}) | {row.promise} | {'<br>'.join(shown)} |")
    return "\n".join(rows)


def _for(row: Row) -> str:
    return row.waits_for if row.waits_for.startswith("for ") else f"for {row.waits_for}"


def bad_input_table() -> str:
    rows = ["| | what goes in | what comes of it | through | tried by |", "|---|---|---|---|---|"]
    for row in bad_input.ROWS:
        shown = _with_cases(row.tests) + ([f"*waits for {row.waits_for}*"] if row.waits_for else [])
        cells = (f"B{row.number}", row.goes_in, row.answer, row.doors, "<br>".join(shown))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def app_engine_table() -> str:
    """What App Engine's libraries do and ours do too, a table for each part."""
    parts: dict[str, list[str]] = {}
    for fact in app_engine.FACTS:
        row = f"| {_cell(fact.what)} | {_shown(fact.tests)} |"
        parts.setdefault(fact.where, ["| | shown by |", "|---|---|"]).append(row)
    return "\n\n".join(f"## {where}\n\n" + "\n".join(rows) for where, rows in parts.items())


def app_engine_differences() -> str:
    rows = ["| on App Engine | here | shown by |", "|---|---|---|"]
    rows += [f"| {_cell(one.there)} | {_cell(one.here)} | {_shown(one.tests)} |" for one in app_engine.DIFFERENCES]
    return "\n".join(rows)


def _shown(tests: tuple[str, ...]) -> str:
    return "<br>".join(f"`{test}`" for test in tests)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _with_cases(tests: tuple[str, ...]) -> list[str]:
    """Each function once, with the cases that are named of it."""
    named: dict[str, list[str]] = {}
    for test in tests:
        function, bracket, case = test.partition("[")
        named.setdefault(function, []).extend([f"`{case[:-1].strip()}`"] if bracket else [])
    return [f"`{function}`" + (f" [{', '.join(cases)}]" if cases else "") for function, cases in named.items()]


def beyond_table() -> str:
    """What the table of bad inputs does not name, by what it is answered with."""
    rows = ["| status | requests |", "|---|---|"]
    for status in sorted({forged.statuses for forged in FORGED}):
        names = [forged.what for forged in FORGED if forged.statuses == status]
        shown = " or ".join(map(str, dict.fromkeys(status)))
        rows.append(f"| {shown} | {_listed(names)} |")
    rows.append(f"| on the wire: 4xx, or closed | {_listed(list(WIRE))} |")
    return "\n".join(rows)


def _listed(names: list[str]) -> str:
    return " · ".join(ascii(name)[1:-1].replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*") for name in names)


def hostile_table() -> str:
    """What `tests/hostile` does to workers, and what must come of it there."""
    rows = ["| what the task does | what comes of it | its process | what stays |", "|---|---|---|---|"]
    for kind in KINDS.values():
        ends = _ends(kind.end if THREAD in kind.where else kind.end_in_loop)
        if THREAD in kind.where and kind.end_in_loop != kind.end:
            ends += f"; as a coroutine: {_ends(kind.end_in_loop)}"
        rows.append(f"| {kind.does} | {ends} | {_PROCESS.get(kind.child, 'goes on, or is replaced')} | {kind.leaves} |")
    return "\n".join(rows)


_PROCESS = {GOES_ON: "goes on", ENDS: "ends; another one takes its place", REPLACED: "is replaced"}


def _ends(end: End) -> str:
    if not end.how:
        return "succeeds"
    return f"{end.how}: `{end.says}`" if end.says else end.how


def planted_bugs() -> str:
    """A table for each topic."""
    return "\n\n".join(f"## {topic}\n\n{_planted(bugs)}" for topic, bugs in BY_TOPIC.items())


def _planted(bugs: list[Bug]) -> str:
    rows = ["| what was broken | where | how it shows | seeds |", "|---|---|---|---|"]
    for bug in bugs:
        place = "SQLite" if bug.engine == "sqlite" else "memory"
        place += ", children" if bug.children else ", pushed" if bug.push else ""
        shows = " or ".join(f'"{words}"' for words in bug.shows.split(" | "))
        rows.append(f"| {bug.name} | `{bug.file}` | {shows} | {bug.seeds} ({place}) |")
    return "\n".join(rows)


#: File, name of the markers, and what stands between them.
PARTS: list[tuple[Path, str, Callable[[], str]]] = [
    (DOCS / "reference" / "settings.md", "settings", settings_table),
    (DOCS / "reference" / "errors.md", "tree", error_tree),
    (DOCS / "reference" / "errors.md", "errors", error_sections),
    (DOCS / "reference" / "cli.md", "verbs", verb_table),
    (DOCS / "explanation" / "hostile-tasks.md", "hostile", hostile_table),
    (DOCS / "reference" / "failures.md", "failures", failure_table),
    (DOCS / "reference" / "bad-input.md", "bad input", bad_input_table),
    (DOCS / "reference" / "bad-input.md", "beyond", beyond_table),
    (DOCS / "reference" / "appengine.md", "app engine", app_engine_table),
    (DOCS / "howto" / "leave-app-engine.md", "differences", app_engine_differences),
    (DOCS / "explanation" / "planted-bugs.md", "planted bugs", planted_bugs),
]


def stored(path: Path, name: str) -> str:
    """What stands between the markers now."""
    return _split(path, name)[1].strip()


def write(path: Path, name: str, text: str) -> None:
    before, _, after = _split(path, name)
    path.write_text(f"{before}\n\n{text}\n\n{after}", "utf-8")


def _split(path: Path, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {name}: begin (python -m tests.docs.tables) -->", f"<!-- {name}: end -->"
    before, rest = path.read_text("utf-8").split(begin)
    between, after = rest.split(end)
    return before + begin, between, end + after


if __name__ == "__main__":
    for path, name, make in PARTS:
        write(path, name, make())
