"""All targets. Nothing of deferq is imported in here: what is to be watched is imported later, and in its own way."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

FINDINGS = Path(__file__).parent / "findings"


class Target(NamedTuple):
    """`fuzz_<name>` in `targets_<module>`, and its genuine inputs, which `seeds_<name>` gives."""

    name: str
    module: str
    #: What of deferq is watched for coverage.
    concerns: tuple[str, ...]
    #: Executions in `make proof`.
    share: int

    def load(self) -> tuple[Callable[[bytes], None], list[bytes]]:
        """The function, and the genuine inputs."""
        module = import_module(f"tests.fuzz.targets_{self.module}")
        return getattr(module, f"fuzz_{self.name}"), getattr(module, f"seeds_{self.name}")()

    @property
    def findings(self) -> list[Path]:
        """Inputs that were wrong once."""
        return sorted((FINDINGS / self.name).glob("*")) if (FINDINGS / self.name).is_dir() else []


_SIGNING, _WIRE, _RUNTIME = "deferq.codec.signing", "deferq.codec.wire", "deferq.runtime"
_PUSH = (_WIRE, "deferq.codec.headers", "deferq.http.answers", "deferq.http.push", "deferq.model.urls")

#: What takes longest comes first, so that two at a time end together.
TARGETS = {
    target.name: target
    for target in (
        Target("inert", "inert", ("deferq.codec.inert",), 100_000),
        Target("asgi", "asgi", ("deferq.http", _WIRE, _SIGNING), 150_000),
        Target("wsgi", "wsgi", ("deferq.http", _WIRE, _SIGNING), 200_000),
        Target("queueyaml", "queueyaml", ("deferq.compat.appengine.queueyaml",), 50_000),
        Target("options", "options", ("deferq.options", "deferq.model"), 150_000),
        Target("json", "json", ("deferq.codec.strictjson", "deferq.codec.typecodecs"), 250_000),
        Target("letter", "push", _PUSH, 150_000),
        Target("answer", "push", _PUSH, 150_000),
        Target("task", "wire", (_WIRE, "deferq.model", _RUNTIME), 250_000),
        Target("outcome", "wire", (_WIRE, "deferq.model"), 250_000),
        Target("url", "push", _PUSH, 200_000),
        Target("envelope", "envelope", (_SIGNING, "deferq.codec.codec"), 200_000),
        Target("signature", "wire", (_WIRE, _SIGNING), 200_000),
    )
}
