"""The inert reader: shows any stored payload without importing, calling or restoring anything of it.

A pickle is a program. It is read here by a machine of its own that runs none of it (`machine.py`), takes a bounded
number of steps and keeps a bounded part; the answer is text that no terminal obeys.
"""

from __future__ import annotations

from deferq.codec.inert.printing import Limits
from deferq.codec.inert.showing import BRIEF, FULL, Shown, name_of, show_body, show_call, show_result
from deferq.codec.inert.triples import triple_target

__all__ = ["BRIEF", "FULL", "Limits", "Shown", "name_of", "show_body", "show_call", "show_result", "triple_target"]
