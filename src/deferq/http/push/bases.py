"""Where tasks are pushed to: a base URL that the operator names. Tasks may choose a path below it.

The base is trusted, so it may be private, as most are in a cluster. But it is read strictly: what two parsers could
read differently is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from deferq.errors import ConfigError
from deferq.http.push.addresses import Address, kind_of, why_refused
from deferq.model.urls import URL_BYTES_MAX

PORTS = {"http": 80, "https": 443}
#: Below this, ports belong to other services, but for the two of the web.
OWN_PORTS_FROM = 1024
#: Names by which clouds hand out credentials to whoever asks from inside.
METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog", "metadata", "instance-data"})

_BASE = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?((?:/[A-Za-z0-9._~-]+)*)/?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


class Base(NamedTuple):
    """A base URL, taken apart."""

    scheme: str
    #: A name, or an address without brackets.
    host: str
    port: int
    #: What stands before each path; empty, or with a leading slash only.
    path: str
    #: Whether the operator has allowed the host whatever it leads to.
    allowed: bool = False

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port, as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> Address | None:
        """The address, if the host is one."""
        return address_of(self.host)

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


def parse_base(text: str, allowed_hosts: Collection[str] = ()) -> Base:
    """The base URL that an operator has given; `allowed_hosts` may lie anywhere. Raises ConfigError."""
    found = _BASE.fullmatch(text) if len(text) <= URL_BYTES_MAX else None
    if found is None:
        raise ConfigError(f"The base URL is refused: {_what_is_wrong(text)} Give one like http://127.0.0.1:8000.")
    scheme, host, port, path = found.groups()
    host = host.strip("[]").lower()
    base = Base(scheme, host, int(port[1:]) if port else PORTS[scheme], path or "", host in allowed_hosts)
    if why := _why_not(base):
        raise ConfigError(f"The base URL {base} is refused: {why}")
    return base


def address_of(host: str) -> Address | None:
    """The address that a host is, written in the one way that everybody reads alike; None: it is a name."""
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except ValueError:
        return None


def _what_is_wrong(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in PORTS:
        return "it must begin with http:// or https://."
    if not text.isascii():
        return "it has characters that are not ASCII; write a name in its xn-- form."
    if "@" in rest:
        return "it has a user name or password (or an @), which does not belong there."
    if "?" in rest or "#" in rest:
        return "a query or fragment has no place in it."
    return "its host, port or path is not written in the plain way."


def _why_not(base: Base) -> str:
    if not 1 <= base.port <= 65535:
        return f"there is no port {base.port}."
    if base.port < OWN_PORTS_FROM and base.port not in PORTS.values() and not base.allowed:
        return f"port {base.port} belongs to another service. {_allow(base)}"
    if set(base.path.split("/")) & {".", ".."}:
        return "its path has '.' or '..'."
    if (address := base.address) is not None:
        if kind_of(address).odd:
            return "its address hides another one. Write that one."
        why = why_refused(address)
        return f"{why}. {_allow(base)}" if why and not base.allowed else ""
    return _why_not_named(base)


def _why_not_named(base: Base) -> str:
    labels = base.host.split(".")
    if ":" in base.host or labels[-1].isdigit() or labels[-1].startswith("0x"):
        return "its host is an address that is not written in the plain way, like 127.0.0.1 or [::1]."
    if len(base.host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "its host is no name."
    if base.host in METADATA_NAMES and not base.allowed:
        return f"this name hands out the credentials of a machine. {_allow(base)}"
    return ""


def _allow(base: Base) -> str:
    return f"If it is meant: --allow-host {base.host}."
