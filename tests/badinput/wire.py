"""Requests that are strange on the wire, and that the table of bad inputs does not name, as bytes.

Each lacks what makes a delivery ours, so that whatever a server makes of it must be refused.
"""

from __future__ import annotations

from collections.abc import Callable

from deferq.codec.wire import RUN_PATH, SIGNATURE, TIME
from tests.support.deliveries import Sent

Pieces = Callable[[Sent], tuple[bytes, ...]]
WEBSOCKET = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


def head(sent: Sent, *more: str, line: str = f"POST {RUN_PATH} HTTP/1.1", without: tuple[str, ...] = ()) -> bytes:
    headers = [f"{name}: {value}" for name, value in sent.headers if name not in without]
    return "\r\n".join([line, "Host: localhost", *headers, *more, "", ""]).encode("latin-1")


def line(text: str, *, unsigned: bool = True) -> Pieces:
    """Another request line; without a signature, or with one that is for another request."""
    without = (SIGNATURE,) if unsigned else ()
    return lambda sent: (head(sent, line=text, without=without), sent.body)


def unsigned(*more: str) -> Pieces:
    return lambda sent: (head(sent, *more, without=(SIGNATURE,)), sent.body)


def signed(sent: Sent) -> str:
    return f"{SIGNATURE}: {sent.header(SIGNATURE)}"


def chunked(*more: str, trailer: bool = False, size: str = "{:x}") -> Pieces:
    """In chunks, and unsigned; the signature may come behind them."""

    def pieces(sent: Sent) -> tuple[bytes, ...]:
        first = head(sent, "Transfer-Encoding: chunked", *more, without=("Content-Length", SIGNATURE))
        end = f"0\r\n{signed(sent)}\r\n\r\n" if trailer else "0\r\n\r\n"
        return first, size.format(len(sent.body)).encode() + b"\r\n" + sent.body + b"\r\n", end.encode()

    return pieces


def hidden(before: str) -> Pieces:
    """A whole signed delivery as the body of a request to somewhere else, which ends too early for the one behind."""

    def pieces(sent: Sent) -> tuple[bytes, ...]:
        inner = head(sent.with_header(TIME, "1"), "Connection: close") + sent.body
        return (f"{before}\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode() + inner,)

    return pieces


def obsolete_fold(sent: Sent) -> tuple[bytes, ...]:
    """The signature on a line of its own, as HTTP once had it. Who joins the lines changes its spaces."""
    version, rest = sent.header(SIGNATURE).split(".", 1)
    return head(sent, f"{SIGNATURE}: {version}.\r\n {rest}", without=(SIGNATURE,)), sent.body


def space_before_colon(sent: Sent) -> tuple[bytes, ...]:
    return head(sent, f"{SIGNATURE} : {sent.header(SIGNATURE)[:-1]}", without=(SIGNATURE,)), sent.body


WIRE: dict[str, Pieces] = {
    "absolute form": line(f"POST http://localhost{RUN_PATH} HTTP/1.1"),
    "absolute form of another host": line(f"POST http://evil.example{RUN_PATH} HTTP/1.1"),
    "absolute form with a user": line(f"POST http://deferq:x@localhost{RUN_PATH} HTTP/1.1"),
    "authority form": line("CONNECT localhost:80 HTTP/1.1"),
    "asterisk form": line("OPTIONS * HTTP/1.1"),
    "CONNECT with the signature of a POST": line(f"CONNECT {RUN_PATH} HTTP/1.1", unsigned=False),
    "path encoded twice": line("POST /_deferq/%2572un HTTP/1.1", unsigned=False),
    "path with an encoded slash": line("POST /_deferq%2Frun%2F HTTP/1.1", unsigned=False),
    "path with dots": line("POST /x/../_deferq/run/../run/. HTTP/1.1", unsigned=False),
    "path with encoded dots": line("POST /_deferq/%2e%2e/_deferq/run/ HTTP/1.1", unsigned=False),
    "path with a parameter": line("POST /_deferq/run;jsessionid=1 HTTP/1.1", unsigned=False),
    "path with a backslash": line("POST \\_deferq\\run HTTP/1.1", unsigned=False),
    "path of bytes that are no UTF-8": line("POST /_deferq/\xff HTTP/1.1", unsigned=False),
    "a query": line(f"POST {RUN_PATH}?a HTTP/1.1", unsigned=False),
    "a fragment": line(f"POST {RUN_PATH}?#a HTTP/1.1"),
    "HTTP/1.0": line(f"POST {RUN_PATH} HTTP/1.0"),
    "HTTP/0.9": line(f"GET {RUN_PATH}"),
    "HTTP/2.0 in words": line(f"POST {RUN_PATH} HTTP/2.0"),
    "HTTP/9.9": line(f"POST {RUN_PATH} HTTP/9.9"),
    "the preface of HTTP/2": lambda sent: (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),),
    "TLS": lambda sent: (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),),
    "no host": lambda sent: (head(sent, without=(SIGNATURE,)).replace(b"Host: localhost\r\n", b""), sent.body),
    "two hosts": unsigned("Host: evil.example"),
    "waits for 100": unsigned("Expect: 100-continue"),
    "waits for 200": unsigned("Expect: 200-ok"),
    "chunks": chunked(),
    "chunks with extensions": chunked(size="{:x};a=b;" + "c" * 100),
    "chunks with a sign": chunked(size="+{:x}"),
    "chunks whose size is too large": chunked(size="ffffffffffffffff{:x}"),
    "the signature in a trailer": chunked("Trailer: " + SIGNATURE, trailer=True),
    "an encoding that is not there": unsigned("Transfer-Encoding: xchunked"),
    "an encoding with a tab": unsigned("Transfer-Encoding:\tchunked"),
    "an encoding twice": unsigned("Transfer-Encoding: identity", "Transfer-Encoding: chunked"),
    "a header folded": obsolete_fold,
    "a space before the colon": space_before_colon,
    "a header without a name": unsigned(": x"),
    "a header with NUL": unsigned("X-A: a\0b"),
    "a bare carriage return": unsigned("X-A: a\rX-B: b"),
    "an upgrade to a websocket": unsigned(*WEBSOCKET),
    "an upgrade to HTTP/2": unsigned("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"),
    "a websocket by GET": lambda sent: (
        head(sent, *WEBSOCKET, line=f"GET {RUN_PATH} HTTP/1.1", without=("Content-Length",)),
    ),
    "a proxy's word for the path": unsigned(f"X-Original-URL: {RUN_PATH}", "X-HTTP-Method-Override: POST"),
    "a proxy's word for the mount": unsigned("SCRIPT_NAME: /_deferq", "X-Forwarded-Prefix: /_deferq"),
    "a delivery of long ago behind a GET": hidden(f"GET {RUN_PATH} HTTP/1.1"),
    "a delivery of long ago behind a POST": hidden("POST /_deferq/none HTTP/1.1"),
}  # fmt: skip
