"""How the newsletter is tested, with the fixtures that deferq brings for pytest."""

from __future__ import annotations

import newsletter
import pytest
from newsletter import Issue, MailboxGone, ServerBusy, confirm, publish, remind, send, subscribe

from deferq import PermanentTaskFailure, State


@pytest.fixture(autouse=True)
def empty() -> None:
    for things in (newsletter.outbox.sent, newsletter.subscribers, newsletter.issues, newsletter.previews):
        things.clear()


def recipients() -> list[str]:
    return [address for address, _ in newsletter.outbox.sent]


def test_whoever_subscribes_is_welcomed(deferq_inline) -> None:
    subscribe("ann@example.org")
    assert newsletter.outbox.sent == [("ann@example.org", "Welcome! Please confirm.")]


def test_a_double_click_sends_one_welcome(deferq_tasks) -> None:
    subscribe("ann@example.org")
    subscribe("ann@example.org")
    deferq_tasks.assert_deferred(send, "ann@example.org", "Welcome! Please confirm.", queue="mail", count=1)
    deferq_tasks.drain()
    assert recipients() == ["ann@example.org"]


def test_the_reminder_comes_after_three_days(deferq_tasks, deferq_clock) -> None:
    subscribe("ann@example.org")
    deferq_tasks.assert_deferred(remind, "ann@example.org", countdown=3 * 86_400)
    deferq_tasks.drain()
    deferq_clock.advance(3 * 86_400)
    deferq_tasks.drain()
    assert newsletter.outbox.sent[-1] == ("ann@example.org", "You have not confirmed yet.")


def test_who_has_confirmed_is_not_reminded(deferq_inline, deferq_clock) -> None:
    subscribe("ann@example.org")
    confirm("ann@example.org")
    deferq_clock.advance(3 * 86_400)
    assert len(newsletter.outbox.sent) == 1


def test_a_busy_server_gets_its_time(deferq_tasks, deferq_clock, monkeypatch) -> None:
    def busy(address: str, text: str) -> None:
        raise ServerBusy

    with monkeypatch.context() as patch:
        patch.setattr(newsletter.outbox, "deliver", busy)
        subscribe("ann@example.org")
        (attempt,) = deferq_tasks.drain()
    assert (attempt.outcome, attempt.again_in_s) == ("failed", 60)
    deferq_clock.advance(60)
    deferq_tasks.drain()
    assert recipients() == ["ann@example.org"]


def test_who_is_gone_is_taken_off_the_list_and_not_tried_again(deferq_inline, monkeypatch) -> None:
    def gone(address: str, text: str) -> None:
        raise MailboxGone

    monkeypatch.setattr(newsletter.outbox, "deliver", gone)
    with pytest.raises(PermanentTaskFailure, match=r"ann@example\.org is gone"):
        subscribe("ann@example.org")
    assert newsletter.subscribers == {}


def test_an_issue_waits_until_it_is_approved(deferq_inline, deferq_tasks, deferq_clock) -> None:
    newsletter.issues[1] = Issue("Ducks", "https://example.org/ducks")
    for address in ("bob@example.org", "ann@example.org"):
        newsletter.subscribers[address] = True
    assert publish(1) == 2
    assert newsletter.previews == {1: "Preview of https://example.org/ducks"}
    assert newsletter.outbox.sent == []
    newsletter.issues[1].approved = True
    deferq_clock.advance(3600)
    assert recipients() == ["ann@example.org", "bob@example.org"]
    tasks = deferq_tasks.deferred_tasks(newsletter.send_issue)
    assert [task.state for task in tasks] == [State.SUCCEEDED] * 2
