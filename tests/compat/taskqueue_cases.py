"""Inputs for `taskqueue`, each with what App Engine's own library (3.1.0) was seen to make of it.

Nothing here imports deferq, so that the same rows can be tried on the original: `main` does so where it is installed,
with the queues of `QUEUE_YAML`, and prints each row in which it differs from what is recorded.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Callable
from typing import Any

QUEUE_YAML = """queue:
- name: default
  rate: 5/s
- name: mail
  rate: 5/s
- name: pull
  mode: pull
- name: twice
  mode: pull
  retry_parameters:
    task_retry_limit: 2
"""
UTC = datetime.timezone.utc  # noqa: UP017 – as older Pythons, on which the original runs too, have it
DAY_S = 86_400


def observed(tq: Any, text: str) -> Any:
    """What an expression comes to: its value, or the name of the class that it raises."""
    try:
        return plain(tq, eval(text, {"tq": tq, "datetime": datetime, "UTC": UTC, "time": time}))
    except Exception as error:
        return f"raises {type(error).__name__}"


def plain(tq: Any, value: Any) -> Any:
    """A value as it can be written down."""
    if isinstance(value, (list, tuple)):
        return [plain(tq, one) for one in value]
    if isinstance(value, dict):
        return {plain(tq, name): plain(tq, one) for name, one in value.items()}
    if isinstance(value, (str, bytes, int, float, type(None))):
        return value
    return repr(value)


#: (expression, what it comes to)
TASKS: list[tuple[str, Any]] = [
    # names
    ("tq.Task(name='a' * 500).name[-3:]", "aaa"),
    ("tq.Task(name='a' * 501)", "raises InvalidTaskNameError"),
    ("tq.Task(name='aZ0_-').name", "aZ0_-"),
    ("tq.Task(name='a b')", "raises InvalidTaskNameError"),
    ("tq.Task(name='ä')", "raises InvalidTaskNameError"),
    ("tq.Task(name='a.b')", "raises InvalidTaskNameError"),
    ("tq.Task(name='').name", ""),
    ("tq.Task().name", None),
    # methods
    ("tq.Task().method", "POST"),
    ("tq.Task(method='get').method", "GET"),
    (
        "[tq.Task(method=m).method for m in ('POST', 'GET', 'HEAD', 'PUT', 'DELETE')]",
        ["POST", "GET", "HEAD", "PUT", "DELETE"],
    ),
    ("tq.Task(method='PATCH')", "raises InvalidTaskError"),
    ("tq.Task(method='')", "raises InvalidTaskError"),
    # payload and params
    ("tq.Task('x').payload", b"x"),
    ("tq.Task(b'\\xff').payload", b"\xff"),
    ("tq.Task('ü').payload", "ü".encode()),
    ("tq.Task('').payload", b""),
    ("tq.Task().payload", None),
    ("tq.Task(5)", "raises InvalidTaskError"),
    ("tq.Task(['x'])", "raises InvalidTaskError"),
    ("tq.Task('x', params={'a': 'b'})", "raises InvalidTaskError"),
    ("tq.Task('', params={'a': 'b'}).payload", "a=b"),
    ("tq.Task(params={'a': 'b', 'c': [1, 'ü']}).payload", "a=b&c=1&c=%C3%BC"),
    ("tq.Task(params={'a': b'\\xff', b'k': None}).payload", "a=%FF&k=None"),
    ("tq.Task(params={}).payload", None),
    ("tq.Task('x', method='GET')", "raises InvalidTaskError"),
    ("tq.Task('x', method='HEAD')", "raises InvalidTaskError"),
    ("tq.Task('x', method='DELETE')", "raises InvalidTaskError"),
    ("tq.Task('x', method='PUT').payload", b"x"),
    ("tq.Task('', method='GET').payload", None),
    ("tq.Task(method='GET', params={'a': 'b'}).url", "?a=b"),
    ("tq.Task(method='GET', url='/x', params={'a': ['b', 'c']}).url", "/x?a=b&a=c"),
    ("tq.Task('x', method='PUT', url='/x', params={'a': 1}).url", "/x?a=1"),
    ("tq.Task(method='GET', url='/x?a=1').url", "/x?a=1"),
    ("tq.Task(method='GET', url='/x?a=1', params={'b': 2})", "raises InvalidTaskError"),
    ("tq.Task(url='/x?a=1')", "raises InvalidTaskError"),
    ("tq.Task('x', method='PUT', url='/x?a=1').url", "/x?a=1"),
    # urls
    ("tq.Task().url", ""),
    ("tq.Task(url='').on_queue_url", True),
    ("tq.Task().on_queue_url", True),
    ("tq.Task(url='/').on_queue_url", False),
    ("tq.Task(url='/x/y').url", "/x/y"),
    ("tq.Task(url='x')", "raises InvalidUrlError"),
    ("tq.Task(url='http://example.com/x')", "raises InvalidUrlError"),
    ("tq.Task(url='//example.com/x')", "raises InvalidUrlError"),
    ("tq.Task(url='/x#f')", "raises InvalidUrlError"),
    ("tq.Task(url='?a=1', method='GET')", "raises InvalidUrlError"),
    ("len(tq.Task(url='/' + 'a' * 2082).url)", 2083),
    ("tq.Task(url='/' + 'a' * 2083)", "raises InvalidUrlError"),
    # headers
    ("tq.Task(headers={'X-A': '1'}).headers", {"X-A": "1", "X-AppEngine-Current-Namespace": ""}),
    ("tq.Task('x').headers", {"X-AppEngine-Current-Namespace": "", "content-type": "text/plain; charset=utf-8"}),
    ("tq.Task(b'x').headers", {"X-AppEngine-Current-Namespace": ""}),
    (
        "tq.Task('x', headers={'Content-Type': 'a/b'}).headers",
        {"Content-Type": "a/b", "X-AppEngine-Current-Namespace": ""},
    ),
    (
        "tq.Task(params={'a': 1}).headers",
        {"X-AppEngine-Current-Namespace": "", "content-type": "application/x-www-form-urlencoded"},
    ),
    ("tq.Task(method='GET', params={'a': 1}).headers", {"X-AppEngine-Current-Namespace": ""}),
    ("tq.Task(headers={'a': '1', 'A': '2'}).headers", {"A": "2", "X-AppEngine-Current-Namespace": ""}),
    ("tq.Task(headers={'X-AppEngine-Current-Namespace': 'n'}).headers", {"X-AppEngine-Current-Namespace": "n"}),
    ("type(tq.Task().headers).__name__", "dict"),
    # sizes
    ("tq.Task().size", 37),
    ("tq.Task(b'x' * 10, url='/abc').size", 51),
    ("tq.Task(headers={'X-A': ['1', '22']}).size", 37 + 3 + 1 + 4 + 3 + 2 + 4),
    ("tq.Task(params={'a': 1}).size", 37 + 3 + 12 + 33 + 4),
    ("tq.Task('x' * 1, method='PUT').size", 36 + 1 + 12 + 25 + 4),
    ("tq.Task(b'x' * (102400 - 37)).size", 102_400),
    ("tq.Task(b'x' * (102400 - 36))", "raises TaskTooLargeError"),
    ("tq.Task(b'x' * 200000, _size_check=False).size", 200_037),
    ("tq.Task(b'x' * (1048576 - 37), method='PULL').size", 1_048_576),
    ("tq.Task(b'x' * (1048576 - 36), method='PULL')", "raises TaskTooLargeError"),
    # pull
    ("tq.Task('x', method='PULL').payload", b"x"),
    ("tq.Task('', method='PULL').payload", b""),
    ("tq.Task(method='PULL')", "raises InvalidTaskError"),
    ("tq.Task(method='PULL', params={'a': 1}).payload", b"a=1"),
    ("tq.Task('x', method='PULL', params={'a': 1})", "raises InvalidTaskError"),
    ("tq.Task('x', method='PULL', url='/x')", "raises InvalidTaskError"),
    ("tq.Task('x', method='PULL', headers={'a': 'b'})", "raises InvalidTaskError"),
    ("tq.Task('x', method='PULL', target='a')", "raises InvalidTaskError"),
    ("tq.Task('x', method='PULL', tag='t').tag", "t"),
    ("tq.Task('x', tag='t')", "raises InvalidTaskError"),
    ("tq.Task('x', tag='')", "raises InvalidTaskError"),
    ("len(tq.Task('x', method='PULL', tag='t' * 500).tag)", 500),
    ("tq.Task('x', method='PULL', tag='t' * 501)", "raises InvalidTagError"),
    # times
    ("tq.Task(countdown=1, eta=datetime.datetime.now(UTC))", "raises InvalidTaskError"),
    ("tq.Task(eta=5)", "raises InvalidTaskError"),
    ("tq.Task(countdown='x')", "raises InvalidTaskError"),
    ("tq.Task(countdown=10 ** 400)", "raises InvalidTaskError"),
    ("tq.Task(countdown=[])", "raises TypeError"),
    ("tq.Task(countdown='500').eta_posix > time.time() + 400", True),
    ("tq.Task(countdown=-5).eta_posix < time.time() - 4", True),
    ("tq.Task(countdown=30 * 86400 - 5).was_enqueued", False),
    ("tq.Task(countdown=30 * 86400 + 5)", "raises InvalidEtaError"),
    ("tq.Task(countdown=float('inf'))", "raises InvalidEtaError"),
    ("tq.Task(eta=datetime.datetime.now(UTC) + datetime.timedelta(days=31))", "raises InvalidEtaError"),
    ("tq.Task(eta=datetime.datetime(2020, 1, 2, 3, 4, 5, 678900, UTC)).eta_posix", 1577934245.6789),
    (
        "tq.Task(eta=datetime.datetime(2020, 1, 2, 3, 4, 5, 678900, UTC)).eta.isoformat()",
        "2020-01-02T03:04:05.678900+00:00",
    ),
    ("abs(tq.Task().eta_posix - time.time()) < 60", True),
    # deadlines
    ("tq.Task().dispatch_deadline_usec", None),
    ("tq.Task(dispatch_deadline_usec=15 * 10 ** 6).dispatch_deadline_usec", 15_000_000),
    ("tq.Task(dispatch_deadline_usec=15 * 10 ** 6 - 1)", "raises InvalidDispatchDeadlineError"),
    ("tq.Task(dispatch_deadline_usec=86400 * 10 ** 6).dispatch_deadline_usec", 86_400_000_000),
    ("tq.Task(dispatch_deadline_usec=86400 * 10 ** 6 + 10 ** 6)", "raises InvalidDispatchDeadlineError"),
    ("tq.Task(dispatch_deadline_usec=1.5)", "raises TypeError"),
    ("tq.Task(dispatch_deadline_usec='15000000')", "raises TypeError"),
    # targets
    ("tq.Task(target='v2').target", "v2"),
    ("tq.Task(target='v2', headers={'Host': 'x'})", "raises InvalidTaskError"),
    ("repr(tq.Task().target)", "<UnknownApplicationVersion>"),
    ("repr(tq.DEFAULT_APP_VERSION)", "<DefaultApplicationVersion>"),
    ("tq.Task(target=tq.DEFAULT_APP_VERSION).target is tq.DEFAULT_APP_VERSION", True),
    # what else there is
    ("tq.Task(urk=1)", "raises TypeError"),
    ("tq.Task('x', 'y')", "raises TypeError"),
    ("[tq.Task().queue_name, tq.Task().retry_count, tq.Task().retry_options]", [None, 0, None]),
    ("[tq.Task().was_enqueued, tq.Task().was_deleted]", [False, False]),
    ("tq.Task(retry_options=5).retry_options", 5),
    # params, the other way
    ("tq.Task(params={'a': 'b', 'c': [1, 2]}).extract_params()", {"a": b"b", "c": [b"1", b"2"]}),
    ("tq.Task(method='GET', params={'a': 'ü', 'b': ''}).extract_params()", {"a": "ü".encode(), "b": b""}),
    ("tq.Task(method='PULL', params={'a': 1}).extract_params()", {b"a": b"1"}),
    ("tq.Task('a=1&a=2').extract_params()", {b"a": [b"1", b"2"]}),
    ("tq.Task().extract_params()", {}),
    ("tq.Task('x').extract_params()", "raises ValueError"),
    ("tq.Task(method='PUT', url='/x?a=1').extract_params()", {"a": b"1"}),
]

RETRY_OPTIONS: list[tuple[str, Any]] = [
    ("tq.TaskRetryOptions(min_backoff_seconds=-1)", "raises InvalidTaskRetryOptionsError"),
    ("tq.TaskRetryOptions(max_backoff_seconds=-1)", "raises InvalidTaskRetryOptionsError"),
    ("tq.TaskRetryOptions(min_backoff_seconds=2, max_backoff_seconds=1)", "raises InvalidTaskRetryOptionsError"),
    ("tq.TaskRetryOptions(min_backoff_seconds=2, max_backoff_seconds=2).max_backoff_seconds", 2),
    ("tq.TaskRetryOptions(max_doublings=-1)", "raises InvalidTaskRetryOptionsError"),
    ("tq.TaskRetryOptions(task_retry_limit=-1)", "raises InvalidTaskRetryOptionsError"),
    ("tq.TaskRetryOptions(task_retry_limit=0).task_retry_limit", 0),
    ("tq.TaskRetryOptions(task_age_limit=-1)", "raises InvalidTaskRetryOptionsError"),
    ("tq.TaskRetryOptions(task_age_limit=1.2).task_age_limit", 2),
    ("tq.TaskRetryOptions(retries=1)", "raises TypeError"),
    ("tq.TaskRetryOptions(5)", "raises TypeError"),
    (
        "[getattr(tq.TaskRetryOptions(), f) for f in ('min_backoff_seconds', 'max_backoff_seconds', 'task_age_limit',"
        " 'max_doublings', 'task_retry_limit')]",
        [None] * 5,
    ),
]

QUEUES: list[tuple[str, Any]] = [
    ("tq.Queue().name", "default"),
    ("len(tq.Queue('a' * 100).name)", 100),
    ("tq.Queue('a' * 101)", "raises InvalidQueueNameError"),
    ("tq.Queue('')", "raises InvalidQueueNameError"),
    ("tq.Queue('a_b')", "raises InvalidQueueNameError"),
    ("tq.Queue('a b')", "raises InvalidQueueNameError"),
    ("tq.Queue('a-B-0').name", "a-B-0"),
    ("[tq.Queue('a') == tq.Queue('a'), tq.Queue('a') != tq.Queue('b'), tq.Queue('a') == 'a']", [True, True, False]),
    ("repr(tq.Queue('a'))", "Queue<name='a'>"),
    ("tq.Queue().add([])", []),
    ("tq.Queue().add(None)", []),
    ("tq.Queue('nowhere').add(tq.Task())", "raises UnknownQueueError"),
    ("tq.Queue().add([tq.Task(), tq.Task('x', method='PULL')])", "raises InvalidTaskError"),
    ("tq.Queue().add([tq.Task() for _ in range(101)])", "raises TooManyTasksError"),
    ("len(tq.Queue().add([tq.Task() for _ in range(100)]))", 100),
    ("tq.Queue().add([tq.Task(name='twice'), tq.Task(name='twice')])", "raises DuplicateTaskNameError"),
    ("tq.Queue('pull').add(tq.Task())", "raises InvalidQueueModeError"),
    ("tq.Queue().add(tq.Task('x', method='PULL'))", "raises InvalidQueueModeError"),
    ("tq.add(name='tx-1', transactional=True)", "raises BadTransactionStateError"),
    ("tq.add(transactional=True)", "raises BadTransactionStateError"),
    ("tq.add(queue_name='a_b')", "raises InvalidQueueNameError"),
    ("tq.add('x', urk=1)", "raises TypeError"),
    ("tq.add(eta=datetime.datetime(1969, 1, 1, tzinfo=UTC))", "raises InvalidEtaError"),
    ("tq.add(eta=datetime.datetime(1971, 1, 1, tzinfo=UTC)).was_enqueued", True),
    ("tq.add(countdown=-10 ** 10)", "raises InvalidEtaError"),
    ("[t.was_enqueued for t in tq.Queue().add(tq.Task() for _ in range(2))]", [True, True]),
    ("tq.Queue('pull').lease_tasks(-1, 1)", "raises InvalidLeaseTimeError"),
    ("tq.Queue('pull').lease_tasks(604801, 1)", "raises InvalidLeaseTimeError"),
    ("tq.Queue('pull').lease_tasks(604800, 1)", []),
    ("tq.Queue('pull').lease_tasks('1', 1)", "raises TypeError"),
    ("tq.Queue('pull').lease_tasks(1, 0)", "raises InvalidMaxTasksError"),
    ("tq.Queue('pull').lease_tasks(1, 1001)", "raises InvalidMaxTasksError"),
    ("tq.Queue('pull').lease_tasks(1, 1000)", []),
    ("tq.Queue('pull').lease_tasks(1, 1.0)", "raises TypeError"),
    ("tq.Queue('pull').lease_tasks(1, 1, deadline=0)", "raises InvalidDeadlineError"),
    ("tq.Queue('pull').lease_tasks(1, 1, deadline='1')", "raises TypeError"),
    ("tq.Queue().lease_tasks(1, 1)", "raises InvalidQueueModeError"),
    ("tq.Queue('nowhere').lease_tasks(1, 1)", "raises UnknownQueueError"),
    ("tq.Queue('pull').lease_tasks_by_tag(1, 1)", []),
    ("tq.Queue('pull').lease_tasks_by_tag(1, 1, 'x')", []),
    ("tq.Queue().lease_tasks_by_tag(1, 1)", "raises InvalidQueueModeError"),
    ("tq.Queue('pull').modify_task_lease(tq.Task('', method='PULL', name='none'), -1)", "raises InvalidLeaseTimeError"),
    ("tq.Queue('pull').modify_task_lease(tq.Task('', method='PULL', name='none'), 'x')", "raises TypeError"),
    ("tq.Queue('pull').modify_task_lease(tq.Task('', method='PULL', name='none'), 1)", "raises Error"),
    ("tq.Queue().modify_task_lease(tq.Task(name='none'), 1)", "raises InvalidQueueModeError"),
    ("tq.Queue().delete_tasks(tq.Task())", "raises BadTaskStateError"),
    ("tq.Queue().delete_tasks([tq.Task(name='a'), tq.Task(name='a')])", "raises DuplicateTaskNameError"),
    ("tq.Queue().delete_tasks_by_name('none').was_deleted", False),
    ("tq.Queue().delete_tasks_by_name('a b')", "raises InvalidTaskNameError"),
    ("[t.was_deleted for t in tq.Queue().delete_tasks_by_name(['n1', 'n2'])]", [False, False]),
    ("tq.Queue('nowhere').delete_tasks_by_name('none')", "raises UnknownQueueError"),
    ("tq.Queue('nowhere').purge()", "raises UnknownQueueError"),
    ("tq.Queue().purge()", None),
    ("tq.Queue().fetch_statistics(deadline=-1)", "raises InvalidDeadlineError"),
    ("tq.Queue().fetch_statistics().tasks", 0),
    ("tq.QueueStatistics.fetch([])", []),
    ("tq.QueueStatistics.fetch('mail').queue.name", "mail"),
    ("[s.queue.name for s in tq.QueueStatistics.fetch(['mail', 'default'])]", ["mail", "default"]),
    ("[s.queue.name for s in tq.QueueStatistics.fetch([tq.Queue('mail')])]", ["mail"]),
    ("tq.QueueStatistics.fetch(tq.Queue('mail')).oldest_eta_usec", None),
    ("tq.QueueStatistics.fetch(['mail', tq.Queue('mail')])", "raises TypeError"),
    ("tq.QueueStatistics.fetch('mail', deadline='1')", "raises TypeError"),
    ("tq.QueueStatistics('q', 3) == tq.QueueStatistics('q', 3)", True),
    ("tq.QueueStatistics('q', 3) == tq.QueueStatistics('q', 3, 1)", False),
    (
        "repr(tq.QueueStatistics('q', 3))",
        "QueueStatistics(queue='q', tasks=3, oldest_eta_usec=None, executed_last_minute=None, in_flight=None,"
        " enforced_rate=None)",
    ),
    ("tq.create_rpc(0)", "raises InvalidDeadlineError"),
    ("tq.create_rpc('1')", "raises TypeError"),
    ("tq.create_rpc(1.5).deadline", 1.5),
    ("[tq.create_rpc().deadline, tq.create_rpc().service, tq.create_rpc().method]", [None, "taskqueue", None]),
]


# ---- several steps


def a_name_is_taken(tq: Any) -> Any:
    tq.add(name="taken")
    again = tq.Task(name="taken")
    try:
        again.add()
    except tq.TaskAlreadyExistsError:
        return [again.was_enqueued, again.queue_name]


def a_deleted_name_stays_taken(tq: Any) -> Any:
    task = tq.add(name="gone")
    tq.Queue().delete_tasks(task)
    seen: list[Any] = [task.was_deleted]
    try:
        tq.add(name="gone")
    except Exception as error:
        seen.append(type(error).__name__)
    seen.append(tq.Queue().delete_tasks_by_name("gone").was_deleted)
    return seen


def others_of_a_batch_get_in(tq: Any) -> Any:
    tq.add(name="first")
    batch = [tq.Task(name="first"), tq.Task(name="second"), tq.Task()]
    try:
        tq.Queue().add(batch)
    except tq.TaskAlreadyExistsError:
        return [task.was_enqueued for task in batch]


def an_added_task_cannot_be_added_again(tq: Any) -> Any:
    task = tq.add()
    try:
        task.add()
    except Exception as error:
        return [type(error).__name__, task.was_enqueued, task.queue_name]


def a_deleted_task_cannot_be_deleted_again(tq: Any) -> Any:
    task = tq.add()
    tq.Queue().delete_tasks(task)
    try:
        tq.Queue().delete_tasks(task)
    except Exception as error:
        return type(error).__name__


def what_is_returned(tq: Any) -> Any:
    one, two = tq.Task(), tq.Task()
    return [
        tq.Queue().add(one) is one, tq.Queue("mail").add((two,)) == [two], one.queue_name, two.queue_name,
        tq.Queue().delete_tasks(one) is one, tq.Queue("mail").delete_tasks([two]) == [two],
    ]  # fmt: skip


def pulling(tq: Any) -> Any:
    queue = tq.Queue("pull")
    queue.add([tq.Task(text, method="PULL", countdown=-delay) for text, delay in (("a", 5), ("b", 9), ("c", 1))])
    two = queue.lease_tasks(600, 2)
    rest = queue.lease_tasks(60, 10)
    facts = [
        [task.payload, task.method, task.retry_count, task.was_enqueued, task.queue_name, task.tag] for task in two
    ]
    ahead = [500 < task.eta_posix - time.time() <= 600 for task in two]
    queue.delete_tasks([*two, *rest])
    return [facts, ahead, [task.payload for task in rest], queue.lease_tasks(60, 10)]


def pulling_by_tag(tq: Any) -> Any:
    queue = tq.Queue("pull")
    made = [("a", "x", 9), ("b", None, 8), ("c", "y", 7), ("d", "x", 6), ("e", None, 5)]
    queue.add([tq.Task(text, method="PULL", tag=tag, countdown=-delay) for text, tag, delay in made])
    oldest = [task.payload for task in queue.lease_tasks_by_tag(60, 10)]
    untagged = [[task.payload, task.tag] for task in queue.lease_tasks_by_tag(60, 10)]
    named = [[task.payload, task.tag] for task in queue.lease_tasks_by_tag(60, 10, "y")]
    queue.purge()
    return [oldest, untagged, named]


def a_task_that_is_due_later_is_not_leased(tq: Any) -> Any:
    queue = tq.Queue("pull")
    task = queue.add(tq.Task("later", method="PULL", countdown=60))
    found = queue.lease_tasks(60, 10)
    queue.delete_tasks(task)
    return found


def leases_end(tq: Any) -> Any:
    queue = tq.Queue("pull")
    queue.add(tq.Task("x", method="PULL"))
    counts = []
    for _ in range(3):
        (task,) = queue.lease_tasks(60, 1)
        counts.append(task.retry_count)
        queue.modify_task_lease(task, 0)
        time.sleep(0.01)
    (last,) = queue.lease_tasks(60, 1)
    queue.delete_tasks(last)
    return counts


def a_lease_is_prolonged(tq: Any) -> Any:
    queue = tq.Queue("pull")
    queue.add(tq.Task("x", method="PULL"))
    (task,) = queue.lease_tasks(60, 1)
    queue.modify_task_lease(task, 600)
    ahead = 500 < task.eta_posix - time.time() <= 600 and abs(task.eta.timestamp() - task.eta_posix) < 1e-5
    queue.modify_task_lease(task, 60)
    queue.delete_tasks(task)
    return ahead


def a_lease_that_is_over_is_not_prolonged(tq: Any) -> Any:
    queue = tq.Queue("pull")
    queue.add(tq.Task("x", method="PULL"))
    (task,) = queue.lease_tasks(60, 1)
    other = tq.Task("x", method="PULL", name=task.name, eta=task.eta + datetime.timedelta(seconds=1))
    seen = [_name_of_error(lambda: queue.modify_task_lease(other, 60))]
    queue.modify_task_lease(task, 0)
    time.sleep(0.01)
    seen.append(_name_of_error(lambda: queue.modify_task_lease(task, 60)))
    queue.purge()
    return seen


def a_task_of_a_queue_with_a_limit_is_leased_so_often(tq: Any) -> Any:
    return _leased_again_and_again(tq, tq.Queue("twice"), None)


def a_task_with_a_limit_is_leased_so_often(tq: Any) -> Any:
    return _leased_again_and_again(tq, tq.Queue("pull"), tq.TaskRetryOptions(task_retry_limit=2))


def _leased_again_and_again(tq: Any, queue: Any, options: Any) -> Any:
    queue.add(tq.Task("x", method="PULL", retry_options=options))
    counts = []
    for _ in range(4):
        for task in queue.lease_tasks(60, 1):
            counts.append(task.retry_count)
            queue.modify_task_lease(task, 0)
            time.sleep(0.01)
    left = queue.fetch_statistics().tasks
    queue.purge()
    return [counts, left]


def a_purged_queue_is_empty(tq: Any) -> Any:
    queue = tq.Queue("mail")
    queue.add([tq.Task(), tq.Task(countdown=60)])
    before = queue.fetch_statistics().tasks
    queue.purge()
    return [before, queue.fetch_statistics().tasks]


def an_rpc_tells_whoever_asks(tq: Any) -> Any:
    told: list[str] = []
    rpc = tq.create_rpc(deadline=5, callback=lambda: told.append("called"))
    task = tq.Task()
    same = tq.Queue().add_async(task, rpc=rpc) is rpc
    before = list(told)
    rpc.wait()
    rpc.check_success()
    return [same, before, rpc.get_result() is task, told, rpc.method, rpc.service]


def an_rpc_raises_when_it_is_asked(tq: Any) -> Any:
    rpc = tq.Queue("nowhere").add_async(tq.Task())
    return [_name_of_error(rpc.get_result), _name_of_error(lambda: tq.Queue().add_async([tq.Task()] * 101))]


def the_async_forms(tq: Any) -> Any:
    queue = tq.Queue("pull")
    (added,) = queue.add_async([tq.Task("x", method="PULL", name="async-1", tag="t")]).get_result()
    (leased,) = queue.lease_tasks_async(60, 1).get_result()
    by_tag = queue.lease_tasks_by_tag_async(60, 1, "t").get_result()
    stats = queue.fetch_statistics_async().get_result().tasks
    many = [one.tasks for one in tq.QueueStatistics.fetch_async(["pull"]).get_result()]
    deleted = queue.delete_tasks_async(leased).get_result() is leased
    by_name = queue.delete_tasks_by_name_async(["async-1"]).get_result()[0].was_deleted
    return [added.name, leased.name, by_tag, stats, many, deleted, leased.was_deleted, by_name]


def _name_of_error(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "nothing"


STORIES: list[tuple[Callable[[Any], Any], Any]] = [
    (a_name_is_taken, [False, None]),
    (a_deleted_name_stays_taken, [True, "TombstonedTaskError", False]),
    (others_of_a_batch_get_in, [False, True, True]),
    (an_added_task_cannot_be_added_again, ["BadTaskStateError", True, "default"]),
    (a_deleted_task_cannot_be_deleted_again, "BadTaskStateError"),
    (what_is_returned, [True, True, "default", "mail", True, True]),
    (
        pulling,
        [[[b"b", "PULL", 1, True, "pull", None], [b"a", "PULL", 1, True, "pull", None]], [True, True], [b"c"], []],
    ),
    (pulling_by_tag, [[b"a", b"d"], [[b"b", None], [b"e", None]], [[b"c", "y"]]]),
    (a_task_that_is_due_later_is_not_leased, []),
    (leases_end, [1, 2, 3]),
    (a_lease_is_prolonged, True),
    (a_lease_that_is_over_is_not_prolonged, ["TaskLeaseExpiredError", "TaskLeaseExpiredError"]),
    (a_task_of_a_queue_with_a_limit_is_leased_so_often, [[1, 2], 0]),
    (a_purged_queue_is_empty, [2, 0]),
    (an_rpc_tells_whoever_asks, [True, [], True, ["called"], "BulkAdd", "taskqueue"]),
    (an_rpc_raises_when_it_is_asked, ["UnknownQueueError", "TooManyTasksError"]),
    (the_async_forms, ["async-1", "async-1", [], 1, [1], True, True, False]),
]

#: (expression or story, what the original makes of it, what ours does), where ours differs on purpose.
ON_PURPOSE: list[tuple[str | Callable[[Any], Any], Any, Any]] = [
    # The documentation says that None is the url of the queue.
    ("tq.Task(url=None).url", "raises TypeError", ""),
    # A time without a zone is UTC, and not that of whichever machine it is (here: New York).
    ("tq.Task(eta=datetime.datetime(2020, 1, 2)).eta_posix", 1577941200.0, 1577923200.0),
    # A name ends where it ends.
    ("tq.Task(name='a' + chr(10)).name", "a" + chr(10), "raises InvalidTaskNameError"),
    ("tq.Queue('a' + chr(10)).name", "a" + chr(10), "raises InvalidQueueNameError"),
    # What is no number is refused when it is said, and not when it is added.
    ("tq.Task(countdown=float('nan')).name", None, "raises InvalidTaskError"),
    ("tq.Task(countdown=float('-inf')).name", None, "raises InvalidTaskError"),
    # The documentation says that pull tasks have a limit of their own; the library does not send it.
    (a_task_with_a_limit_is_leased_so_often, [[1, 2, 3, 4], 1], [[1, 2], 0]),
]

#: Each error, and the one it stands below.
TREE = {
    "InvalidTaskError": "Error", "InvalidTaskNameError": "InvalidTaskError", "TaskTooLargeError": "InvalidTaskError",
    "TransactionalRequestTooLargeError": "TaskTooLargeError", "TaskAlreadyExistsError": "InvalidTaskError",
    "TombstonedTaskError": "InvalidTaskError", "InvalidUrlError": "InvalidTaskError",
    "InvalidEtaError": "InvalidTaskError", "InvalidQueueError": "Error", "InvalidQueueNameError": "InvalidQueueError",
    "UnknownQueueError": "Error", "TransientError": "Error", "InternalError": "Error", "BadTaskStateError": "Error",
    "PermissionDeniedError": "Error", "DuplicateTaskNameError": "Error", "TooManyTasksError": "Error",
    "DatastoreError": "Error", "BadTransactionStateError": "Error", "InvalidTaskRetryOptionsError": "Error",
    "InvalidLeaseTimeError": "Error", "InvalidMaxTasksError": "Error", "InvalidDeadlineError": "Error",
    "InvalidQueueModeError": "Error", "TaskLeaseExpiredError": "Error", "QueuePausedError": "Error",
    "InvalidTagError": "Error", "InvalidDispatchDeadlineError": "Error",
}  # fmt: skip

NUMBERS = {
    "MAX_QUEUE_NAME_LENGTH": 100, "MAX_TASK_NAME_LENGTH": 500, "MAX_TASK_SIZE_BYTES": 102_400,
    "MAX_PUSH_TASK_SIZE_BYTES": 102_400, "MAX_PULL_TASK_SIZE_BYTES": 1_048_576, "MAX_LEASE_SECONDS": 604_800,
    "MAX_TASKS_PER_ADD": 100, "MAX_TASKS_PER_LEASE": 1_000, "MAX_URL_LENGTH": 2_083, "MAX_TAG_LENGTH": 500,
    "MAX_TRANSACTIONAL_REQUEST_SIZE_BYTES": 1_048_576,
    "MIN_DISPATCH_DEADLINE": datetime.timedelta(seconds=15), "MAX_DISPATCH_DEADLINE": datetime.timedelta(hours=24),
}  # fmt: skip

#: Parameters by name, with their defaults.
SIGNATURES = {
    "Task.__init__": "payload=None, **kwargs",
    "Task.add": "queue_name='default', transactional=False",
    "Task.add_async": "queue_name='default', transactional=False, rpc=None",
    "Task.extract_params": "",
    "TaskRetryOptions.__init__": "**kwargs",
    "Queue.__init__": "name='default'",
    "Queue.add": "task, transactional=False",
    "Queue.add_async": "task, transactional=False, rpc=None",
    "Queue.purge": "",
    "Queue.delete_tasks": "task",
    "Queue.delete_tasks_async": "task, rpc=None",
    "Queue.delete_tasks_by_name": "task_name",
    "Queue.delete_tasks_by_name_async": "task_name, rpc=None",
    "Queue.lease_tasks": "lease_seconds, max_tasks, deadline=10",
    "Queue.lease_tasks_async": "lease_seconds, max_tasks, rpc=None",
    "Queue.lease_tasks_by_tag": "lease_seconds, max_tasks, tag=None, deadline=10",
    "Queue.lease_tasks_by_tag_async": "lease_seconds, max_tasks, tag=None, rpc=None",
    "Queue.modify_task_lease": "task, lease_seconds",
    "Queue.fetch_statistics": "deadline=10",
    "Queue.fetch_statistics_async": "rpc=None",
    "QueueStatistics.__init__": (
        "queue, tasks, oldest_eta_usec=None, executed_last_minute=None, in_flight=None, enforced_rate=None"
    ),
    "QueueStatistics.fetch": "queue_or_queues, deadline=10",
    "QueueStatistics.fetch_async": "queue_or_queues, rpc=None",
    "add": "*args, **kwargs",
    "create_rpc": "deadline=None, callback=None",
}


def signature_of(tq: Any, path: str) -> str:
    """The parameters of a function, without `self` and without types."""
    import inspect

    place = tq
    for name in path.split("."):
        place = getattr(place, name)
    given = [one.replace(annotation=inspect.Parameter.empty) for one in inspect.signature(place).parameters.values()]
    return ", ".join(str(one) for one in given if one.name != "self")


def told(tq: Any, row: str | Callable[[Any], Any]) -> Any:
    """What an expression or a story comes to."""
    return observed(tq, row) if isinstance(row, str) else row(tq)


def differences(tq: Any, fresh: Callable[[], None]) -> list[str]:
    """The rows in which the original `tq` differs from what is recorded; `fresh` empties its queues."""
    found = []
    rows: list[tuple[Any, Any, Any]] = []
    recordings = [*TASKS, *RETRY_OPTIONS, *QUEUES, *STORIES, *((row, theirs) for row, theirs, _ in ON_PURPOSE)]
    for row, recorded in recordings:
        fresh()
        rows.append((row if isinstance(row, str) else row.__name__, recorded, told(tq, row)))
    rows += [(name, above, getattr(tq, name).__bases__[0].__name__) for name, above in TREE.items()]
    rows += [(name, number, getattr(tq, name)) for name, number in NUMBERS.items()]
    rows += [(path, text, signature_of(tq, path)) for path, text in SIGNATURES.items()]
    for what, recorded, seen in rows:
        if seen != recorded or type(seen) is not type(recorded):
            found.append(f"{what}: recorded {recorded!r}, seen {seen!r}")
    print(f"{len(rows)} rows")
    return found


def main() -> int:
    """Try the original."""
    import logging
    import tempfile

    logging.disable(logging.WARNING)
    os.environ.update(APPLICATION_ID="testbed-test", TZ="America/New_York")
    time.tzset()
    from google.appengine.api import taskqueue
    from google.appengine.ext import testbed

    with tempfile.TemporaryDirectory() as root:
        with open(os.path.join(root, "queue.yaml"), "w", encoding="utf-8") as file:
            file.write(QUEUE_YAML)
        bed = testbed.Testbed()

        def fresh() -> None:
            if bed._activated:
                bed.deactivate()
            bed.activate()
            os.environ.pop("HTTP_HOST", None)
            os.environ.pop("DEFAULT_VERSION_HOSTNAME", None)
            bed.init_datastore_v3_stub()
            bed.init_memcache_stub()
            bed.init_taskqueue_stub(root_path=root)

        found = differences(taskqueue, fresh)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
