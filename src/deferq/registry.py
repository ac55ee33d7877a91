"""What the application has told deferq by name: deferrables, old targets, and objects that stay where they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deferq.errors import ConfigError, TargetUnknown

if TYPE_CHECKING:
    from deferq.model.retry import RetryPolicy

#: An object with this attribute, a string, is called by that target: `call_deferred` sets it on its wrappers.
TARGET_ATTRIBUTE: Final = "__deferq_target__"
_OBJECT_NAME = r"[a-zA-Z0-9_.-]{1,100}"  # compiled when it is first needed: importing deferq is to be quick


class DeferrableOptions(NamedTuple):
    """What a deferrable brings along for each of its calls. None: the queue, or deferq, decides."""

    queue: str | None = None
    retry: RetryPolicy | None = None
    #: Seconds an attempt may take.
    timeout_s: float | None = None
    #: Seconds after which a task that has not started is cancelled.
    expires_s: float | None = None
    priority: int | None = None
    tags: tuple[str, ...] = ()
    #: Where its tasks are delivered to; None: they are called.
    url: str | None = None
    #: Targets it had in earlier releases.
    aliases: tuple[str, ...] = ()


class TypeCodec(NamedTuple):
    """How a type of the application is stored in strict JSON."""

    kind: type
    #: The name it is stored under.
    tag: str
    #: Gives what strict JSON stores, or other registered types.
    encode: Callable[[Any], Any]
    #: Gives the value again.
    decode: Callable[[Any], Any]
    #: Whether `encode` gives a dict of the value's fields.
    by_fields: bool = False


class Registry:
    """Names that one process knows. Nothing here imports anything."""

    def __init__(self) -> None:
        #: Grows with every change, so that whoever caches a look-up can tell that it is stale.
        self.version = 0
        self._options: dict[str, DeferrableOptions] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        self._aliases: dict[str, str] = {}
        self._objects: dict[str, object] = {}
        self._names: dict[int, str] = {}
        self._type_codecs: dict[type, TypeCodec] = {}
        self._tags: dict[str, TypeCodec] = {}

    def declare(self, target: str, fn: Callable[..., Any], options: DeferrableOptions) -> None:
        """Remember the defaults of the deferrable `fn`, and its old names.

        A second declaration replaces the first: that is what reloading a module does. Two living functions under one
        target cannot meet here, since only one of them is found by that name, and `locate` refuses the other.

        Raises ConfigError when an alias already belongs to another target.
        """
        for old_target in options.aliases:
            self.alias(old_target, target)
        self._options[target] = options
        self._functions[target] = fn
        self.version += 1

    def options_for(self, target: str) -> DeferrableOptions | None:
        """The declared defaults of `target`; None if it was not declared."""
        return self._options.get(target)

    def declared(self) -> dict[str, Callable[..., Any]]:
        """The declared functions by target, for listings; a copy."""
        return dict(self._functions)

    def alias(self, old_target: str, target: str) -> None:
        """Let tasks stored under `old_target` run `target`.

        Raises ConfigError if `old_target` already stands for another target, or if the names would run in a circle.
        """
        if old_target == target:
            return
        known = self._aliases.get(old_target, target)
        if known != target:
            raise ConfigError(
                f"aliases: {old_target!r} already stands for {known!r} and cannot stand for {target!r} too;"
                " remove it from one of them."
            )
        if self.canonical(target) == old_target:
            raise ConfigError(f"aliases: {old_target!r} and {target!r} stand for each other; remove one of the two.")
        self._aliases[old_target] = target
        self.version += 1

    def canonical(self, target: str) -> str:
        """What `target` is called today: follows aliases to their end. `alias` keeps circles out."""
        while (newer := self._aliases.get(target)) is not None:
            target = newer
        return target

    def register(self, name: str, obj: object) -> None:
        """Give `obj` a name, so that its methods are stored as `@name:method` and never as a pickled instance.

        Raises ConfigError for a name that is malformed or belongs to another object. A reloaded module may register
        the new instance of the re-imported class.
        """
        if not is_object_name(name):
            raise ConfigError("register: a name has 1 to 100 ASCII letters, digits, '_', '-' or '.'; this one has not.")
        if obj is None:
            raise ConfigError(f"register: {name!r} is to name None, which has no methods to defer; pass the object.")
        taken = self._objects.get(name)
        if taken is not None and taken is not obj and not _reimported(taken, obj):
            raise ConfigError(f"register: {name!r} already names another object; choose another name.")
        if self._names.get(id(taken)) == name:
            del self._names[id(taken)]
        self._objects[name] = obj
        self._names[id(obj)] = name
        self.version += 1

    def register_codec(self, codec: TypeCodec) -> None:
        """Remember how a type is stored in strict JSON.

        Raises ConfigError for a tag that is malformed or belongs to another type, and for a type that has another tag.
        A reloaded module may register its new class.
        """
        if not is_object_name(codec.tag):
            raise ConfigError(
                f"register_codec: {codec.kind.__qualname__} needs a tag of 1 to 100 ASCII letters, digits, '_', '-' or"
                " '.'."
            )
        taken = self._tags.get(codec.tag)
        if taken is not None and taken.kind is not codec.kind and not _reimported(taken.kind, codec.kind):
            raise ConfigError(f"register_codec: {codec.tag!r} already stands for another type; choose another tag.")
        known = self._type_codecs.get(codec.kind, codec)
        if known.tag != codec.tag:
            raise ConfigError(
                f"register_codec: {codec.kind.__qualname__} is registered as {known.tag!r} already; a type has one tag."
            )
        if taken is not None:
            self._type_codecs.pop(taken.kind, None)
        self._tags[codec.tag] = self._type_codecs[codec.kind] = codec

    def type_codec(self, kind: type) -> TypeCodec | None:
        """How values of exactly this type are stored; None if nobody said."""
        return self._type_codecs.get(kind)

    def type_codec_of_tag(self, tag: str) -> TypeCodec | None:
        """What is stored under `tag`; None if nobody said."""
        return self._tags.get(tag)

    def name_of(self, obj: object) -> str | None:
        """The name this very object was registered under, or None."""
        return self._names.get(id(obj))

    def object(self, name: str) -> Any:
        """The object registered as `name`; raises TargetUnknown if there is none in this process."""
        if name not in self._objects:
            raise TargetUnknown(f"No object is registered as {name!r} in this process; register() it at start.")
        return self._objects[name]


def is_object_name(name: object) -> bool:
    """Whether `name` can name a registered object: 1 to 100 ASCII letters, digits, underscores, dashes or dots."""
    return isinstance(name, str) and re.fullmatch(_OBJECT_NAME, name) is not None


def _reimported(old: object, new: object) -> bool:
    """Whether both have a class of the same name that was made twice, as a reload does."""
    before, after = (thing if isinstance(thing, type) else type(thing) for thing in (old, new))
    same_name = (before.__module__, before.__qualname__) == (after.__module__, after.__qualname__)
    return same_name and before is not after


#: The one that `deferrable`, `register` and every `Deferq` use unless told otherwise.
registry = Registry()
