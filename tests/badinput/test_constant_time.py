"""What is compared with a secret, or with what one has made, is compared in constant time."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from deferq.codec import signing, wire
from deferq.codec.signing import Keyring

PARTS = (b"POST", b"/_deferq/run", b"body")
KEYRING = Keyring(["a secret of some length", "an older secret of some length"])


def comparisons(function: Callable[..., Any]) -> list[ast.Compare]:
    """Where it uses ==, != or in."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]


@pytest.mark.parametrize("function", [Keyring.open, Keyring.knows_request, wire.verify])
def test_no_mac_is_compared_with_an_operator(function: Callable[..., Any]) -> None:
    compared = [ast.unparse(comparison) for comparison in comparisons(function)]
    assert [text for text in compared if "mac" in text or "digest" in text or "signature" in text] == []


@pytest.mark.parametrize("function", [Keyring.open, Keyring.knows_request])
def test_macs_are_compared_by_what_is_made_for_it(function: Callable[..., Any]) -> None:
    assert "hmac.compare_digest(ma" in inspect.getsource(function)


@pytest.mark.parametrize(
    "key_id", ["00000000", "", "x" * 1_000_000, "\xe4" * 8, KEYRING.key_ids[0], KEYRING.key_ids[1]]
)
def test_whichever_key_a_request_names_one_mac_is_made_and_one_is_compared(
    key_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []
    compared: list[object] = []
    make, compare = signing._request_mac, signing.hmac.compare_digest

    def counting(key: Any, parts: Any) -> bytes:
        made.append(make(key, parts))
        return made[-1]

    def noting(ours: Any, theirs: Any) -> bool:
        compared.append(ours)
        return compare(ours, theirs)

    monkeypatch.setattr(signing, "_request_mac", counting)
    monkeypatch.setattr(signing.hmac, "compare_digest", noting)
    assert not KEYRING.knows_request(PARTS, key_id, "0" * 64)
    assert len(made) == 1
    assert compared.count(made[0].hex()) == 1
