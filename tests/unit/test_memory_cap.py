"""The cap on the memory of a process in quarantine, and an executor under it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deferq.codec.codec import Codec
from deferq.codec.signing import Keyring
from deferq.codec.targets import locate
from deferq.model.outcome import SUCCEEDED, Failed
from deferq.model.task import Leased
from deferq.registry import Registry
from deferq.runtime.children.capped import CappedExecutor, MemoryCap, allowed_by_groups, default_cap
from tests.unit.fakechild import leased

MB = 1_000_000


def limit() -> int:
    return resource.getrlimit(resource.RLIMIT_DATA)[0]


@contextmanager
def capped(size: int) -> Iterator[MemoryCap]:
    cap = MemoryCap(size)
    cap.impose()
    try:
        yield cap
    finally:
        cap.lift()


# ---- the cap


def test_what_goes_beyond_it_gets_a_memory_error_and_what_fits_does_not() -> None:
    with capped(100 * MB):
        assert len(bytearray(20 * MB)) == 20 * MB
        with pytest.raises(MemoryError):
            bytearray(400 * MB)
    assert len(bytearray(400 * MB)) == 400 * MB


def test_it_counts_from_what_the_process_has_and_lifted_all_is_as_before() -> None:
    held, before = bytearray(50 * MB), limit()
    with capped(10 * MB):
        assert limit() > len(held)
    assert limit() == before


def test_a_limit_that_is_lower_already_stays() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with capped(500 * MB):
        lower = limit()
        with capped(4000 * MB):
            assert limit() == lower
        assert limit() == lower
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


# ---- half of what there is


def test_by_default_it_is_at_most_half_of_what_the_machine_has() -> None:
    assert 0 < default_cap() < 2**50


def groups(folder: Path, line: str, **limits: str) -> list[int]:
    ours, root = folder / "cgroup", folder / "groups"
    ours.write_text(line)
    for name, text in limits.items():
        path = root / name.replace("__", "/") / "memory.max"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(allowed_by_groups(ours, root))


def test_limits_of_our_control_group_and_those_above_it_count(tmp_path: Path) -> None:
    found = groups(tmp_path, "0::/system/shop\n", system__shop="1000\n", system="500\n", other="1\n")
    assert sorted(found) == [500, 1000]


@pytest.mark.parametrize("line", ["0::/\n", "12:memory:/docker/abc\n", ""])
def test_a_group_without_a_limit_allows_everything(tmp_path: Path, line: str) -> None:
    assert groups(tmp_path, line, system="max\n") == []


def test_the_limit_of_a_container_is_found_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups" / "memory.max").write_text("2000\n")
    assert groups(tmp_path, "0::/\n") == [2000]


def test_where_nothing_tells_nothing_is_allowed_less(tmp_path: Path) -> None:
    assert list(allowed_by_groups(tmp_path / "none", tmp_path / "none")) == []


# ---- the executor


def eats() -> None:
    raise MemoryError


LIMITS: list[int] = []


def returns() -> None:
    LIMITS.append(limit())


async def returns_later() -> None:
    LIMITS.append(limit())


def answers() -> int:
    return 1


async def eats_later() -> None:
    raise MemoryError


def task_of(codec: Codec, registry: Registry, fn: object) -> Leased:
    located = locate(fn, registry)  # type: ignore[arg-type]
    return leased(1, target=located[0], payload=codec.encode(1, located, (), {}))


def executor(cap: MemoryCap) -> tuple[CappedExecutor, Codec, Registry]:
    registry = Registry()
    codec = Codec(Keyring([b"a secret for tests"]), registry)
    return CappedExecutor(codec, cap), codec, registry


@pytest.mark.parametrize("fn", [eats, eats_later, returns, returns_later])
def test_the_cap_is_lifted_to_describe_what_was_raised_and_to_report_what_was_not(fn: object) -> None:
    before = limit()
    with capped(500 * MB) as cap:
        capped_executor, *known = executor(cap)
        LIMITS.clear()
        outcome = capped_executor.run(task_of(*known, fn))
        assert limit() == before
    if fn in (returns, returns_later):
        assert outcome == SUCCEEDED
        assert LIMITS[0] not in (before, resource.RLIM_INFINITY), "there was a cap while it ran"
    else:
        assert isinstance(outcome, Failed)
        assert outcome.error.error_type == "MemoryError"


def test_work_that_is_done_is_not_repeated_where_its_result_cannot_even_be_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raise_error(*_: object) -> None:
        raise MemoryError

    with capped(500 * MB) as cap:
        capped_executor, *known = executor(cap)
        monkeypatch.setattr(Codec, "seal_result", raise_error)
        monkeypatch.setattr("deferq.runtime.executor.describe", raise_error)
        outcome = capped_executor.run(task_of(*known, answers))
    assert isinstance(outcome, Failed)
    assert (outcome.permanent, outcome.reason) == (True, "result cannot be stored")
