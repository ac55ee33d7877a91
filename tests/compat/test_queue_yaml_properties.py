"""queue.yaml, whatever stands in it: nothing but its own error, with a place that is in the file."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deferq import Queue, RetryPolicy
from deferq.compat.appengine.queueyaml import parse
from deferq.compat.appengine.queueyaml.composing import BYTES_MAX
from deferq.compat.appengine.queueyaml.entries import KEYS, TOP_KEYS
from deferq.compat.appengine.queueyaml.retrying import KEYS as RETRY_KEYS
from deferq.errors import QueueYamlError
from tests.fuzz.targets_queueyaml import fuzz_queueyaml
from tests.support import sized

EXAMPLES = sized(test=25, proof=2_000, long=100_000)
EASILY = settings(max_examples=EXAMPLES, deadline=None, database=None)

#: Pieces of YAML, and of what stands in such files.
_SIGNS = ": |:|\n|\n  |\n- |- |  |\t|[|]|{|}|, |'|&a |*a|!!str |!x |>|#|%|---\n|...\n|? |<<: |~|\\|\r\n|\x85|\u2028|\""
_VALUES = "5/s|0|10/m|pull|push|mail|1|-1|1e9|2d|120M|True|.inf|\\U99999999|\\ud800"
_PIECES = st.sampled_from([*KEYS, *TOP_KEYS, *RETRY_KEYS, "|", *_SIGNS.split("|"), *_VALUES.split("|")])
texts = st.lists(_PIECES | st.text(max_size=4), max_size=40).map("".join)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(
    ["5/s", "0", "pull", "v1.worker", "2d", "9m", "mail"]
)  # fmt: skip
keys = st.sampled_from([*KEYS, *TOP_KEYS, *RETRY_KEYS]) | st.text(max_size=5)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
entries = st.dictionaries(st.sampled_from(KEYS), documents, max_size=5)
files = st.fixed_dictionaries(
    {}, optional={"queue": st.lists(entries, max_size=2), **dict.fromkeys(TOP_KEYS[1:], documents)}
)


@pytest.mark.programme
@EASILY
@given(texts)
def test_any_text_is_refused_with_its_own_error_or_taken(text: str) -> None:
    fuzz_queueyaml(text.encode("utf-8", "surrogatepass"))


@pytest.mark.programme
@EASILY
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_its_own_error_or_taken(data: bytes) -> None:
    fuzz_queueyaml(data)


@pytest.mark.programme
@EASILY
@given(files | documents)
def test_any_document_is_refused_with_its_own_error_or_taken(document: object) -> None:
    fuzz_queueyaml(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


rates = st.integers(1, 500).map(lambda number: f"{number}/s") | st.integers(1, 10**6).map(lambda number: f"{number}/d")
policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 10**6),
    max_age_s=st.none() | st.integers(1, 10**6).map(float),
    min_backoff_s=st.integers(0, 3_600).map(float),
    max_backoff_s=st.integers(3_600, 10**6).map(float),
    max_doublings=st.integers(0, 64),
    jitter=st.just(False),
)
pushed = st.builds(
    Queue,
    rate=rates,
    bucket_size=st.integers(1, 500),
    max_concurrent=st.integers(1, 5_000),
    retry=st.none() | policies,
    route=st.none() | st.from_regex(r"([a-z0-9]{1,20}\.)?[a-z0-9]{1,20}", fullmatch=True),
    source=st.just("queue.yaml"),
)
names = st.from_regex(r"[a-zA-Z0-9-]{1,100}", fullmatch=True)


@EASILY
@given(st.dictionaries(names, pushed, max_size=5))
def test_what_is_written_down_is_read_back(queues: dict[str, Queue]) -> None:
    file = yaml.safe_dump({"queue": [written(name, queue) for name, queue in queues.items()]})
    said = parse(file.encode())
    assert {name: said.queues[name] for name in queues} == queues
    assert said.warnings == ()


def written(name: str, queue: Queue) -> dict[str, object]:
    """An entry as App Engine has it."""
    said: dict[str, object] = {
        "name": name, "rate": queue.rate, "bucket_size": queue.bucket_size,
        "max_concurrent_requests": queue.max_concurrent, "target": queue.route,
    }  # fmt: skip
    if queue.retry is not None:
        said["retry_parameters"] = {
            "task_retry_limit": (queue.retry.max_attempts or 1) - 1,
            "task_age_limit": None if queue.retry.max_age_s is None else f"{queue.retry.max_age_s:.0f}s",
            "min_backoff_seconds": queue.retry.min_backoff_s,
            "max_backoff_seconds": queue.retry.max_backoff_s,
            "max_doublings": queue.retry.max_doublings,
        }
    return said


@pytest.mark.slow
@pytest.mark.parametrize(
    "bomb",
    [
        b"queue: " + b"[" * BYTES_MAX,
        b"? " * (BYTES_MAX // 2),
        b"- " * (BYTES_MAX // 2),
        b"a: &a [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 1_000)),
        b"queue:\n" + b"- x\n" * (BYTES_MAX // 4 - 2),
        b"queue:\n" + b"- name: a\n" * (BYTES_MAX // 10 - 2),
        b"a" * (BYTES_MAX - 2),
        b'"' + b"\\n" * (BYTES_MAX // 2 - 2) + b'"',
        b"a: b\n" * (BYTES_MAX // 5),
        b"\n" * BYTES_MAX,
        b"'" * BYTES_MAX,
    ],
    ids=lambda bomb: repr(bomb[:20]),
)
def test_bombs_cost_little(bomb: bytes) -> None:
    began = time.process_time()
    with pytest.raises(QueueYamlError):
        parse(bomb[:BYTES_MAX])
    assert time.process_time() - began < 60
