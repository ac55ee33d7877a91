"""Calls that name their own callable: pickles of (callable, args, kwargs), as App Engine's library makes them.

    body = pickle of the triple, or before it one of a dict of what else is known: the script's name, the context

The target of such a task is for people and for the allow-list; what is called stands in the pickle. Like in payload.py
nothing here checks a signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pickle import dumps
from typing import Any, Final, NamedTuple

from deferq.codec.mainmodule import main_name
from deferq.codec.payload import PROTOCOL, Restorer
from deferq.errors import PayloadCorrupt, TargetUnknown

#: The module of `invoke_member` and `run_from_datastore`, by which methods and large calls are reached.
OURS: Final = "deferq.compat.appengine.deferred.deferred"
#: Where Google's library has its functions, and we have ours: bodies that it wrote can be run.
MODULES: Final = {
    "google.appengine.ext.deferred.deferred": OURS,
    "google.appengine.ext.deferred": OURS,
}
#: In both names of a running script.
_MAIN = b"main__"


class Triple(NamedTuple):
    """A restored call, and the context that was carried along."""

    fn: Any
    args: Any
    kwargs: Any
    context: Mapping[str, Any]


def encode_triple(pickled: bytes, context: Mapping[str, Any] | None = None) -> bytes:
    """The stored form of a pickled triple: the same, unless there is something to be known before it is read."""
    before: dict[str, Any] = {} if context is None else {"context": context}
    if _MAIN in pickled and (main := main_name()) is not None:
        before["main"] = main
    return dumps(before, PROTOCOL) + pickled if before else pickled


def decode_triple(body: bytes) -> Triple:
    """The call in `body`; what stands behind it is not read.

    Raises:
        TargetUnknown: a function or class in it is not known to this process.
        PayloadCorrupt: it cannot be restored, or is no triple.
    """
    try:
        return _triple(BytesIO(body))
    except (KeyboardInterrupt, TargetUnknown):
        raise
    except BaseException as error:
        raise PayloadCorrupt(
            f"The body holds no call that can be restored ({type(error).__name__}); it will not be run."
        ) from error


def _triple(stream: BytesIO) -> Triple:
    known = _TripleRestorer(stream).load()
    if type(known) is not dict:
        fn, args, kwargs = known
        return Triple(fn, args, kwargs, {})
    restorer = _TripleRestorer(stream)
    restorer.main = known.get("main")
    fn, args, kwargs = restorer.load()
    return Triple(fn, args, kwargs, known.get("context", {}))


class _TripleRestorer(Restorer):
    """Finds Google's functions in our module, whether or not Google's library is there."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(MODULES.get(module, module), name)
