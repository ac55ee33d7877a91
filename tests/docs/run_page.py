"""Runs the nameless snippets of one page one after the other, as one session: `run_page.py SNIPPETS.json`.

Each keeps its line numbers, and may `await` as a Python session with asyncio would let it.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import sys
from pathlib import Path


def main(listing: str) -> None:
    # A module of its own, so that functions defined on a page are not looked for in this script.
    names = {"__name__": "session"}
    sys.modules["session"] = type(sys)("session")
    sys.modules["session"].__dict__.update(names)
    names = sys.modules["session"].__dict__
    with asyncio.Runner() as runner:
        for page, line, text in json.loads(Path(listing).read_text()):
            code = compile("\n" * (line - 1) + text, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            ran = eval(code, names)
            if inspect.iscoroutine(ran):
                runner.run(_awaited(ran))


async def _awaited(coroutine: object) -> None:
    await coroutine  # type: ignore[misc]


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main(sys.argv[1])
