"""The same without pytest: python -m unittest discover examples/newsletter. A Django TestCase does it like this."""

from __future__ import annotations

import unittest

import newsletter
from newsletter import send, subscribe

from deferq.testing import assert_deferred, assert_not_deferred, drain, recording


class SubscribingTest(unittest.TestCase):
    def setUp(self) -> None:
        newsletter.outbox.sent.clear()
        newsletter.subscribers.clear()
        self.tasks = self.enterContext(recording())

    def test_nothing_is_sent_while_the_visitor_waits(self) -> None:
        assert_not_deferred()
        subscribe("ann@example.org")
        assert_deferred(send, "ann@example.org", "Welcome! Please confirm.")
        self.assertEqual(newsletter.outbox.sent, [])
        drain()
        self.assertEqual(newsletter.outbox.sent, [("ann@example.org", "Welcome! Please confirm.")])

    def test_in_a_week_everything_has_been_sent(self) -> None:
        subscribe("ann@example.org")
        self.tasks.drain(future=True)
        self.assertEqual(len(newsletter.outbox.sent), 2)


if __name__ == "__main__":
    unittest.main()
