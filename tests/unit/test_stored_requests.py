"""Requests as they are stored, sent and shown: signed like calls, and never taken for one."""

from __future__ import annotations

import pytest

from deferq.codec import wire
from deferq.codec.codec import Codec
from deferq.codec.inert import show_call
from deferq.codec.requests import METHODS, StoredRequest, is_request, pack_request, request_in, unpack_request
from deferq.codec.signing import Keyring
from deferq.errors import CodecNotAllowed, PayloadCorrupt, PayloadSignatureError, PayloadTooLargeError, UnknownKey
from deferq.model.task import Leased
from deferq.registry import Registry

KEYRING = Keyring(["0123456789abcdef"])
CODEC = Codec(KEYRING, Registry(), payload_limit=1_000)
TASK = Leased(1, "default", "a:b", 0, 0, 0, 1, 0, None, None, None, "/x", None, b"", 0, 7, 9, False)


def sealed(method: str = "POST", body: bytes = b"\n\x00body") -> Leased:
    payload = CODEC.seal_request(TASK.id, TASK.target, StoredRequest(method, body), url=TASK.url)
    return TASK._replace(payload=payload)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("body", [b"", b"\n", b"a\nb", bytes(range(256))])
def test_a_request_comes_back_as_it_was(method: str, body: bytes) -> None:
    assert unpack_request(pack_request(StoredRequest(method, body))) == (method, body)
    assert CODEC.open_request(sealed(method, body)) == (method, body)
    assert request_in(sealed(method, body).payload) == (method, body)


@pytest.mark.parametrize("body", [b"", b"POST", b"PATCH\n", b"post\nx", b"\nx", b"GET \nx", b"\xff\nx"])
def test_what_is_none_is_corrupt(body: bytes) -> None:
    with pytest.raises(PayloadCorrupt):
        unpack_request(body)


def test_its_signature_covers_method_body_url_and_task() -> None:
    task = sealed()
    CODEC.verify(task)
    changed = [
        task._replace(url="/y"),
        task._replace(url=None),
        task._replace(id=2),
        task._replace(target="a:c"),
        *(task._replace(payload=task.payload[:at] + b"Q" + task.payload[at + 1 :]) for at in (8, 39, 40, 47)),
    ]
    for forged in changed:
        with pytest.raises(PayloadSignatureError):
            CODEC.verify(forged)
    with pytest.raises(UnknownKey):
        Codec(Keyring(["another secret 1"]), Registry()).verify(task)


def test_it_is_never_decoded_as_a_call_and_a_call_never_opened_as_one() -> None:
    with pytest.raises(CodecNotAllowed, match="request"):
        CODEC.decode(sealed())
    call = TASK._replace(payload=KEYRING.seal("payload", TASK.id, TASK.target, b"POST\nx", url=TASK.url))
    assert not is_request(call.payload)
    assert request_in(call.payload) is None
    with pytest.raises(CodecNotAllowed):
        CODEC.open_request(call)


def test_the_codec_cannot_be_exchanged() -> None:
    payload = bytearray(sealed().payload)
    payload[3] = ord("p")
    with pytest.raises(PayloadSignatureError):
        CODEC.decode(TASK._replace(payload=bytes(payload)))


def test_it_is_as_large_as_a_payload_may_be() -> None:
    sealed(body=b"x" * 995)
    with pytest.raises(PayloadTooLargeError):
        sealed(body=b"x" * 996)


def test_a_delivery_says_that_it_is_one() -> None:
    text = wire.pack_task(TASK, as_request=True)
    assert wire.unpack_delivery(text, b"").as_request
    assert not wire.unpack_delivery(wire.pack_task(TASK), b"").as_request


@pytest.mark.parametrize(
    ("body", "text", "cut"),
    [
        (b"POST\na=1", "POST b'a=1'", False),
        (b"GET\n", "GET without a body", False),
        (b"PUT\n" + b"x" * 9_000, "PUT b'xxx", True),
    ],
)
def test_it_is_shown_as_text(body: bytes, text: str, cut: bool) -> None:
    shown = show_call(KEYRING.seal("payload", 1, "a:b", body, codec=ord("h")))
    assert shown.call("a:b").startswith(text)
    assert (shown.cut, shown.problems) == (cut, ())


def test_what_is_none_is_shown_with_its_problem() -> None:
    shown = show_call(KEYRING.seal("payload", 1, "a:b", b"\x1b[31m\n", codec=ord("h")))
    assert "\x1b" not in shown.call("a:b")
    assert shown.problems == ("it holds no request",)
