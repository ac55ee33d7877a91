"""Two minutes pass in a test, and nobody waits for them: python manage.py test"""

from __future__ import annotations

from django.test import TestCase

from counters.tasks import add_later
from counters.views import COUNTER
from deferq import State
from deferq.testing import recording


class CounterTest(TestCase):
    def setUp(self) -> None:
        self.tasks = self.enterContext(recording())

    def count(self) -> str:
        return self.client.get("/counter/get").content.decode()

    def test_the_three_additions_are_made_at_once_after_a_minute_and_after_two(self) -> None:
        self.client.get("/counter/increment")
        counts = [self.count()]
        for wait_s in (0, 60, 60):
            self.tasks.clock.advance(wait_s)
            self.tasks.drain()
            counts.append(self.count())
        self.assertEqual(counts, ["0", "10", "20", "30"])

    def test_the_last_one_is_delivered_to_its_own_path(self) -> None:
        self.client.get("/counter/increment")
        task = self.tasks.assert_deferred(add_later, COUNTER, 10, countdown=120, url="/custom/path")
        self.tasks.drain(future=True)
        self.assertEqual(task.state, State.SUCCEEDED)

    def test_whoever_posts_to_a_handler_and_is_no_worker_runs_nothing(self) -> None:
        answer = self.client.post(
            "/custom/path",
            b"cbuiltins\nprint\n.",
            "application/octet-stream",
            headers={"X-AppEngine-TaskName": "t", "X-AppEngine-QueueName": "default"},
        )
        self.assertEqual((answer.status_code, self.count()), (403, "0"))
