"""The pages, and what stands in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGES.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# ([\w.]+\.py)\n")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Snippet(NamedTuple):
    """One block of Python."""

    page: Path
    #: Line of the page on which the code begins.
    line: int
    code: str

    @property
    def file_name(self) -> str | None:
        """What it is called, if its first line says so: `# hello.py`."""
        named = _FILE_NAME.match(self.code)
        return named[1] if named else None


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text("utf-8")
    return [
        Snippet(page, text.count("\n", 0, block.start(2)) + 1, block[2])
        for block in _FENCE.finditer(text)
        if block[1] == "python"
    ]


def blocks(page: Path, language: str) -> list[str]:
    return [block[2] for block in _FENCE.finditer(page.read_text("utf-8")) if block[1] == language]


def links(page: Path) -> list[str]:
    """Targets of links, without those in code."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text("utf-8")))
    return _LINK.findall(prose)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
