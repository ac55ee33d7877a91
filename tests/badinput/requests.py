"""Requests to the handler that nobody should be able to make: what the table of bad inputs does not name.

Each starts from a delivery that is good. What is changed is signed again only where that says so: then somebody has the
secret, and it is refused for what it is.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from deferq import Deferq
from deferq.codec.signing import Keyring
from deferq.codec.wire import RUN_PATH, SIGNATURE, TASK, TIME, Signed, sign
from tests.support.deliveries import Header, Sent, signed_again

#: Stands in whatever is made up, and nowhere in an answer or a line.
CANARY = "canary-7f3a"

Change = Callable[[Deferq, Sent], Sent]


class Forged(NamedTuple):
    """One way to make a request that must not be served."""

    what: str
    change: Change
    #: What the handler answers to it over WSGI, and over ASGI.
    statuses: tuple[int, int]
    #: Whether it arrives through a socket as it was meant: a server may put right what is wrong.
    travels: bool = True


def forged(what: str, change: Change, *statuses: int, travels: bool = True) -> Forged:
    return Forged(what, change, (statuses[0], statuses[-1]), travels)


def only(*headers: Header) -> Change:
    """None of our headers, and these."""
    return lambda app, sent: sent._replace(headers=(("Content-Length", str(len(sent.body))), *headers))


def signature(make: Callable[[str, str], str]) -> Change:
    """Another signature, made of the id of the key and the MAC of the right one."""

    def change(app: Deferq, sent: Sent) -> Sent:
        _, key_id, mac = sent.header(SIGNATURE).split(".")
        return sent.with_header(SIGNATURE, make(key_id, mac))

    return change


def signed_for(**parts: str | bytes) -> Change:
    """Signed by us for another request than the one that comes."""

    def change(app: Deferq, sent: Sent) -> Sent:
        signed = parts_of(sent)._replace(**parts)
        return sent.with_header(SIGNATURE, sign(app.codec.keyring, signed))

    return change


def parts_of(sent: Sent) -> Signed:
    return Signed(sent.method, sent.path, sent.query, sent.header(TIME), sent.header(TASK), sent.body)


def sent_as(method: str, *headers: Header, query: str = "") -> Change:
    """Signed for POST, and sent with another method."""
    return lambda app, sent: sent._replace(method=method, query=query, headers=(*sent.headers, *headers))


def signed_as(method: str) -> Change:
    return lambda app, sent: signed_again(app, sent, method=method)


def slid(move: Callable[[Signed], Signed]) -> Change:
    """Signed over the same letters, with the bounds between the parts elsewhere."""
    return lambda app, sent: sent.with_header(SIGNATURE, sign(app.codec.keyring, move(parts_of(sent))))


def in_query(app: Deferq, sent: Sent) -> Sent:
    """The credentials in the query, as some services have them."""
    query = "&".join(f"{name}={sent.header(name)}" for name in (TASK, TIME, SIGNATURE))
    return only()(app, sent)._replace(query=query)


def in_cookie(app: Deferq, sent: Sent) -> Sent:
    cookies = "; ".join(f"{name}={sent.header(name)}" for name in (TASK, TIME, SIGNATURE))
    return only(("Cookie", cookies))(app, sent)


def of_the_envelope(app: Deferq, sent: Sent) -> Sent:
    """The MAC of the payload, which everybody who can read the store can see."""
    return sent.with_header(SIGNATURE, f"v1.{sent.body[4:8].hex()}.{sent.body[8:40].hex()}")


def of_the_purpose(purpose: str) -> Change:
    """Made with our secret by the rules for another purpose."""

    def change(app: Deferq, sent: Sent) -> Sent:
        signed = b"".join(len(part).to_bytes(4, "big") + part for part in parts_of(sent).parts())
        sealed = app.codec.keyring.seal(purpose, 0, "", signed)  # type: ignore[arg-type]
        return sent.with_header(SIGNATURE, f"v1.{sealed[4:8].hex()}.{sealed[8:40].hex()}")

    return change


def without_a_key(app: Deferq, sent: Sent) -> Sent:
    """The id of the key is no secret; a MAC without the key is a plain hash."""
    _, key_id, _ = sent.header(SIGNATURE).split(".")
    mac = blake2b(b"".join(parts_of(sent).parts()), person=b"deferq request", digest_size=32).hexdigest()
    return sent.with_header(SIGNATURE, f"v1.{key_id}.{mac}")


def by_a_retired_key(app: Deferq, sent: Sent) -> Sent:
    return sent.with_header(SIGNATURE, sign(Keyring(["a secret that was retired"]), parts_of(sent)))


def by_a_retired_key_as_ours(app: Deferq, sent: Sent) -> Sent:
    """The MAC of a retired key, under the id of the key that we have."""
    _, key_id, _ = sent.header(SIGNATURE).split(".")
    return signature(lambda _, __: f"v1.{key_id}.{by_a_retired_key(app, sent).header(SIGNATURE)[-64:]}")(app, sent)


def kept_for_longer(app: Deferq, sent: Sent) -> Sent:
    """Recorded an hour ago, with the time of now."""
    old = signed_again(app, sent.with_header(TIME, str(int(time.time()) - 3600)))
    return old.with_header(TIME, str(int(time.time())))


def document(text: str | bytes) -> Change:
    """Signed, and in place of the task there is something else."""
    raw = text if isinstance(text, bytes) else text.encode()
    return lambda app, sent: signed_again(app, sent.with_header(TASK, base64.urlsafe_b64encode(raw).decode()))


def task_with(**fields: object) -> Change:
    """Signed, and a field of the task says something else."""

    def change(app: Deferq, sent: Sent) -> Sent:
        known = json.loads(base64.urlsafe_b64decode(sent.header(TASK)))
        return document(json.dumps(known | fields))(app, sent)

    return change


def plus(change: Change, *headers: Header) -> Change:
    """The same with more headers."""

    def changed(app: Deferq, sent: Sent) -> Sent:
        spoilt = change(app, sent)
        return spoilt._replace(headers=(*spoilt.headers, *headers))

    return changed


def both(first: str, second: str) -> Change:
    """Two signatures in one header: ours is `{}`."""
    return lambda app, sent: sent.with_header(
        SIGNATURE, ", ".join(one.format(sent.header(SIGNATURE)) for one in (first, second))
    )


def no_signature(app: Deferq, sent: Sent) -> Sent:
    return sent.with_header(SIGNATURE)


def with_body(body: bytes, *headers: Header) -> Change:
    """Another body, of the right length, and the signature of the one before."""
    return lambda app, sent: sent._replace(body=body, headers=(*sent.headers, *headers)).with_header(
        "Content-Length", str(len(body))
    )


FROM_INSIDE = (
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;proto=https;by=127.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "localhost"),
    ("X-Forwarded-Prefix", "/_deferq"),
    ("X-Forwarded-User", "admin"),
    ("X-Script-Name", "/_deferq/run"),
    ("X-Original-URL", RUN_PATH),
    ("X-Rewrite-URL", RUN_PATH),
    ("X-Client-Cert", "deferq"),
    ("X-Internal", "1"),
)
WRONG = "v1.00000000." + "0" * 64

FORGED = (
    # ---- who it says that it comes from
    *(forged(f"no signature, and {name}", plus(no_signature, (name, value)), 403) for name, value in FROM_INSIDE),
    forged("only headers of proxies", only(*FROM_INSIDE), 403),
    forged("credentials in the query", in_query, 403),
    forged("credentials in cookies", in_cookie, 403),
    forged("basic authentication", only(("Authorization", "Basic YWRtaW46YWRtaW4=")), 403),
    forged(
        "an application's administrator", only(("X-AppEngine-User-Is-Admin", "1"), ("X-AppEngine-Cron", "true")), 403
    ),
    # ---- signatures
    forged("two signatures, ours first", both("{}", WRONG), 403),
    forged("two signatures, ours last", both(WRONG, "{}"), 403),
    forged("our signature twice in one", both("{}", "{}"), 403),
    forged("the MAC of the payload", of_the_envelope, 403),
    forged("made for the purpose payload", of_the_purpose("payload"), 403),
    forged("made for the purpose result", of_the_purpose("result"), 403),
    forged("a hash without a key", without_a_key, 403),
    forged("a retired key", by_a_retired_key, 403),
    forged("a retired key under our key's id", by_a_retired_key_as_ours, 403),
    forged("no version", signature(lambda key_id, mac: f"{key_id}.{mac}"), 403),
    forged("version 2", signature(lambda key_id, mac: f"v2.{key_id}.{mac}"), 403),
    forged("version in upper case", signature(lambda key_id, mac: f"V1.{key_id}.{mac}"), 403),
    forged("no MAC", signature(lambda key_id, mac: f"v1.{key_id}."), 403),
    forged("no MAC and no dot", signature(lambda key_id, mac: f"v1.{key_id}"), 403),
    forged("no key id", signature(lambda key_id, mac: f"v1..{mac}"), 403),
    forged("dots", signature(lambda key_id, mac: "..."), 403),
    forged("a part more", signature(lambda key_id, mac: f"v1.{key_id}.{mac}."), 403),
    forged("a shorter MAC", signature(lambda key_id, mac: f"v1.{key_id}.{mac[:-2]}"), 403),
    forged("a longer MAC", signature(lambda key_id, mac: f"v1.{key_id}.{mac}00"), 403),
    forged("a bit of the MAC", signature(lambda key_id, mac: f"v1.{key_id}.{int(mac, 16) ^ 1:064x}"), 403),
    forged("a longer key id", signature(lambda key_id, mac: f"v1.{key_id}00.{mac}"), 403),
    forged("a key id of 1 MB", signature(lambda key_id, mac: f"v1.{key_id * 131_072}.{mac}"), 403),
    forged("a MAC of 1 MB", signature(lambda key_id, mac: f"v1.{key_id}.{mac * 16_384}"), 403),
    forged("padding", signature(lambda key_id, mac: f"v1.{key_id}.{mac}="), 403),
    forged("a space inside", signature(lambda key_id, mac: f"v1.{key_id}. {mac}"), 403),
    forged("letters beyond ASCII", signature(lambda key_id, mac: f"v1.{key_id}.{mac[:-1]}\xe4"), 403),
    forged(
        "the MAC as base64", signature(lambda _, mac: f"v1.{_}.{base64.b64encode(bytes.fromhex(mac)).decode()}"), 403
    ),
    # ---- signed for something else
    forged("signed for the path as it is encoded", signed_for(path="/_deferq/%72un"), 403),
    forged("signed for the path encoded twice", signed_for(path="/_deferq/%2572un"), 403),
    forged("signed for the path with a slash behind", signed_for(path=RUN_PATH + "/"), 403),
    forged("signed for the path in upper case", signed_for(path=RUN_PATH.upper()), 403),
    forged("signed for the whole url", signed_for(path=f"http://localhost{RUN_PATH}"), 403),
    forged("signed for a query", signed_for(query="a=b"), 403),
    forged("signed for an empty query with its mark", signed_for(query="?"), 403),
    forged("signed for GET", signed_for(method="GET"), 403),
    forged("signed for an empty body", signed_for(body=b""), 403),
    forged("signed over an hour ago, with the time of now", kept_for_longer, 403),
    forged("signed by the method's last letter", slid(lambda it: it._replace(method="POS", path="T" + it.path)), 403),
    forged("signed by the path's last letter", slid(lambda it: it._replace(path=it.path[:-1], query="n")), 403),
    forged(
        "signed by the task's first letter",
        slid(lambda it: it._replace(time=it.time + it.task[0], task=it.task[1:])),
        403,
    ),
    forged(
        "signed by the body's first letter", slid(lambda it: it._replace(task=it.task + "D", body=it.body[1:])), 403
    ),
    *(
        forged(
            f"signed for time {text[:14]}",
            lambda app, sent, text=text: signed_again(app, sent.with_header(TIME, text)),
            403,
        )
        for text in (
            "0",
            "9" * 12,
            "9" * 100_000,
            "1" + "0" * 20,
            "1e12",
            "1.8e9",
            "-9" * 9,
            "0x7fffffff",
            "inf",
            "NaN",
            "\xb9\xb2",
            "1\xa0",
            "1;2",
            "Thu, 01 Jan 2099 00:00:00 GMT",
            "0" * 13,
        )
    ),
    # ---- methods
    *(
        forged(f"signed as {method}", signed_as(method), 405)
        for method in ("OPTIONS", "PATCH", "DELETE", "CONNECT", "PRI", "Post")
    ),
    forged("GET that would be POST by a header", sent_as("GET", ("X-HTTP-Method-Override", "POST")), 405),
    forged(
        "GET that would be POST by another",
        sent_as("GET", ("X-Method-Override", "POST"), ("X-HTTP-Method", "POST")),
        405,
    ),
    forged("GET that would be POST by its query", sent_as("GET", query="_method=POST"), 405),
    forged("HEAD with the signature of the POST", sent_as("HEAD"), 405),
    forged("CONNECT with the signature of the POST", sent_as("CONNECT"), 405),
    # ---- bodies
    forged("a compressed body", with_body(b"\x1f\x8b\x08\x00" + b"\0" * 400, ("Content-Encoding", "gzip")), 403),
    forged("a form", with_body(b"_method=POST&task=x", ("Content-Type", "application/x-www-form-urlencoded")), 403),
    forged(
        "XML", with_body(b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"), 403
    ),
    forged("a bare pickle", with_body(b"cposix\nsystem\n(S'touch canary-7f3a'\ntR."), 403),
    forged(
        "lengths with spaces", plus(lambda app, sent: sent.with_header("Content-Length", f"1 {len(sent.body)}")), 400
    ),
    forged(
        "a length with a sign and a point",
        lambda app, sent: sent.with_header("Content-Length", f"{len(sent.body)}.0"),
        400,
    ),
    forged(
        "a length with leading zeros, too many",
        lambda app, sent: sent.with_header("Content-Length", "0" * 13 + "1"),
        400,
    ),
    forged(
        "transfer encoding identity",
        lambda app, sent: sent.with_header("Content-Length").with_header("Transfer-Encoding", "identity"),
        411,
        travels=False,
    ),
    forged(
        "transfer encodings and a length", lambda app, sent: sent.with_header("Transfer-Encoding", "gzip, chunked"), 400
    ),
    # ---- signed, by somebody who has the secret, and no task
    *(
        forged(f"signed, and no task: {bytes(text[:20])!r}", document(text), 400)
        for text in (b"null", b"[]", b"{}", b"{", b"\xff\xfe", b'"' + b"a" * 50_000, b"[" * 40_000, b'{"id":NaN}')
    ),
    forged("signed, and an empty task", document(b""), 403, 400),
    forged("signed, and a document of 100 kB", document(b'{"id":"' + b"a" * 75_000 + b'"}'), 400),
    forged("signed, and no base64", lambda app, sent: signed_again(app, sent.with_header(TASK, "*" * 40)), 400),
    *(
        forged(f"signed, and {name} is {value!r:.20}", task_with(**{name: value}), 400)
        for name, value in (
            ("id", "1"),
            ("id", None),
            ("id", 1.0),
            ("id", True),
            ("id", 2**63),
            ("id", 10**400),
            ("lease_id", []),
            ("target", 5),
            ("target", None),
            ("queue", ["q"]),
            ("eta", 1e308),
            ("cancel_requested", 2),
            ("wait_s", -1),
            ("wait_s", "60"),
            ("wait_s", float("nan")),
            ("wait_s", float("inf")),
            ("wait_s", 10**400),
            ("wait_s", 1e300),
            ("options", {}),
            ("attempts", "0"),
        )
    ),
)
