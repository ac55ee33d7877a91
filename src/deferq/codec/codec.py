"""A call into signed bytes, and back: verify, then find the target, then restore the arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from deferq.codec.context import Carried, capture, carriers
from deferq.codec.payload import decode_call, decode_result, encode_call, encode_result
from deferq.codec.requests import REQUEST_TARGET, StoredRequest, is_request, pack_request, unpack_request
from deferq.codec.signing import CODECS, HTTP, PICKLE, TRIPLE, Keyring
from deferq.codec.sizes import PAYLOAD_LIMIT, oversized
from deferq.codec.targets import Located, check_allowed, check_homes, find, unwrapped
from deferq.codec.triples import OURS, decode_triple, encode_triple
from deferq.errors import CodecNotAllowed, ConfigError
from deferq.locks import ProcessLock
from deferq.model.task import Leased
from deferq.registry import Registry

if TYPE_CHECKING:
    from deferq.codec.strictjson.calls import StrictJson


class Invocation(NamedTuple):
    """A verified call, ready to be made."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    #: Values to `restore` in the task's own context, by name.
    context: Mapping[str, Any]
    #: Whether calling `fn` gives a coroutine.
    is_async: bool
    #: Whether what `fn` returns is stored.
    keeps_result: bool = True


class Codec:
    """How one application stores calls and results."""

    def __init__(
        self,
        keyring: Keyring | Callable[[], Keyring],
        registry: Registry,
        *,
        allow: Iterable[str] | None = None,
        carry: Iterable[ContextVar[Any] | Carried] = (),
        payload: str = "pickle",
        accept: Iterable[str] | None = None,
        payload_limit: int = PAYLOAD_LIMIT,
    ) -> None:
        """Nothing is read yet: a callable `keyring` is asked when the first envelope is sealed or opened.

        Args:
            keyring: the secrets, or how to get them.
            registry: aliases and registered objects.
            allow: module prefixes that targets must lie under; None: no limit.
            carry: context that travels with each task.
            payload: "pickle" or "json": how new calls and results are stored.
            accept: what of these is restored; None: "json" alone with "json", else both.
            payload_limit: bytes that the arguments, or a result, may have.

        Raises ConfigError for an `allow` or `carry` that is not what it should be.
        """
        self._keyring = keyring if isinstance(keyring, Keyring) else None
        self._load_keyring = keyring
        self._loading = ProcessLock()
        self._registry = registry
        self._allow = _checked_allow(allow)
        self.carried = carriers(carry)
        self.payload_limit = payload_limit
        self._number = CODECS[payload]
        accepted = frozenset(CODECS[name] for name in accept or _accepted_with(payload))
        self._accepted = accepted | {TRIPLE} if PICKLE in accepted else accepted
        self._strict: StrictJson | None = None
        pickled = self._number == PICKLE
        self._encode_call = encode_call if pickled else self._strict_json().encode_call
        self._encode_result = encode_result if pickled else self._strict_json().encode_result

    @property
    def keyring(self) -> Keyring:
        """The secrets; raises what loading them raises."""
        return self._keyring or self._loaded_keyring()

    def encode(
        self,
        task_id: int,
        located: Located,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        url: str | None = None,
    ) -> bytes:
        """The signed envelope of one call, good for this task and target only.

        Raises TargetNotAllowed, NotSerializable, PayloadTooLargeError or, with strict JSON, PayloadTooDeep or
        PayloadTooComplex; nothing has been stored then.
        """
        target, first, named = located
        if self._allow is not None:
            check_allowed(target, self._allow)
        if named:
            kwargs = {**named, **kwargs}
        context = capture(self.carried) if self.carried else None
        body = self._encode_call(first + args, kwargs, context, bound=len(first))
        self._check_size("arguments", body)
        return self.keyring.seal("payload", task_id, target, body, codec=self._number, url=url)

    def encode_triple(self, task_id: int, target: str, pickled: bytes, *, url: str | None = None) -> bytes:
        """The signed envelope of a call that names its own callable: `pickled` is that of (callable, args, kwargs).

        `target` is what people and the allow-list see. Raises CodecNotAllowed where no pickles are read,
        TargetNotAllowed, PayloadTooLargeError.
        """
        self._check_triple(target)
        body = encode_triple(pickled, capture(self.carried) if self.carried else None)
        self._check_size("arguments", body)
        return self.seal_triple(task_id, target, body, url=url)

    def seal_triple(self, task_id: int, target: str, body: bytes, *, url: str | None = None) -> bytes:
        """The signed envelope around what `encode_triple` has encoded."""
        return self.keyring.seal("payload", task_id, target, body, codec=TRIPLE, url=url)

    def seal_spill(self, task_id: int, target: str, pickled: bytes) -> bytes:
        """The signed envelope of such a call that stands beside the task. Raises like `encode_triple`."""
        self._check_triple(target)
        body = encode_triple(pickled)
        self._check_size("arguments", body)
        return self.keyring.seal("spill", task_id, "", body, codec=TRIPLE)

    def open_spill(self, task_id: int, envelope: bytes) -> Invocation:
        """The call in it. Raises PayloadError, TargetNotAllowed or TargetUnknown."""
        return self._invocation_of_triple("spill", self.read_spill(task_id, envelope))

    def read_spill(self, task_id: int, envelope: bytes) -> bytes:
        """The pickle in it, verified and not restored. Raises PayloadError."""
        return self.keyring.open("spill", task_id, "", envelope, codecs=self._accepted)[1]

    def decode(self, task: Leased) -> Invocation:
        """The call that `task` stands for. Nothing is imported or restored before its signature fits.

        Raises PayloadError, TargetNotAllowed or TargetUnknown.
        """
        codec, body = self._open(task)
        if codec == TRIPLE:
            target = _claimed(task.target, body) if self._allow is not None else task.target
            if self._allow is not None:
                check_allowed(target, self._allow)
            return self._invocation_of_triple(target, body)
        fn, is_async = find(task.target, self._registry, self._allow)
        args, kwargs, extras = decode_call(body) if codec == PICKLE else self._strict_json().decode_call(body)
        return Invocation(fn, args, kwargs, extras.get("context") or {}, is_async)

    def verify(self, task: Leased) -> None:
        """Raise PayloadError unless its signature fits. Nothing is imported or restored."""
        if is_request(task.payload):
            self.open_request(task)
        else:
            self._open(task)

    def seal_request(self, task_id: int, target: str, request: StoredRequest, *, url: str | None) -> bytes:
        """The signed envelope of a request that is stored as it is. Raises PayloadTooLargeError."""
        body = pack_request(request)
        self._check_size("request", body)
        return self.keyring.seal("payload", task_id, target, body, codec=HTTP, url=url)

    def open_request(self, task: Leased) -> StoredRequest:
        """The request that is stored with `task`. Raises PayloadError."""
        _, body = self.keyring.open(
            "payload", task.id, task.target, task.payload, url=task.url, codecs=frozenset({HTTP})
        )
        return unpack_request(body)

    def seal_result(self, task_id: int, target: str, value: Any) -> bytes | None:
        """The signed envelope of what a task returned; None stays None.

        Raises NotSerializable or PayloadTooLargeError.
        """
        if value is None:
            return None
        body = self._encode_result(value)
        self._check_size("result", body)
        return self.keyring.seal("result", task_id, target, body, codec=self._number)

    def open_result(self, task_id: int, target: str, envelope: bytes | None) -> Any:
        """What the task returned; raises PayloadError, or TargetUnknown for a class that is not known here."""
        if envelope is None:
            return None
        codec, body = self.keyring.open("result", task_id, target, envelope, codecs=self._accepted)
        return decode_result(body) if codec == PICKLE else self._strict_json().decode_result(body)

    def _open(self, task: Leased) -> tuple[int, bytes]:
        return self.keyring.open("payload", task.id, task.target, task.payload, url=task.url, codecs=self._accepted)

    def _invocation_of_triple(self, target: str, body: bytes) -> Invocation:
        fn, args, kwargs, context = decode_triple(body)
        if self._allow is not None and getattr(fn, "__module__", None) != OURS:
            check_homes(target, fn, self._allow)
        fn = unwrapped(fn)
        return Invocation(fn, args, kwargs, context, inspect.iscoroutinefunction(fn), keeps_result=False)

    def _check_triple(self, target: str) -> None:
        if TRIPLE not in self._accepted:
            raise CodecNotAllowed(
                "App Engine's deferred library stores pickles, and this application reads strict JSON alone. Defer with"
                " deferq.defer, or set payload_accept to json,pickle."
            )
        if self._allow is not None:
            check_allowed(target, self._allow)

    def _strict_json(self) -> StrictJson:
        """Loaded by who uses it."""
        if self._strict is None:
            from deferq.codec.strictjson.calls import StrictJson

            self._strict = StrictJson(self._registry, self.payload_limit)
        return self._strict

    def _loaded_keyring(self) -> Keyring:
        with self._loading:
            if self._keyring is None:
                load = self._load_keyring
                self._keyring = load if isinstance(load, Keyring) else load()
            return self._keyring

    def _check_size(self, what: str, body: bytes) -> None:
        if len(body) > self.payload_limit:
            raise oversized(what, len(body), self.payload_limit)


def _claimed(target: str, body: bytes) -> str:
    """What a body calls that somebody has stored as a request, if it says so: its target is that of any request."""
    from deferq.codec.inert import triple_target

    return triple_target(body) or target if target == REQUEST_TARGET else target


def _accepted_with(payload: str) -> tuple[str, ...]:
    return ("json",) if payload == "json" else ("pickle", "json")


def _checked_allow(allow: Iterable[str] | None) -> tuple[str, ...] | None:
    if allow is None:
        return None
    prefixes = tuple(allow)
    if isinstance(allow, str) or not all(_is_prefix(prefix) for prefix in prefixes):
        raise ConfigError('allow: a list of module prefixes is expected, such as allow=["myapp."].')
    return prefixes


def _is_prefix(prefix: object) -> bool:
    return isinstance(prefix, str) and prefix.strip(".") != ""
