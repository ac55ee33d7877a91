"""What may be the url of a task, and what is refused: B54 to B63 of the table of bad inputs, and more of their kind."""

from __future__ import annotations

import pytest

from deferq.errors import DeferqError, InvalidUrl, TargetNotAllowed
from deferq.model.urls import URL_BYTES_MAX, check_url

GOOD = [
    "/",
    "/custom/path",
    "/custom/path/",
    "/tasks/mail?kind=daily&to=a@b.example",
    "/x?",
    "/x?next=http://other.example/..//&y=[1]",
    "/x;v=1/a:b/@me/~home/it's(fine)",
    "/%C3%A4/b%20c",
    "/x?q=%2F..%2F%00",
    "/_deferqx",
    "/..x/x../.hidden",
    "/" + "x" * (URL_BYTES_MAX - 1),
]
ABSOLUTE = [
    "http://169.254.169.254/",
    "http://metadata.google.internal/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://[::ffff:127.0.0.1]/",
    "http://①②⑦.⓪.⓪.①/",
    "http://localhost:22/",
    "https://localhost:0",
    "http://localhost:65536/x",
    "HTTPS://shop.example/tasks",
    "http://shоp.example/",
    "http://shop.example./",
    "http://shop..example/",
    "http://shop.example?x",
]
INVALID = [
    "http://example.com\\@127.0.0.1/",
    "http://a@host/",
    "http://host:80#@x/",
    "http://user:secret@host/",
    "http:host",
    "http:/host",
    "http:",
    "http://host\\x",
    "http://localhost:80 /",
    "file:///etc/passwd",
    "gopher://localhost:6379/_x",
    "ftp://localhost/",
    "unix:/run/docker.sock",
    "javascript:alert(1)",
    "data:,x",
    "ws://host/",
    "",
    "work",
    "./work",
    "../work",
    "?x=1",
    "#x",
    "//evil/x",
    "///evil",
    "/\\evil",
    "\\\\evil",
    "/a\\b",
    "/a#b",
    "/a//b",
    "/a/../b",
    "/a/..",
    "/./a",
    "/a/.?x",
    "/a/%2e%2e/b",
    "/a%2Fb",
    "/%2f/evil",
    "/a%5Cb",
    "/a%00",
    "/a%0d%0ab",
    "/a%7f",
    "/a%1F",
    "/a%",
    "/a%2",
    "/a%zz",
    "/a?x=%",
    "/%ff",
    "/ä",
    "/a?ö",
    "/a b",
    "/a?x y",
    " /a",
    "/a\t",
    "/a\r\nX-Y: z",
    "/a\n",
    "/a\0",
    "/a\x7f",
    "/a\u2028",
    "/\ud800",
    "/" + "x" * URL_BYTES_MAX,
    "/" + "ä" * URL_BYTES_MAX,
    "/_deferq",
    "/_deferq/",
    "/_deferq/run",
    "/_deferq/run?x",
    None,
    5,
    b"/x",
    ["/x"],
]


@pytest.mark.parametrize("url", GOOD)
def test_a_path_of_the_application_is_taken_as_it_is(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize("url", ABSOLUTE)
def test_an_absolute_url_is_refused_and_the_way_out_is_named(url: str) -> None:
    with pytest.raises(TargetNotAllowed, match=r"route.*deferq push"):
        check_url(url)


@pytest.mark.parametrize("url", INVALID)
def test_what_is_no_path_of_the_application_is_refused(url: object) -> None:
    with pytest.raises(InvalidUrl) as caught:
        check_url(url)
    assert caught.value.field == "url"


@pytest.mark.parametrize("url", [url for url in [*ABSOLUTE, *INVALID] if isinstance(url, str) and len(url) > 4])
def test_no_message_echoes_the_url(url: str) -> None:
    with pytest.raises(DeferqError) as caught:
        check_url(url)
    assert url.removesuffix("/") not in str(caught.value).replace("/_deferq/ belong", "")
