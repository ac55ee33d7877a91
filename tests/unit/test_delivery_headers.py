"""The headers of a delivery are those that App Engine and Cloud Tasks send, as recorded from them."""

from __future__ import annotations

from deferq.codec import wire
from deferq.codec.headers import delivery_headers, signed_headers
from deferq.codec.signing import Keyring
from deferq.model.task import Failure, Leased, Options

KEYRING = Keyring(["a secret of some length"])
TASK = Leased(
    id=4711,
    queue="mail",
    target="app:work",
    priority=0,
    eta=1_800_000_000_000_007,
    attempts=0,
    starts=1,
    parks=0,
    expires_at=None,
    name=None,
    route=None,
    url="/custom/path?x=1",
    options=None,
    payload=b"DQ",
    first_due=1,
    lease_id=2**40,
    leased_until=3,
    cancel_requested=False,
)


def failure(attempt: int, kind: str = "failed", error_type: str = "ValueError", message: str = "") -> Failure:
    return Failure(attempt=attempt, at=0, kind=kind, error_type=error_type, message=message, traceback="")


def answered(attempt: int, status: int, kind: str = "failed") -> Failure:
    error_type = "HttpStatus" if kind == "failed" else ""
    return failure(attempt, kind, error_type, f"HTTP {status} from /custom/path: more")


def family(prefix: str, *failures: Failure, **changes: object) -> dict[str, str]:
    """What one family says, by the end of the name."""
    headers = delivery_headers(TASK._replace(**changes), failures)  # type: ignore[arg-type]
    return {name.removeprefix(prefix): value for name, value in headers if name.startswith(prefix)}


def app_engine(*failures: Failure, **changes: object) -> dict[str, str]:
    return family("X-AppEngine-", *failures, **changes)


def cloud_tasks(*failures: Failure, **changes: object) -> dict[str, str]:
    return family("X-CloudTasks-", *failures, **changes)


def test_a_first_delivery_says_what_it_is_in_both_families() -> None:
    told = {
        "QueueName": "mail",
        "TaskName": "4711",
        "TaskRetryCount": "0",
        "TaskExecutionCount": "0",
        "TaskETA": "1800000000.000007",
    }
    assert app_engine() == told
    assert cloud_tasks() == told


def test_a_named_task_goes_by_its_name() -> None:
    assert app_engine(name="welcome-42")["TaskName"] == cloud_tasks(name="welcome-42")["TaskName"] == "welcome-42"


def test_after_503_and_404_the_families_count_as_was_recorded_from_them() -> None:
    first, second = answered(1, 503), answered(2, 404)
    assert app_engine(first, attempts=1, starts=2) | {"TaskETA": ""} == {
        "QueueName": "mail",
        "TaskName": "4711",
        "TaskRetryCount": "1",
        "TaskExecutionCount": "1",
        "TaskETA": "",
        "TaskPreviousResponse": "503",
        "TaskRetryReason": "App Error",
    }
    assert cloud_tasks(first, attempts=1, starts=2)["TaskExecutionCount"] == "0"
    assert app_engine(first, second, attempts=2, starts=3)["TaskExecutionCount"] == "2"
    later = cloud_tasks(first, second, attempts=2, starts=3)
    assert (later["TaskExecutionCount"], later["TaskPreviousResponse"], later["TaskRetryReason"]) == ("1", "404", "")


def test_an_attempt_that_got_no_answer_is_no_execution() -> None:
    for kind in ("worker lost", "worker stopped", "timed out"):
        seen = app_engine(failure(1, kind), attempts=1, starts=2)
        assert (seen["TaskRetryCount"], seen["TaskExecutionCount"]) == ("1", "0")
        assert (seen["TaskPreviousResponse"], seen["TaskRetryReason"]) == ("0", "Instance Unavailable")
        seen = cloud_tasks(failure(1, kind), attempts=1, starts=2)
        assert (seen["TaskPreviousResponse"], seen["TaskRetryReason"]) == ("504", "")


def test_what_raised_was_a_500_and_what_asked_to_run_again_a_408() -> None:
    assert app_engine(failure(1), attempts=1, starts=2)["TaskPreviousResponse"] == "500"
    asked = failure(1, "retried", "", "not yet")
    assert app_engine(asked, attempts=1, starts=2)["TaskPreviousResponse"] == "408"
    assert cloud_tasks(asked, attempts=1, starts=2)["TaskExecutionCount"] == "1"
    assert app_engine(answered(1, 429, "retried"), attempts=1, starts=2)["TaskPreviousResponse"] == "429"


def test_the_message_of_an_exception_is_not_taken_for_a_status() -> None:
    odd = failure(1, "failed", "ValueError", "HTTP 200 from /x")
    assert app_engine(odd, attempts=1, starts=2)["TaskPreviousResponse"] == "500"


def test_a_snooze_is_a_retry_that_spent_nothing() -> None:
    seen = app_engine(starts=3)
    assert (seen["TaskRetryCount"], seen["TaskExecutionCount"]) == ("2", "0")
    assert "TaskPreviousResponse" not in seen


def test_what_a_task_failed_of_before_it_was_requeued_does_not_count() -> None:
    earlier = [answered(1, 404), answered(2, 404), answered(3, 404)]
    assert cloud_tasks(*earlier, attempts=0, starts=4)["TaskExecutionCount"] == "0"
    seen = cloud_tasks(*earlier, answered(1, 503), attempts=1, starts=5)
    assert (seen["TaskExecutionCount"], seen["TaskPreviousResponse"]) == ("0", "503")


def test_without_its_history_an_attempt_counts_as_one_that_raised() -> None:
    assert app_engine(attempts=3, starts=4, crashes=1)["TaskExecutionCount"] == "2"
    seen = cloud_tasks(attempts=3, starts=4, crashes=1)
    assert seen["TaskExecutionCount"] == "0"
    assert "TaskPreviousResponse" not in seen
    assert "TaskRetryReason" not in seen


def test_the_tasks_own_headers_win_over_the_defaults_and_over_nothing_else() -> None:
    own = (("content-type", "text/x"), ("X-Mine", "1"), ("X-AppEngine-QueueName", "forged"), ("x-deferq-task", "no"))
    headers = delivery_headers(TASK._replace(options=Options(headers=own).encode()))
    names = [name.lower() for name, _ in headers]
    assert len(names) == len(set(names))
    assert ("content-type", "text/x") in headers
    assert ("X-Mine", "1") in headers
    assert ("X-AppEngine-QueueName", "mail") in headers
    assert "x-deferq-task" not in names
    assert ("Content-Type", "application/octet-stream") in delivery_headers(TASK)
    assert ("User-Agent", "deferq") in delivery_headers(TASK)


def test_the_signature_covers_method_path_query_time_task_and_body() -> None:
    headers = dict(signed_headers(KEYRING, TASK, path="/custom/path", query="x=1", now_s=1_800_000_000.9))
    signed = wire.Signed("POST", "/custom/path", "x=1", headers[wire.TIME], headers[wire.TASK], TASK.payload)
    wire.verify(KEYRING, signed, headers[wire.SIGNATURE], 1_800_000_000)
    assert wire.unpack_task(headers[wire.TASK], TASK.payload) == TASK
