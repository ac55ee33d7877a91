"""Scripts for shells, made from what the verbs say they take."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import NamedTuple

from deferq.cli.arguments import Parser
from deferq.cli.main import VERBS
from deferq.cli.shells import BASH, FISH, ZSH
from deferq.model.state import State
from deferq.stores import ENGINES

#: What may stand there, by the name of an argument: words, or one of the kinds below.
QUEUES, FILES = "queues", "files"
KINDS: Mapping[str, str | Sequence[str]] = {
    "queue": QUEUES,
    "queues": QUEUES,
    "app": FILES,
    "state": [state.name.lower() for state in State],
    "if_exists": ("raise", "return", "replace"),
    "url": [f"{engine}://" + ("/" if engine == "sqlite" else "") for engine in ENGINES],
}


class Option(NamedTuple):
    """One option of a verb."""

    names: Sequence[str]
    help: str
    #: What follows it: None: nothing; else words or a kind; an empty list: whatever one likes.
    value: str | Sequence[str] | None


class Usage(NamedTuple):
    """What one verb takes."""

    verb: str
    help: str
    options: list[Option]
    #: What stands in the first place without an option.
    place: str | Sequence[str]


def usages() -> list[Usage]:
    """Of every verb."""
    return [_usage(verb) for verb in VERBS]


def _usage(verb: str) -> Usage:
    parser = Parser(prog=verb)
    import_module("deferq.cli." + verb.replace(" ", "_")).add_arguments(parser)
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    options = [_option(action) for action in actions if action.option_strings]
    places = [_value(action) for action in actions if not action.option_strings]
    return Usage(verb, VERBS[verb], options, places[0] if places else ())


def _option(action: argparse.Action) -> Option:
    return Option(action.option_strings, (action.help or "").replace("%%", "%"), _follows(action))


def _follows(action: argparse.Action) -> str | Sequence[str] | None:
    return None if action.nargs == 0 else _value(action)


def _value(action: argparse.Action) -> str | Sequence[str]:
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    return KINDS.get(action.dest, ())


# ---- bash and zsh share their tables: both know `case`


def _tables() -> dict[str, str]:
    """The parts of a script that depend on the verbs."""
    groups: dict[str, list[str]] = {}
    for verb in VERBS:
        first, _, second = verb.partition(" ")
        groups.setdefault(first, []).extend([second] if second else [])
    firsts = [*groups]
    return {
        "@FIRSTS@": " ".join(firsts),
        "@GROUPS@": _cases((first, f'words="{" ".join(rest)}"') for first, rest in groups.items() if rest),
        "@OPTIONS@": _cases((usage.verb, f'words="{_names(usage)}"') for usage in usages()),
        "@VALUES@": _cases(_value_cases()),
        "@PLACES@": _cases((usage.verb, _setting(usage.place)) for usage in usages() if usage.place),
    }


def _names(usage: Usage) -> str:
    return " ".join(name for option in usage.options for name in option.names)


def _value_cases() -> Iterator[tuple[str, str]]:
    for usage in usages():
        for option in usage.options:
            if option.value is not None:
                for name in option.names:
                    yield f"{usage.verb}:{name}", _setting(option.value)


def _setting(value: str | Sequence[str]) -> str:
    """A kind, or words."""
    return f"kind={value}" if isinstance(value, str) else f'kind=words words="{" ".join(value)}"'


def _cases(pairs: Iterator[tuple[str, str]]) -> str:
    return "\n".join(f"        {shlex.quote(name)}) {does} ;;" for name, does in pairs)


def _filled(script: str, tables: Mapping[str, str]) -> str:
    for mark, text in tables.items():
        script = script.replace(mark, text)
    return script


def bash() -> str:
    """For bash."""
    return _filled(BASH, _tables())


def zsh() -> str:
    """For zsh."""
    # `words` is zsh's own name for what is typed.
    return _filled(ZSH, {mark: text.replace('words="', 'words_="') for mark, text in _tables().items()})


# ---- fish


def fish() -> str:
    """For fish, which wants a line for each word."""
    groups = dict.fromkeys(verb.split()[0] for verb in VERBS if " " in verb)
    return _filled(FISH, {"@ALONE@": " ".join(["''", *groups]), "@LINES@": "\n".join(_fish_lines())})


def _fish_lines() -> Iterator[str]:
    said: set[str] = set()
    for usage in usages():
        first, _, second = usage.verb.partition(" ")
        if first not in said:
            said.add(first)
            yield f"complete -c deferq -n '__deferq_is' -a {first}" + ("" if second else _described(usage.help))
        if second:
            yield f"complete -c deferq -n '__deferq_is {first}' -a {second}{_described(usage.help)}"
        for option in usage.options:
            yield _fish_option(usage.verb, option)
        if usage.place:
            yield f"complete -c deferq -n '__deferq_is {usage.verb}'{_fish_words(usage.place)}"


def _fish_option(verb: str, option: Option) -> str:
    names = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names)
    words = "" if option.value is None else f" -x{_fish_words(option.value)}"
    return f"complete -c deferq -n '__deferq_is {verb}'{names}{words}{_described(option.help)}"


def _fish_words(value: str | Sequence[str]) -> str:
    if value == QUEUES:
        return " -a '(__deferq_queues)'"
    if value == FILES:
        return " -a '(__fish_complete_suffix .py)'"
    return f" -a {_quoted(' '.join(value))}" if value else ""


def _described(text: str) -> str:
    return f" -d {_quoted(text)}" if text else ""


def _quoted(text: str) -> str:
    """In single quotes, where fish knows only two escapes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


#: What makes the script of each shell.
SHELLS: Mapping[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
