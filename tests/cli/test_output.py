"""What people see: tables, counts, times."""

from __future__ import annotations

import io
import sys

import pytest

from deferq.cli.narrating import Narrator
from deferq.cli.output import number, print_table, printable, size
from deferq.cli.times import duration, relative, utc
from deferq.model.events import Event, EventName

ID = "890408734560993522"


def test_a_plain_table_lines_up_and_leaves_empty_columns_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", ">count", "name"), [("a", 1, None), ("bcd", 1000, "")])

    assert capsys.readouterr().out == "ID   COUNT\na        1\nbcd   1000\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


@pytest.mark.usefixtures("terminal")
def test_an_id_is_never_broken_in_two(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")

    print_table(("id", "target"), [(ID, "a_long_module.with_parts:function_of_it")])

    assert ID in capsys.readouterr().out


@pytest.mark.usefixtures("terminal")
def test_without_rich_a_terminal_gets_the_plain_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)

    print_table(("id",), [(ID,)])

    assert capsys.readouterr().out == f"ID\n{ID}\n"


def test_what_could_command_a_terminal_is_spelled_out() -> None:
    assert printable("a\033[2J\nb\u202e") == "a\\x1b[2J\nb\\u202e"


def test_counts_and_sizes() -> None:
    assert (number(999, 10_000), number(10_000, 10_000), number(10_000)) == ("999", "10,000+", "10,000")
    assert (size(62), size(90_112)) == ("62 bytes", "88.0 KiB (90,112 bytes)")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0034, "3 ms"), (1.25, "1.2 s"), (59, "59 s"), (90, "2 min"), (7200, "2 h"), (1e6, "12 d")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_times() -> None:
    assert utc(1_772_452_800_000_001) == "2026-03-02T12:00:00.000001Z"
    assert (relative(0, 3_000_000), relative(3_000_000, 0)) == ("3.0 s ago", "in 3.0 s")


def test_the_narrator_tells_each_event_in_a_line_and_a_failure_with_its_traceback() -> None:
    out = io.StringIO()
    narrator = Narrator(out)
    for name in narrator.names:
        narrator(Event(name, 0, 7, "shop:send", "mail", 2, 0.25, "ValueError: no"))
    narrator(
        Event(
            EventName.TASK_DIED, 0, 7, "shop:send", "mail", 2, 0.25, "ValueError: no", "Traceback\033\nValueError: no\n"
        )
    )

    assert "shop:send succeeded in 250 ms (task 7, attempt 2)\n" in out.getvalue()
    assert out.getvalue().endswith("shop:send died after 250 ms (task 7, attempt 2)\nTraceback\\x1b\nValueError: no\n")
