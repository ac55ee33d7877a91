"""Finding tasks: newest first, page by page."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deferq.engines.base import Delete, Filter, LeasingEngine
from deferq.model.outcome import SUCCEEDED, ErrorText, Failed
from deferq.model.state import State
from tests.support import TaskMaker, lease, lease_one, settle, settle_each

Put = Callable[..., int]
DIES = Failed(error=ErrorText(error_type="ValueError", message="boom"), permanent=True, reason="permanent")


def ids(engine: LeasingEngine, where: Filter) -> list[int]:
    return [task.id for task in engine.find(where).tasks]


def test_tasks_are_found_newest_first(engine: LeasingEngine, new: TaskMaker) -> None:
    a, b, c = new.many(3)
    engine.put([b, c, a])
    assert ids(engine, Filter()) == [c.id, b.id, a.id]


def test_pages_show_every_task_once(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(10)
    engine.put(tasks)
    seen, after, pages = [], None, 0
    while True:
        page = engine.find(Filter(), after=after, limit=4)
        assert len(page.tasks) <= 4
        seen += [task.id for task in page.tasks]
        pages += 1
        if page.next_after is None:
            break
        after = page.next_after
    assert seen == [task.id for task in reversed(tasks)]
    assert pages == 3


def test_a_page_that_holds_all_there_is_names_no_next_one(engine: LeasingEngine, new: TaskMaker) -> None:
    engine.put(new.many(4))
    assert engine.find(Filter(), limit=4).next_after is None
    assert engine.find(Filter(), limit=3).next_after is not None


def test_tasks_put_meanwhile_do_not_shift_the_pages(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(6)
    engine.put(tasks)
    first = engine.find(Filter(), limit=3)
    engine.put(new.many(5))
    second = engine.find(Filter(), after=first.next_after, limit=3)
    assert [task.id for task in second.tasks] == [task.id for task in reversed(tasks[:3])]


def test_deleting_the_last_task_of_a_page_does_not_shift_the_next_one(engine: LeasingEngine, new: TaskMaker) -> None:
    tasks = new.many(6)
    engine.put(tasks)
    first = engine.find(Filter(), limit=3)
    engine.change([first.tasks[-1].id], Delete())
    second = engine.find(Filter(), after=first.next_after, limit=3)
    assert [task.id for task in second.tasks] == [task.id for task in reversed(tasks[:3])]


def test_a_page_beyond_the_end_is_empty(engine: LeasingEngine, put: Put) -> None:
    task_id = put()
    assert engine.find(Filter(), after=task_id) == ([], None)
    assert engine.find(Filter(queue="unheard-of")) == ([], None)


def test_tasks_are_found_by_queue_target_and_name(engine: LeasingEngine, put: Put) -> None:
    mail = put("mail", target="shop:send")
    named = put("mail", target="shop:bill", name="bill-1")
    index = put("index", target="shop:send")
    assert ids(engine, Filter(queue="mail")) == [named, mail]
    assert ids(engine, Filter(target="shop:send")) == [index, mail]
    assert ids(engine, Filter(name="bill-1")) == [named]
    assert ids(engine, Filter(queue="mail", target="shop:send")) == [mail]
    assert ids(engine, Filter(queue="index", name="bill-1")) == []


def test_tasks_are_found_by_state(engine: LeasingEngine, put: Put) -> None:
    succeeded = put()
    settle(engine, lease_one(engine), SUCCEEDED)
    dead = put()
    settle(engine, lease_one(engine), DIES)
    held = put()
    lease_one(engine)
    waiting = put(in_s=60)
    assert ids(engine, Filter(state=State.SUCCEEDED)) == [succeeded]
    assert ids(engine, Filter(state=State.DEAD)) == [dead]
    assert ids(engine, Filter(state=State.LEASED)) == [held]
    assert ids(engine, Filter(state=State.PENDING)) == [waiting]
    assert ids(engine, Filter(state=State.CANCELLED)) == []


def test_dead_tasks_are_found_by_queue_target_and_name(engine: LeasingEngine, put: Put) -> None:
    """They have an index, and so a statement, of their own."""
    mail = put("mail", target="shop:send")
    named = put("mail", target="shop:bill", name="bill-1")
    index = put("index", target="shop:send")
    settle_each(engine, lease(engine), DIES)
    assert ids(engine, Filter(state=State.DEAD, queue="mail")) == [named, mail]
    assert ids(engine, Filter(state=State.DEAD, target="shop:send")) == [index, mail]
    assert ids(engine, Filter(state=State.DEAD, name="bill-1")) == [named]
    assert ids(engine, Filter(state=State.DEAD, queue="index", name="bill-1")) == []


@pytest.mark.parametrize("size", [0, 17, 100_000])
def test_a_task_is_shown_with_the_size_of_its_payload(engine: LeasingEngine, new: TaskMaker, size: int) -> None:
    engine.put([new()._replace(payload=b"x" * size)])
    (found,) = engine.find(Filter()).tasks
    assert (found.payload_bytes, engine.get([found.id])[0].payload_bytes) == (size, size)
    settle(engine, lease_one(engine), DIES)
    assert engine.find(Filter(state=State.DEAD)).tasks[0].payload_bytes == size


def test_filtered_pages_show_every_match_once(engine: LeasingEngine, new: TaskMaker) -> None:
    for _ in range(5):
        engine.put([new("mail"), new("index"), new("index")])
    settle_each(engine, lease(engine, 5, queues=["mail"]), DIES)
    first = engine.find(Filter(state=State.DEAD), limit=3)
    second = engine.find(Filter(state=State.DEAD), after=first.next_after, limit=3)
    assert (len(first.tasks), len(second.tasks), second.next_after) == (3, 2, None)
    assert {task.queue for task in first.tasks + second.tasks} == {"mail"}
