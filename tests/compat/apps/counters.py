"""A consumer of a pull queue, written for App Engine: clicks are collected, and counted a hundred at a time."""

import json
from collections import Counter

from deferq.compat.appengine import taskqueue

totals = Counter()


def click(page, times=1):
    queue = taskqueue.Queue("clicks")
    queue.add([taskqueue.Task(payload=json.dumps({"page": page}), method="PULL", tag=page) for _ in range(times)])


def count_some(tag=None, at_most=100):
    """Lease, count, delete; returns how many there were."""
    queue = taskqueue.Queue("clicks")
    if tag is None:
        tasks = queue.lease_tasks(60, at_most)
    else:
        tasks = queue.lease_tasks_by_tag(60, at_most, tag)
    for task in tasks:
        totals[json.loads(task.payload)["page"]] += 1
    queue.delete_tasks(tasks)
    assert all(task.was_deleted for task in tasks)
    return len(tasks)
