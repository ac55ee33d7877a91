"""What the own url of a task may be: a path of the application, with a query if need be.

It must mean the same to every server and every framework on the way, so whatever two of them may read differently is
refused. A message names what is wrong and never echoes the url.
"""

from __future__ import annotations

import re

from deferq.errors import InvalidUrl, TargetNotAllowed

URL_BYTES_MAX = 2_083
#: Paths that deferq answers itself.
OWN_PATHS = "/_deferq/"
# Compiled when they are first needed: importing deferq is to be quick.
_SCHEME = r"([a-zA-Z][a-zA-Z0-9+.-]*):"
_BLANK = r"[\x00-\x20\x7f]"
_VISIBLE = r"[\x21-\x7e]*"
_BROKEN_ESCAPE = r"%(?![0-9a-fA-F]{2})"
#: A dot, a slash, a backslash or a control character in disguise.
_HIDDEN = r"%(2e|2f|5c|7f|[01][0-9a-f])"
_AUTHORITY = r"//[^/?\\@#]*(?=[/?]|$)"


def check_url(value: object) -> str:
    """Return `value` if it is a path to which a task may be delivered.

    Raises InvalidUrl; TargetNotAllowed for an absolute url, since it could lead anywhere.
    """
    if not isinstance(value, str):
        raise _invalid("expected a text, such as /tasks/mail")
    if len(value.encode("utf-8", "surrogatepass")) > URL_BYTES_MAX:
        raise _invalid(f"it is longer than {URL_BYTES_MAX:,} bytes; put the data into the arguments")
    if re.search(_BLANK, value):
        raise _invalid("it has a space or a control character in it")
    if scheme := re.match(_SCHEME, value):
        _refuse_absolute(scheme[1].lower(), value[scheme.end() :])
    _check_relative(value)
    return value


def _refuse_absolute(scheme: str, rest: str) -> None:
    if scheme not in ("http", "https"):
        raise _invalid("only paths of the application can be delivered to, and this has another scheme")
    if not re.match(_AUTHORITY, rest) or "\\" in rest or "#" in rest:
        raise _invalid("it is no path of the application, and no url that means the same to everybody")
    raise TargetNotAllowed(
        "url: only a path of the application is allowed, such as /tasks/mail, and this is an absolute url, which could"
        " lead anywhere. Another application goes by its route, with call(fn).defer(route=...): 'deferq push' maps"
        " routes to base urls."
    )


def _check_relative(value: str) -> None:
    if not re.fullmatch(_VISIBLE, value):
        raise _invalid("it has letters beyond ASCII; percent-encode them")
    if not value.startswith("/"):
        raise _invalid("it does not begin with a slash")
    for sign, why in (("\\", "a backslash"), ("#", "a fragment")):
        if sign in value:
            raise _invalid(f"it has {why} in it")
    if re.search(_BROKEN_ESCAPE, value):
        raise _invalid("it has a percent sign without two hexadecimal digits behind it")
    _check_path(value.partition("?")[0])


def _check_path(path: str) -> None:
    if "//" in path:
        raise _invalid("it has two slashes in a row")
    if re.search(_HIDDEN, path.lower()):
        raise _invalid("it has a percent-encoded dot, slash, backslash or control character in its path")
    if {".", ".."}.intersection(path.split("/")):
        raise _invalid("it has a segment of dots in its path")
    if f"{path}/".startswith(OWN_PATHS):
        raise _invalid(f"paths under {OWN_PATHS} belong to deferq")
    from urllib.parse import unquote_to_bytes

    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise _invalid("its path, once decoded, is not UTF-8") from None


def _invalid(why: str) -> InvalidUrl:
    return InvalidUrl(f"url: {why}. It must be a path of the application, such as /tasks/mail?kind=daily.", field="url")
