"""Which addresses a base may lead to.

A name is resolved anew for each connection, its addresses are looked at, and the connection goes to one of those and to
no other. What a name leads to may change, as it does in a cluster, but not its kind: a public name that suddenly leads
to a private address, or the other way about, is somebody's trick.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple

Address = IPv4Address | IPv6Address
#: As `socket.getaddrinfo`.
Resolve = Callable[..., Sequence[tuple[Any, ...]]]

#: Where clouds answer whoever asks from inside, apart from the link-local 169.254.169.254.
METADATA = frozenset(
    ip_address(text)
    for text in (
        *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
        *("100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
#: Networks whose addresses carry an IPv4 address, and how far from the right it stands, in bits.
_CARRIERS = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
    (IPv6Network("::/96"), 0),
)
#: Among the carriers, and addresses of their own; from Python 3.13 on `is_loopback` looks through a carrier.
_PLAIN = (IPv6Address("::1"), IPv6Address("::"))
_SHARED = IPv4Network("100.64.0.0/10")


class Refused(OSError):
    """No address may be connected to."""


class Kind(NamedTuple):
    """What an address is, as far as it matters here."""

    #: "public", "private" or "loopback"; the rest are refused: "link-local", "metadata", "multicast", "unusable".
    name: str
    #: Whether it hides an IPv4 address in an IPv6 one.
    odd: bool = False


def kind_of(address: Address) -> Kind:
    """The kind of an address; of one that hides another, the kind of that."""
    if isinstance(address, IPv6Address) and (hidden := _hidden(address)) is not None:
        return Kind(_kind(hidden), odd=True)
    return Kind(_kind(address))


def why_refused(address: Address) -> str:
    """Why it is not connected to unless it was allowed; empty: it is."""
    kind = kind_of(address).name
    return "" if kind in ("public", "private", "loopback") else f"its address {address} is {kind}"


class Guard:
    """Resolves the host of one base for each connection, and lets pass what it may lead to."""

    def __init__(self, host: str, port: int, *, allowed: bool = False, resolve: Resolve = socket.getaddrinfo) -> None:
        self._host = host
        self._port = port
        self._allowed = allowed
        self._resolve = resolve
        #: What the name led to when it was resolved first.
        self._kinds: frozenset[str] = frozenset()

    def addresses(self) -> list[tuple[int, str]]:
        """Family and address of each place to connect to, in the order of the resolver. Raises OSError."""
        answers = self._resolve(self._host, self._port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys((family, str(place[0])) for family, _, _, _, place in answers))
        if self._allowed:
            return found
        kinds = {address: kind_of(ip_address(address.partition("%")[0])).name for _, address in found}
        fitting = [(family, address) for family, address in found if self._may_be(address, kinds[address])]
        if not fitting:
            raise Refused(self._reason(kinds))
        self._kinds = self._kinds or frozenset(kinds[address] for _, address in fitting)
        return fitting

    def _may_be(self, address: str, kind: str) -> bool:
        usable = not why_refused(ip_address(address.partition("%")[0]))
        return usable and (not self._kinds or kind in self._kinds)

    def _reason(self, kinds: dict[str, str]) -> str:
        leads = _listed(f"{address} ({kind})" for address, kind in kinds.items()) or "no address"
        was = f", and was {_listed(sorted(self._kinds))} before" if self._kinds else ""
        return f"{self._host} leads to {leads}{was}; if that is meant: --allow-host {self._host}"


def connect(addresses: Iterable[tuple[int, str]], port: int, timeout_s: float) -> socket.socket:
    """A connection to the first of these addresses that takes it. Raises OSError."""
    trouble: OSError = Refused("there is no address")
    for family, address in addresses:
        one = socket.socket(family, socket.SOCK_STREAM)
        try:
            one.settimeout(timeout_s)
            one.connect((address, port))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return one
        except OSError as error:
            one.close()
            trouble = error
    raise trouble


def _hidden(address: IPv6Address) -> IPv4Address | None:
    if address in _PLAIN:
        return None
    for network, shift in _CARRIERS:
        if address in network:
            return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return None


def _kind(address: Address) -> str:
    if address in METADATA:
        return "metadata"
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified or address.is_reserved:  # to Python some of these are private as well
        return "unusable"
    if address.is_private or address in _SHARED or (isinstance(address, IPv6Address) and address.is_site_local):
        return "private"
    return "public"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
