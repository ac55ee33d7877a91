"""Any bytes as a queue.yaml: refused with a place that is in the file, or queues that can be stored."""

from __future__ import annotations

import json

from deferq.compat.appengine.queueyaml import parse
from deferq.compat.appengine.queueyaml.problems import TOLD_MAX
from deferq.errors import QueueYamlError
from deferq.model.queue import Queue, check_queue_name


def seeds_queueyaml() -> list[bytes]:
    return [
        b"queue:\n- name: mail\n  rate: 10/m\n  bucket_size: 40\n  max_concurrent_requests: 3\n  target: v1.worker\n",
        b"queue:\n- name: a\n  rate: 0.5/s\n  retry_parameters:\n    task_retry_limit: 7\n    task_age_limit: 2d\n"
        b"    min_backoff_seconds: 10\n    max_backoff_seconds: 200.5\n    max_doublings: 3\n",
        b"total_storage_limit: 120M\nresume_paused_queues: True\nqueue: [{name: p, mode: pull}, {name: s, rate: 0}]\n",
        b"queue:\n- name: p\n  mode: pull\n  acl:\n  - user_email: a@b\n  - writer_email: c@d\n  rate: 1/s\n",
        b"queue:\n- name: &a x\n- name: *a\n  <<: {rate: 1/s}\n---\n!!python/name:os.system ''\n",
        b'\xef\xbb\xbfqueue:\r\n- name: "\\x41\\u0042\\U0001f600"\r\n  rate: >-\r\n    5/s\r\n',
        b"queue:\n- name: a\n  name: b\n  rat: 1/s\n  bucket_size: -1\nqueue: 5\ncron: []\n",
    ]


def fuzz_queueyaml(data: bytes) -> None:
    try:
        said = parse(data, "q")
    except QueueYamlError as error:
        _check_told(error, data)
        return
    for name, queue in said.queues.items():
        check_queue_name(name)
        assert Queue.from_dict(json.loads(json.dumps(queue.to_dict()))) == queue
        assert queue.source == "q"


def _check_told(error: QueueYamlError, data: bytes) -> None:
    lines = str(error).splitlines()
    assert len(error.problems) >= 1
    assert len(lines) == min(len(error.problems), TOLD_MAX) + (len(error.problems) > TOLD_MAX)
    assert all(line.isprintable() for line in lines), "it could command a terminal"
    rows = len(data) + 2
    for line, column, text in error.problems:
        assert 1 <= line <= rows
        assert 1 <= column <= rows
        assert text.endswith((".", "?"))
