"""One attempt, from the envelope to the outcome."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from deferq.codec.codec import Codec, Invocation
from deferq.codec.context import carriers
from deferq.current import current_task, in_task
from deferq.errors import (
    CodecNotAllowed,
    NoCurrentTask,
    NotSerializable,
    PayloadCorrupt,
    PayloadSignatureError,
    PermanentTaskFailure,
    RetryTask,
    Snooze,
    TargetNotAllowed,
    TargetUnknown,
    UnknownKey,
    UnsupportedEnvelope,
)
from deferq.model.outcome import SUCCEEDED, Cancelled, Failed, Outcome, Parked, Retried, Snoozed, Succeeded
from deferq.model.task import Leased, Options
from deferq.runtime.errortext import MESSAGE_BYTES_MAX, TRACEBACK_BYTES_MAX
from deferq.runtime.executor import Executor

LANGUAGE: contextvars.ContextVar[str] = contextvars.ContextVar("language")


class OneCall(Codec):
    """Decodes every task to the same call, or to the same trouble."""

    def __init__(
        self, fn: Callable[..., Any], *, trouble: Exception | None = None, context: dict[str, Any] | None = None
    ):
        self.carried = carriers([LANGUAGE])
        self._invocation = Invocation(fn, (), {}, context or {}, asyncio.iscoroutinefunction(fn))
        self._trouble = trouble

    def decode(self, task: Leased) -> Invocation:
        if self._trouble:
            raise self._trouble
        return self._invocation

    def seal_result(self, task_id: int, target: str, value: Any) -> bytes | None:
        if isinstance(value, Iterator):
            raise NotSerializable("a generator")
        return repr(value).encode()


def leased(**changes: Any) -> Leased:
    task = Leased(
        id=1, queue="default", target="app:work", priority=0, eta=0, attempts=0, starts=1, parks=0, expires_at=None,
        name=None, route=None, url=None, options=None, payload=b"", first_due=0, lease_id=1, leased_until=0,
        cancel_requested=False,
    )  # fmt: skip
    return task._replace(**changes)


def run(fn: Callable[..., Any], task: Leased | None = None, **codec: Any) -> Outcome:
    return Executor(OneCall(fn, **codec), now=lambda: 1_000).run(task or leased())


def raising(error: BaseException) -> Callable[[], None]:
    def task() -> None:
        raise error

    return task


def failure(fn: Callable[..., Any], task: Leased | None = None) -> Failed:
    outcome = run(fn, task)
    assert isinstance(outcome, Failed)
    return outcome


# ---- what is not called at all


def never() -> None:
    raise AssertionError("it was called")


def test_a_task_that_has_expired_is_cancelled_and_not_called() -> None:
    assert run(never, leased(expires_at=1_000)) == Cancelled(reason="expired")


def test_a_task_whose_cancellation_was_requested_is_not_called() -> None:
    assert run(never, leased(cancel_requested=True)) == Cancelled()


@pytest.mark.parametrize("error", [PayloadCorrupt, PayloadSignatureError, CodecNotAllowed])
def test_what_no_release_can_read_dies_as_corrupt(error: type[Exception]) -> None:
    outcome = run(never, trouble=error("so it is"))
    assert isinstance(outcome, Failed)
    assert (outcome.permanent, outcome.reason) == (True, "corrupt")


@pytest.mark.parametrize("error", [TargetUnknown, TargetNotAllowed, UnknownKey, UnsupportedEnvelope])
def test_what_another_worker_may_know_is_parked(error: type[Exception]) -> None:
    assert isinstance(run(never, trouble=error("so it is")), Parked)


def test_a_task_that_is_parked_shows_none_of_our_own_frames() -> None:
    outcome = run(never, trouble=TargetUnknown("no such module"))
    assert isinstance(outcome, Parked)
    assert (outcome.error.message, outcome.error.traceback) == ("no such module", "")


def test_a_module_that_cannot_be_imported_shows_where_it_broke() -> None:
    unknown = TargetUnknown("it cannot be imported")
    unknown.__cause__ = SyntaxError("in line 3")
    outcome = run(never, trouble=unknown)
    assert isinstance(outcome, Parked)
    assert "in line 3" in outcome.error.traceback


def test_a_module_that_raises_while_it_is_imported_fails_the_attempt() -> None:
    outcome = run(never, trouble=ZeroDivisionError("in the module"))
    assert isinstance(outcome, Failed)
    assert not outcome.permanent


# ---- what it returns


def test_a_task_that_returns_none_has_succeeded_without_a_result() -> None:
    assert run(lambda: None) is SUCCEEDED


def test_a_result_is_sealed() -> None:
    assert run(lambda: 42) == Succeeded(b"42")


def test_a_result_that_cannot_be_stored_fails_for_good_since_the_work_is_done() -> None:
    outcome = failure(lambda: iter([1]))
    assert outcome.permanent
    assert "NotSerializable" in outcome.error.error_type


def test_a_coroutine_is_awaited() -> None:
    async def task() -> int:
        await asyncio.sleep(0)
        return 7

    assert run(task) == Succeeded(b"7")


def test_a_plain_function_that_returns_an_awaitable_is_awaited_in_the_same_context() -> None:
    async def inner() -> str:
        return f"{LANGUAGE.get()} {current_task().id}"

    def task() -> Awaitable[str]:
        return inner()

    assert run(task, context={"language": "de"}) == Succeeded(b"'de 1'")


# ---- what it raises


def test_an_exception_fails_the_attempt_and_leaves_its_text() -> None:
    outcome = failure(raising(ValueError("seven")))
    assert (outcome.permanent, outcome.reason) == (False, "failed")
    assert (outcome.error.error_type, outcome.error.message) == ("ValueError", "seven")


def test_the_traceback_starts_in_user_code() -> None:
    trace = failure(raising(ValueError("seven"))).error.traceback
    assert "runtime" not in trace
    assert "in task" in trace
    assert trace.endswith("ValueError: seven\n")


@pytest.mark.parametrize(
    "error", [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), BaseException("odd")]
)
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_no_exception_of_a_task_reaches_the_worker(error: BaseException, kind: str) -> None:
    async def coroutine() -> None:
        raise error

    assert failure(raising(error) if kind == "plain" else coroutine).error.error_type.endswith(type(error).__name__)


def test_permanent_failure_retry_and_snooze_mean_what_they_say() -> None:
    permanent = failure(raising(PermanentTaskFailure("no such user")))
    assert (permanent.permanent, permanent.reason) == (True, "permanent")
    assert run(raising(RetryTask(after=30))) == Retried(after_s=30)
    assert run(raising(RetryTask(timedelta(minutes=1)))) == Retried(after_s=60.0)
    assert run(raising(Snooze(timedelta(minutes=1)))) == Snoozed(after_s=60.0)
    assert run(raising(RetryTask())) == Retried(after_s=None)
    assert run(raising(Snooze(60, "rush hour"))) == Snoozed(after_s=60, reason="rush hour")


@pytest.mark.parametrize("after", ["60", float("nan"), float("inf"), 1e12, None, object()])
def test_a_snooze_for_no_sensible_time_fails_and_says_why(after: Any) -> None:
    assert "after must be a number of seconds" in failure(raising(Snooze(after))).error.message


def test_a_subclass_that_forgot_its_base_class_fails_the_attempt_only() -> None:
    class Later(Snooze):
        def __init__(self) -> None:
            pass

    assert failure(raising(Later())).error.error_type == "AttributeError"


# ---- exceptions that are hard to describe


class Shy(type):
    """Classes that raise whatever they are asked."""

    def __getattribute__(cls, name: str) -> Any:
        raise SystemExit(f"no {name}")


class Denies(Exception):
    @property
    def __class__(self) -> Any:
        raise MemoryError("of no class")


def test_a_class_that_does_not_tell_its_name_is_named_all_the_same() -> None:
    class Nameless(Exception, metaclass=Shy):
        pass

    assert failure(raising(Nameless("x"))).error.error_type.endswith("Nameless")


def test_an_exception_that_denies_its_class_is_described() -> None:
    outcome = failure(raising(Denies("x")))
    assert (outcome.error.error_type.rpartition(".")[2], outcome.error.message) == ("Denies", "x")


def test_a_text_that_does_not_behave_like_one_is_stored_as_one() -> None:
    class Odd(str):
        def __getitem__(self, _: object) -> Any:
            return self

        def replace(self, *_: object) -> Any:
            return self

        def encode(self, *_: object, **__: object) -> Any:
            return 7

    class Talks(Exception):
        def __str__(self) -> str:
            return Odd("odd")

    error = failure(raising(Talks())).error
    assert (type(error.message), error.message) == (str, "odd")


def test_a_wait_that_is_no_number_after_all_fails_the_attempt() -> None:
    class Odd(float):
        def __float__(self) -> float:
            raise ZeroDivisionError

    error = RetryTask(after=1)
    error.after_s = Odd(1.0)
    assert "after must be a number of seconds" in failure(raising(error)).error.message


def test_a_result_whose_class_cannot_be_looked_at_fails_the_attempt() -> None:
    class Result(metaclass=Shy):
        pass

    assert failure(lambda: Result()).error.error_type == "SystemExit"


def test_a_message_of_100_mb_is_cut_and_marked() -> None:
    error = failure(raising(ValueError("x" * 100_000_000))).error
    assert len(error.message.encode()) <= MESSAGE_BYTES_MAX
    assert error.message.endswith("[... cut ...]")
    assert len(error.traceback.encode()) <= TRACEBACK_BYTES_MAX


def test_a_message_that_cannot_be_made_is_said_to_be_so() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit("no")

        __repr__ = __str__

    assert failure(raising(Mute())).error.message == "(its message could not be made: SystemExit)"


def test_a_chain_of_10000_is_shown_by_its_last_links() -> None:
    error = ValueError("last")
    link: BaseException = error
    for number in range(10_000):
        link.__cause__ = ValueError(f"link {number}")
        link = link.__cause__
    trace = failure(raising(error)).error.traceback
    assert "earlier exceptions cut" in trace
    assert "link 0" in trace
    assert "link 9" not in trace


def test_endless_recursion_is_described_by_its_last_frames() -> None:
    def task() -> None:
        task()

    error = failure(task).error
    assert error.error_type == "RecursionError"
    assert len(error.traceback) <= TRACEBACK_BYTES_MAX


def test_an_exception_that_causes_itself_is_described() -> None:
    error = ValueError("me")
    error.__context__ = other = ValueError("and me")
    other.__context__ = error
    assert "me" in failure(raising(error)).error.traceback


def test_characters_that_databases_refuse_are_replaced() -> None:
    assert failure(raising(ValueError("a\0b\ud800c"))).error.message == "a\\x00b\\ud800c"


def test_the_members_of_a_group_are_shown() -> None:
    trace = failure(raising(ExceptionGroup("two", [ValueError("first"), KeyError("second")]))).error.traceback
    assert "ValueError: first" in trace
    assert "KeyError: 'second'" in trace


def test_what_led_to_it_stands_above_it() -> None:
    def task() -> None:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise ValueError("effect") from cause

    trace = failure(task).error.traceback
    assert trace.index("KeyError: 'cause'") < trace.index("direct cause") < trace.index("ValueError: effect")


# ---- where it runs


def test_a_task_sees_itself() -> None:
    seen: list[Any] = []

    def task() -> None:
        me = current_task()
        seen.extend([me.id, me.attempt, me.queue, me.tags, dict(me.headers), in_task(), me.eta.tzinfo is not None])
        assert me.seconds_left is not None
        assert me.seconds_left <= 30
        assert me.deadline is not None

    options = Options(timeout_s=30, tags=("a",), headers=(("X", "y"),)).encode()
    assert run(task, leased(attempts=2, options=options)) is SUCCEEDED
    assert seen == [1, 3, "default", ("a",), {"X": "y"}, True, True]


def test_outside_a_task_there_is_no_current_task() -> None:
    run(lambda: None)
    assert not in_task()
    with pytest.raises(NoCurrentTask):
        current_task()


def test_what_a_task_sets_in_its_context_stays_there() -> None:
    token = LANGUAGE.set("en")

    def task() -> str:
        before = LANGUAGE.get("none")
        LANGUAGE.set("fr")
        return before

    assert run(task) == Succeeded(b"'none'")
    assert run(task, context={"language": "de"}) == Succeeded(b"'de'")
    assert LANGUAGE.get() == "en"
    LANGUAGE.reset(token)


def test_a_coroutine_is_cancelled_at_its_timeout() -> None:
    async def task() -> None:
        await asyncio.sleep(60)

    outcome = failure(task, leased(options=Options(timeout_s=0.01).encode()))
    assert (outcome.reason, outcome.error.message) == ("timed out", "the attempt ran longer than its timeout")


def test_a_timeout_error_of_the_task_itself_is_an_ordinary_failure() -> None:
    async def task() -> None:
        raise TimeoutError("of a socket")

    outcome = failure(task, leased(options=Options(timeout_s=60).encode()))
    assert outcome.reason == "failed"
