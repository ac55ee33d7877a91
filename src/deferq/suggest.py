"""Did you mean?"""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """A sentence, with a space in front, that names the known word nearest to `word`; else `otherwise`."""
    from difflib import get_close_matches  # needed only when something went wrong

    near = get_close_matches(word, list(known), 1)
    return f" Did you mean {near[0]!r}?" if near else otherwise
