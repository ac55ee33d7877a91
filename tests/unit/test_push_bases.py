"""What may stand after --to, where it may lead, and which paths tasks may choose below it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from deferq.cli.arguments import CommandError
from deferq.cli.push import planned
from deferq.errors import ConfigError, InvalidName, InvalidOption, TargetNotAllowed
from deferq.http.push.addresses import Guard, Refused
from deferq.http.push.bases import Base, parse_base
from deferq.model.urls import check_url


@pytest.mark.parametrize(
    ("text", "base", "origin"),
    [
        ("http://127.0.0.1:8000", Base("http", "127.0.0.1", 8000, ""), "http://127.0.0.1:8000"),
        ("http://localhost", Base("http", "localhost", 80, ""), "http://localhost"),
        ("https://Shop.Example/", Base("https", "shop.example", 443, ""), "https://shop.example"),
        ("https://shop.example:8443/app/v2/", Base("https", "shop.example", 8443, "/app/v2"), "https://shop.example:8443"),
        ("http://10.0.0.7:8000", Base("http", "10.0.0.7", 8000, ""), "http://10.0.0.7:8000"),
        ("http://[::1]:8000", Base("http", "::1", 8000, ""), "http://[::1]:8000"),
        ("http://my_service:8000", Base("http", "my_service", 8000, ""), "http://my_service:8000"),
        ("http://xn--bcher-kva.example", Base("http", "xn--bcher-kva.example", 80, ""), "http://xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_a_base_is_scheme_host_port_and_perhaps_a_path(text: str, base: Base, origin: str) -> None:
    assert parse_base(text) == base
    assert (base.origin, str(base)) == (origin, origin + base.path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file:///etc/passwd", "must begin with http"),
        ("gopher://host/", "must begin with http"),
        ("ftp://host/", "must begin with http"),
        ("unix:/run/app.sock", "must begin with http"),
        ("javascript:alert(1)", "must begin with http"),
        ("HTTP://host", "must begin with http"),
        ("host:8000", "must begin with http"),
        ("", "must begin with http"),
        ("http://user:secret@host/", "user name or password"),
        ("http://a@host/", "user name or password"),
        ("http://example.com\\@127.0.0.1/", "user name or password"),
        ("http://host:80#@x/", "user name or password"),
        ("http://example.com\\evil/", "plain way"),
        ("http://host/?a=b", "query or fragment"),
        ("http://host/#a", "query or fragment"),
        ("http://①②⑦.0.0.1/", "not ASCII"),
        ("http://bücher.example/", "not ASCII"),
        ("http://host /", "plain way"),
        ("http://ho\tst/", "plain way"),
        ("http://host\r\nX: y/", "plain way"),
        ("http://host:80 /", "plain way"),
        ("http://host:/", "plain way"),
        ("http://:80/", "plain way"),
        ("http://host//evil", "plain way"),
        ("http://host/%2e%2e", "plain way"),
        ("http://host/..", "'.' or '..'"),
        ("http://host:0", "no port 0"),
        ("http://host:65536", "no port 65536"),
        ("http://host:22", "port 22 belongs to another service"),
        ("http://host:25", "port 25 belongs to another service"),
        ("http://127.1/", "not written in the plain way"),
        ("http://2130706433/", "not written in the plain way"),
        ("http://0x7f.1/", "not written in the plain way"),
        ("http://0x7f000001/", "not written in the plain way"),
        ("http://0177.0.0.1/", "not written in the plain way"),
        ("http://[::ffff:127.0.0.1]/", "hides another"),
        ("http://[::ffff:10.0.0.1]/", "hides another"),
        ("http://[64:ff9b::a9fe:a9fe]/", "hides another"),
        ("http://[2002:7f00:1::]/", "hides another"),
        ("http://[::127.0.0.1]/", "hides another"),
        ("http://[:::1]/", "not written in the plain way"),
        ("http://[127.0.0.1]/", "not written in the plain way"),
        ("http://[ab.cd]/", "not written in the plain way"),
        ("http://169.254.169.254/", "link-local"),
        ("http://[fe80::1]/", "link-local"),
        ("http://[fd00:ec2::254]/", "metadata"),
        ("http://100.100.100.200/", "metadata"),
        ("http://metadata.google.internal/", "credentials"),
        ("http://224.0.0.1/", "multicast"),
        ("http://0.0.0.0/", "unusable"),
        ("http://[::]/", "unusable"),
        ("http://255.255.255.255/", "unusable"),
        ("http://example.com./", "no name"),
        ("http://example..com/", "no name"),
        ("http://.example.com/", "no name"),
        ("http://-a.example/", "no name"),
        (f"http://{'a' * 64}.example/", "no name"),
        (f"http://host/{'a' * 2083}", "plain way"),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_base(text)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_operator_may_allow_a_host_by_name() -> None:
    assert parse_base("http://169.254.169.254", {"169.254.169.254"}).allowed
    assert parse_base("http://metadata.google.internal", {"metadata.google.internal"}).allowed
    assert parse_base("http://host:22", {"host"}).port == 22
    with pytest.raises(ConfigError):
        parse_base("http://2130706433", {"2130706433"})


# ---- paths


@pytest.mark.parametrize("url", ["/", "/jobs", "/jobs/7?a=b&c=//d", "/a%20b", "/a;b=c/@d", "/jobs?next=http://x/../y"])
def test_a_path_below_the_base(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "", "work", "http://evil/x", "//evil/x", "/\\evil", "\\\\evil", "/a\\b", "/..", "/a/../b", "/./a", "/%2e%2e/a",
        "/%2E%2e", "/a%2fb", "/a%2F..%2Fb", "/a%5cb", "/a%00b", "/a%0d%0ab", "/a b", "/a\tb", "/a\r\nHost: evil",
        "/a\n", "/a#b", "/ä", "/a%", "/a%zz", "/" + "a" * 2083, "@evil/", ":80/", "/a\x7f",
    ],
)  # fmt: skip
def test_no_path_can_leave_the_base(url: str) -> None:
    with pytest.raises((InvalidOption, TargetNotAllowed)):
        check_url(url)


# ---- addresses


class Names:
    """A resolver that says what it is told to."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append((host, port))
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in self.addresses
        ]


@pytest.mark.parametrize("address", ["93.184.216.34", "10.0.0.7", "127.0.0.1", "::1", "192.168.1.1", "fd00::7"])
def test_a_name_may_lead_to_a_public_private_or_loopback_address(address: str) -> None:
    assert [found for _, found in Guard("shop", 80, resolve=Names(address)).addresses()] == [address]


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "0.0.0.0",
     "224.0.0.1", "fd00:ec2::254", "100.100.100.200", "240.0.0.1", "168.63.129.16", "fd20:ce::254", "fd00:ec2::23"],
)  # fmt: skip
def test_no_name_leads_to_metadata_or_where_nobody_serves(address: str) -> None:
    with pytest.raises(Refused, match="--allow-host shop"):
        Guard("shop", 80, resolve=Names(address)).addresses()
    assert Guard("shop", 80, allowed=True, resolve=Names(address)).addresses()


def test_addresses_that_may_not_be_connected_to_are_left_out() -> None:
    guard = Guard("shop", 80, resolve=Names("169.254.169.254", "10.0.0.7"))
    assert [found for _, found in guard.addresses()] == ["10.0.0.7"]


@pytest.mark.parametrize(
    ("first", "then"),
    [("93.184.216.34", "127.0.0.1"), ("93.184.216.34", "10.0.0.7"), ("10.0.0.7", "127.0.0.1"),
     ("10.0.0.7", "93.184.216.34"), ("93.184.216.34", "::ffff:10.0.0.7"), ("93.184.216.34", "fec0::7")],
)  # fmt: skip
def test_a_name_that_suddenly_leads_to_another_kind_of_address_is_not_followed(first: str, then: str) -> None:
    names = Names(first)
    guard = Guard("shop", 80, resolve=names)
    guard.addresses()
    names.addresses = (then,)
    with pytest.raises(Refused, match="before"):
        guard.addresses()


def test_a_name_may_move_among_addresses_of_a_kind_and_is_asked_for_each_connection() -> None:
    names = Names("10.0.0.7")
    guard = Guard("shop", 81, resolve=names)
    guard.addresses()
    names.addresses = ("10.0.0.8", "192.168.0.1")
    assert [found for _, found in guard.addresses()] == ["10.0.0.8", "192.168.0.1"]
    assert names.asked == [("shop", 81)] * 2


# ---- routes


TO, EU = "http://127.0.0.1:8000", "http://127.0.0.1:8001"


def test_without_routes_every_task_goes_to_the_base() -> None:
    assert planned(TO, []) == {parse_base(TO): None}


def test_routes_go_to_their_bases_and_tasks_without_one_to_the_other() -> None:
    assert planned(TO, [f"eu={EU}"]) == {parse_base(TO): (None,), parse_base(EU): ("eu",)}


def test_without_a_base_of_their_own_tasks_without_a_route_stay() -> None:
    assert planned(None, [f"eu={EU}", f"us={EU}"]) == {parse_base(EU): ("eu", "us")}


def test_a_route_may_share_the_base_of_the_tasks_without_one() -> None:
    assert planned(TO, [f"eu={TO}/"]) == {parse_base(TO): (None, "eu")}


@pytest.mark.parametrize("route", ["eu", EU, "=http://x", "e u=http://x", "eu=x"])
def test_a_route_is_a_name_and_a_base(route: str) -> None:
    with pytest.raises((CommandError, ConfigError, InvalidName)):
        planned(None, [route])


def test_somewhere_it_must_go_and_a_route_to_one_place_only() -> None:
    with pytest.raises(CommandError, match="Where to"):
        planned(None, [])
    with pytest.raises(CommandError, match="twice"):
        planned(TO, [f"eu={EU}", f"eu={TO}"])
