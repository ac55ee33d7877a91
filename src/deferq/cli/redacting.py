"""What must not leave the machine is taken out of whatever is to be shown: secrets, homes, hosts and users."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: Names of users that say nothing about a person, and would be found in every other word.
PLAIN_USERS = frozenset({"root", "deferq", "user", "app", "www-data", "nobody", "admin", "worker"})
_SHORTEST = 3
_HOMES = re.compile(r"/(?:home|Users)/[^/\s'\",:;)]+")
#: Up to the last @: who forgets to encode a password may have any character in it.
_PASSWORDS = re.compile(r"(://[^/\s:@]*):\S+@")


class Redactor:
    """Takes out what it was told of."""

    def __init__(self, secrets: Iterable[str | bytes] = (), hosts: Iterable[str] = ()) -> None:
        """`hosts` are names of machines beside this one."""
        texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in secrets]
        self._texts = [
            *((text, "(secret)") for text in texts if text),
            *((home, "~") for home in _homes()),
        ]
        self._words = [
            *((host, "(host)") for host in {*hosts, *_hosts()} if len(host) >= _SHORTEST and host != "localhost"),
            *((user, "(user)") for user in _users() if user not in PLAIN_USERS and len(user) >= _SHORTEST),
        ]

    def text(self, text: str) -> str:
        """`text` without it."""
        for word, instead in sorted(self._texts, key=lambda pair: -len(pair[0])):
            text = text.replace(word, instead)
        text = _PASSWORDS.sub(r"\1:***@", _HOMES.sub("~", text))
        for word, instead in sorted(self._words, key=lambda pair: -len(pair[0])):
            text = re.sub(rf"(?<![\w]){re.escape(word)}(?![\w])", instead, text)
        return text

    def document(self, value: Any) -> Any:
        """A document for JSON without it, names of fields included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(name)): self.document(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(one) for one in value]
        return value


def _homes() -> set[str]:
    """Of this user; a home that is the root folder says nothing."""
    try:
        home = Path.home()
    except (RuntimeError, KeyError):
        return set()
    return {str(path) for path in (home, home.resolve()) if len(path.parts) > 1}


def _hosts() -> set[str]:
    name = socket.gethostname()
    return {name, name.partition(".")[0]}


def _users() -> set[str]:
    try:
        return {getpass.getuser()}
    except (OSError, KeyError):
        return set()
