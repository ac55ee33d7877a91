"""Any bytes as strict JSON: refused with a declared error, or a value that is stored and comes back."""

from __future__ import annotations

from deferq.errors import PayloadCorrupt, TargetUnknown
from tests.strictjson.values import same, strict

_STRICT = strict()


def fuzz_json(data: bytes) -> None:
    """Read `data` as a result and as the arguments of a call. Raises AssertionError, or what was not declared."""
    try:
        value = _STRICT.decode_result(data)
    except (PayloadCorrupt, TargetUnknown):
        pass
    else:
        assert same(_STRICT.decode_result(_STRICT.encode_result(value)), value)
    try:
        args, kwargs, extras = _STRICT.decode_call(data)
    except (PayloadCorrupt, TargetUnknown):
        return
    again = _STRICT.decode_call(_STRICT.encode_call(args, kwargs, extras.get("context")))
    assert same(again, (args, kwargs, extras))
