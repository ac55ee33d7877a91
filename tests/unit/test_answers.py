"""What the answer to a delivery means for its task."""

from __future__ import annotations

import pytest

from deferq.codec.wire import HELD as HELD_HEADER
from deferq.codec.wire import IN_BODY, OUTCOME, REFUSED, pack_body, pack_header
from deferq.codec.wire import SETTLED as SETTLED_WORD
from deferq.http.answers import HELD, SETTLED, Held, outcome_of_answer
from deferq.model.outcome import ErrorText, Failed, Interrupted, Outcome, Parked, Retried, Snoozed, Succeeded

NOW_S = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


def of_view(status: int, *headers: tuple[str, str], body: bytes = b"") -> Outcome | Held:
    return outcome_of_answer(status, headers, own_url=True, body=body, path="/x", now_s=NOW_S)


def of_handler(status: int, *headers: tuple[str, str], body: bytes = b"") -> Outcome | Held:
    return outcome_of_answer(status, headers, own_url=False, body=body, now_s=NOW_S)


def message_of(outcome: Outcome | Held) -> str:
    assert isinstance(outcome, Failed | Parked)
    return outcome.error.message


@pytest.mark.parametrize("own_url", [True, False])
@pytest.mark.parametrize("status", [200, 302, 409, 500, 503])
def test_an_outcome_on_the_answer_is_the_outcome_whatever_the_status(status: int, own_url: bool) -> None:
    written = Failed(error=ErrorText(error_type="ValueError", message="no"), permanent=True, reason="permanent")
    for name in (OUTCOME, OUTCOME.lower()):
        assert outcome_of_answer(status, [(name, pack_header(written))], own_url=own_url) == written
    assert outcome_of_answer(status, [(OUTCOME, pack_header(Snoozed(after_s=5)))], own_url=own_url) == Snoozed(
        after_s=5
    )


def test_an_outcome_may_stand_in_the_body_or_be_settled_already() -> None:
    large = Succeeded(b"x" * 100_000)
    assert of_handler(200, (OUTCOME, IN_BODY), body=pack_body(large)) == large
    assert of_handler(200, (OUTCOME, IN_BODY), body=pack_body(large)[:1000]) != large
    assert of_handler(200, (OUTCOME, SETTLED_WORD)) is SETTLED


def test_an_outcome_that_cannot_be_read_is_none() -> None:
    assert of_view(200, (OUTCOME, "nonsense")) == Succeeded()
    assert isinstance(of_handler(200, (OUTCOME, "nonsense")), Failed)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_view_that_answers_2xx_has_done_the_task(status: int) -> None:
    assert of_view(status) == Succeeded()


def test_a_view_that_answers_408_wants_it_again_quietly() -> None:
    assert of_view(408) == Retried(after_s=None, reason="HTTP 408 from /x")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_view_says_when(status: int) -> None:
    assert of_view(status, ("retry-after", "7")) == Retried(after_s=7.0, reason=f"HTTP {status} from /x")
    assert of_view(status) == Retried(after_s=10.0, reason=f"HTTP {status} from /x")


@pytest.mark.parametrize(
    ("text", "after_s"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("99999999999999999999", 3600.0),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2077 07:00:00 GMT", 3600.0),
        ("soon", 10.0),
        ("-5", 10.0),
        ("1e3", 10.0),
        ("٣", 10.0),
        ("", 10.0),
        ("9" * 5_000, 3600.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_and_never_believed_beyond_an_hour(
    text: str, after_s: float
) -> None:
    outcome = of_view(503, ("Retry-After", text))
    assert isinstance(outcome, Retried)
    assert outcome.after_s == after_s


@pytest.mark.parametrize("status", [100, 301, 302, 307, 308, 400, 403, 404, 409, 500, 502, 504])
def test_any_other_answer_of_a_view_is_a_failed_attempt(status: int) -> None:
    outcome = of_view(status)
    assert isinstance(outcome, Failed)
    assert not outcome.permanent
    assert outcome.error.message.startswith(f"HTTP {status} from /x")


def test_a_redirect_is_not_followed() -> None:
    assert "redirects are not followed" in message_of(of_view(302, ("Location", "http://169.254.169.254/")))
    assert "redirects are not followed" in message_of(of_handler(302))


def test_of_a_plain_text_one_short_line_is_kept_and_of_a_page_nothing() -> None:
    text = ("Content-Type", "text/plain; charset=utf-8")
    assert (
        message_of(of_view(500, text, body=b"no such\n\x1b[31muser\xff")) == "HTTP 500 from /x: no such [31muser\ufffd"
    )
    assert len(message_of(of_view(500, text, body=b"x" * 100_000))) < 250
    assert message_of(of_view(500, ("Content-Type", "text/html"), body=b"<h1>secret</h1>")) == "HTTP 500 from /x"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_where_the_handler_was_not_reached_no_attempt_is_spent(status: int) -> None:
    outcome = of_handler(status, ("Retry-After", "30"))
    assert outcome == Interrupted(after_s=30.0, reason=f"not reached: HTTP {status} from /_deferq/run")
    later = outcome_of_answer(status, [], own_url=False, interrupted_s=4.0)
    assert isinstance(later, Interrupted)
    assert later.after_s == 4.0


def test_a_refused_signature_parks_the_task() -> None:
    outcome = of_handler(403)
    assert isinstance(outcome, Parked)
    assert "are the secrets the same" in outcome.error.message


def test_where_there_is_no_handler_the_error_says_how_to_have_one() -> None:
    assert "wrap_wsgi or wrap_asgi" in message_of(of_handler(404))
    assert "wrap_wsgi or wrap_asgi" in message_of(of_handler(200))
    assert isinstance(of_handler(200), Failed)


def test_a_task_that_another_delivery_holds_is_let_go_and_not_settled() -> None:
    assert of_handler(409) is HELD
    assert of_view(409, (HELD_HEADER, "1")) is HELD
    assert isinstance(of_view(409), Failed)


@pytest.mark.parametrize("status", [200, 204, 500])
def test_what_a_view_says_of_a_delivery_that_our_handler_has_refused_does_not_count(status: int) -> None:
    """Nothing has run, however friendly the view is about it."""
    assert isinstance(of_view(status, (REFUSED, "503")), Interrupted)
    assert isinstance(of_view(status, (REFUSED, "403")), Parked)
    assert isinstance(of_view(status, (REFUSED, "413")), Failed)
    assert of_view(status, (HELD_HEADER, "1")) is HELD


def test_a_refusal_that_our_handler_never_gives_is_none() -> None:
    assert of_view(200, (REFUSED, "200")) == Succeeded()
    assert of_view(200, (REFUSED, "nonsense")) == Succeeded()
