"""queue.yaml: what good files declare, and where and how bad ones are wrong."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from deferq import ConfigError, Queue, RetryPolicy
from deferq.compat.appengine.queueyaml import parse, read
from deferq.compat.appengine.queueyaml.composing import BYTES_MAX
from deferq.compat.appengine.queueyaml.problems import TOLD_MAX
from deferq.compat.appengine.queueyaml.reading import QUEUES_MAX, QueueYaml
from deferq.errors import QueueYamlError

RETRY = "queue:\n- name: a\n  rate: 1/s\n  retry_parameters: "
#: What App Engine takes for what is left out.
USUAL: dict[str, Any] = {"rate": "5/s", "bucket_size": 5, "max_concurrent": 1_000, "source": "queue.yaml"}


def parsed(text: str) -> QueueYaml:
    return parse(dedent(text).encode())


def entry(*lines: str) -> Queue:
    """What an entry with these lines declares."""
    return parsed("\n  ".join(["queue:\n- name: mail", *lines])).queues["mail"]


def policy(*lines: str) -> RetryPolicy:
    found = entry("rate: 1/s", "retry_parameters:", *(f"  {line}" for line in lines)).retry
    assert found is not None
    return found


def wrong(text: str | bytes, name: str = "queue.yaml") -> list[str]:
    """What is said of a bad file: one line for each mistake."""
    with pytest.raises(QueueYamlError) as refused:
        parse(text if isinstance(text, bytes) else text.encode(), name)
    said = str(refused.value).splitlines()
    problems = refused.value.problems
    assert said[: len(problems)] == [
        f"{name}:{line}:{column}: {what}" for line, column, what in problems[: len(said)]
    ] or (len(problems) > TOLD_MAX)
    return said


# ---- good files


def test_a_whole_file_is_read() -> None:
    said = parsed(
        """\
        # comes from App Engine
        total_storage_limit: 120M
        resume_paused_queues: False

        queue:
        - name: default
          rate: 10/m
        - name: mail
          rate: 0.5/s
          bucket_size: 40
          max_concurrent_requests: 3
          mode: push
          target: v2.task-module
          retry_parameters:
            task_retry_limit: 7
            task_age_limit: 2d
            min_backoff_seconds: 10
            max_backoff_seconds: 200
            max_doublings: 0
        - name: leased
          mode: pull
          retry_parameters:
            task_retry_limit: 3
          acl:
          - user_email: ann@example.org
          - writer_email: bob@example.org
        - {name: stopped, rate: 0, bucket_size: 9}
        """
    )
    assert said.queues == {
        "default": Queue(**{**USUAL, "rate": "10/m"}),
        "mail": Queue(
            rate="0.5/s",
            bucket_size=40,
            max_concurrent=3,
            route="v2.task-module",
            retry=RetryPolicy(
                max_attempts=8, max_age_s=172_800, min_backoff_s=10, max_backoff_s=200, max_doublings=0, jitter=False
            ),
            source="queue.yaml",
        ),
        "leased": Queue(pull=True, retry=RetryPolicy(max_attempts=3, jitter=False), source="queue.yaml"),
        "stopped": Queue(paused=True, max_concurrent=1_000, source="queue.yaml"),
    }
    assert (said.total_storage_limit, said.resume_paused_queues) == (120 * 1024**2, False)
    assert [(warning.line, warning.column) for warning in said.warnings] == [(2, 1), (24, 3)]


@pytest.mark.parametrize(
    "text", ["queue:\n", "queue: []\n", "{}\n", "application: shop\n", "\ufeffqueue:\r\n", "---\nqueue:\n..."]
)
def test_app_engine_has_a_default_queue_that_no_file_need_name(text: str) -> None:
    assert parse(text.encode()).queues == {"default": Queue(**USUAL)}


def test_a_file_is_called_as_it_is_named_and_its_folder_declares_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("queue:\n- name: mail\n  rate: 1/s\n")
    said = read(path)
    assert (said.path, said.queues["mail"].source) == (str(path), "shop.yaml")
    assert read(str(path)) == said


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("5/s", "5/s"), ("'5/s'", "5/s"), ('"10/m"', "10/m"), ("5./s", "5/s"), ("0.5/s", "0.5/s"), ("100/h", "100/h"),
        ("1/d", "1/d"), ("500/s", "500/s"), ("30000/m", "30000/m"), ("5 / s", "5/s"), ("0", None), ("0/s", None),
        ("0.0/d", None), ("", "5/s"),
    ],
)  # fmt: skip
def test_rates(written: str, rate: str | None) -> None:
    queue = entry(f"rate: {written}")
    assert (queue.rate, queue.paused) == (rate, rate is None)


def test_a_queue_without_a_rate_gets_app_engines_and_that_is_said() -> None:
    said = parsed("queue:\n- name: mail\n- name: default\n")
    assert said.queues["mail"] == said.queues["default"] == Queue(**USUAL)
    (warning,) = said.warnings
    assert str(warning) == "2:9: rate: queue mail has none, and gets 5/s. Give it one."


@pytest.mark.parametrize(
    ("written", "size"), [("1", 1), ("500", 500), ("'7'", 7), ("7.0", 7), ("0", 5), ("~", 5), ("1_0", 10)]
)
def test_sizes_of_buckets(written: str, size: int) -> None:
    assert entry("rate: 1/s", f"bucket_size: {written}").bucket_size == size


@pytest.mark.parametrize(("written", "most"), [("1", 1), ("5000", 5_000), ("+4", 4), ("null", 1_000)])
def test_concurrency(written: str, most: int) -> None:
    assert entry("rate: 1/s", f"max_concurrent_requests: {written}").max_concurrent == most


@pytest.mark.parametrize("name", ["a", "A-9", "10", "010", "yes", "null-and-void", "'-'", "x" * 100, "'on'", "1e3"])
def test_names_are_what_stands_there(name: str) -> None:
    assert name.strip("'") in parsed(f"queue:\n- name: {name}\n  rate: 1/s\n").queues


@pytest.mark.parametrize("target", ["worker", "v1.worker", "1", "a-b.c-d", f"{'v' * 36}.{'w' * 63}"])
def test_targets_are_routes(target: str) -> None:
    assert entry("rate: 1/s", f"target: {target}").route == target


def test_what_means_nothing_for_a_pull_queue_is_said_and_passed_over() -> None:
    said = parsed(
        """\
        queue:
        - name: leased
          mode: pull
          bucket_size: 7
          max_concurrent_requests: 3
          target: worker
        """
    )
    assert said.queues["leased"] == Queue(pull=True, source="queue.yaml")
    assert [(one.line, one.column, one.text.partition(":")[0]) for one in said.warnings] == [
        (4, 3, "bucket_size"), (5, 3, "max_concurrent_requests"), (6, 3, "target"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "resume"),
    [
        ("True", True),
        ("true", True),
        ("yes", True),
        ("'True'", True),
        ("False", False),
        ("FALSE", False),
        ("off", False),
        ("", None),
    ],
)
def test_truth_in_every_spelling(written: str, resume: bool | None) -> None:
    assert parse(f"resume_paused_queues: {written}".encode()).resume_paused_queues is resume


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1", 1),
        ("1.5M", 1_572_864),
        ("500M", 524_288_000),
        ("2T", 2_199_023_255_552),
        ("0", 0),
        ("1.5B", 1),
        ("3K", 3_072),
        ("1G", 1024**3),
    ],
)
def test_total_storage_limit_is_read_and_refuses_nothing(written: str, size: int) -> None:
    said = parse(f"total_storage_limit: {written}".encode())
    assert said.total_storage_limit == size
    assert "nothing is refused" in said.warnings[0].text


# ---- retry_parameters, as App Engine's own library has them


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (["task_retry_limit: 0"], {"max_attempts": 1}),
        (["task_retry_limit: 7"], {"max_attempts": 8}),
        (["task_age_limit: 2.5d"], {"max_attempts": None, "max_age_s": 216_000}),
        (["task_age_limit: 90s"], {"max_attempts": None, "max_age_s": 90}),
        (["task_age_limit: 1.9s"], {"max_attempts": None, "max_age_s": 1}),
        (["task_age_limit: 3m"], {"max_attempts": None, "max_age_s": 180}),
        (["task_age_limit: 1e3s"], {"max_attempts": None, "max_age_s": 1_000}),
        (["task_retry_limit: 2", "task_age_limit: 1h"], {"max_attempts": 3, "max_age_s": 3_600}),
        (["min_backoff_seconds: 10", "max_backoff_seconds: 300.5"], {"min_backoff_s": 10, "max_backoff_s": 300.5}),
        (["min_backoff_seconds: 5000"], {"min_backoff_s": 5_000, "max_backoff_s": 5_000}),
        (["max_backoff_seconds: 0.05"], {"min_backoff_s": 0.05, "max_backoff_s": 0.05}),
        (["max_backoff_seconds: 0"], {"min_backoff_s": 0, "max_backoff_s": 0}),
        (["min_backoff_seconds: .5"], {"min_backoff_s": 0.5}),
        (["max_doublings: 0"], {"max_doublings": 0}),
        (["max_doublings: 100"], {"max_doublings": 64}),
    ],
)
def test_retry_parameters(lines: list[str], fields: dict[str, Any]) -> None:
    usual = {"max_attempts": 25, "min_backoff_s": 0.1, "max_backoff_s": 3_600, "max_doublings": 16, "jitter": False}
    assert policy(*lines) == RetryPolicy(**{**usual, **fields})


def test_waits_are_those_of_app_engine() -> None:
    """The series of its documentation, which its library reckons as well."""
    found = policy("min_backoff_seconds: 10", "max_backoff_seconds: 300", "max_doublings: 3")
    assert [found.backoff_s(retry) for retry in range(1, 9)] == [10, 20, 40, 80, 160, 240, 300, 300]


def test_without_a_limit_a_task_is_tried_as_often_as_deferq_tries_and_not_for_ever() -> None:
    assert policy("min_backoff_seconds: 1").max_attempts == 25
    assert entry("rate: 1/s").retry is None
    assert entry("rate: 1/s", "retry_parameters:").retry is None


# ---- bad files


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "1:1", "says nothing"),
        ("# later\n", "1:1", "says nothing"),
        ("---\n", "1:1", "says nothing"),
        ("queue", "1:1", "Expected queue.yaml: keys with values, such as 'queue: ...', and this is 'queue'"),
        ("- name: mail\n", "1:1", "and this is a list"),
        ("queue: 5\n", "1:8", "Expected a list of queues"),
        ("queue:\n  name: mail\n", "2:3", "Expected a list of queues, each with a dash, and this is keys with values"),
        ("queue:\n- mail\n", "2:3", "Expected a queue: keys with values, such as 'name: ...', and this is 'mail'"),
        ("queue:\n-\n", "2:2", "and this is nothing"),
        ("queue:\n- rate: 1/s\n", "2:3", "This queue has no name"),
        ("queue:\n- name:\n  rate: 1/s\n", "2:3", "This queue has no name"),
        ("queue:\n- name: [a]\n", "2:9", "name: expected one value, and this is a list"),
        ("queue:\n- name: mail_out\n", "2:9", "digits or '-', as App Engine does, and this is 'mail_out'"),
        ("queue:\n- name: für-ann\n", "2:9", "ASCII letters"),
        ("queue:\n- name: ''\n", "2:9", "ASCII letters"),
        (f"queue:\n- name: {'x' * 101}\n", "2:9", f"this is '{'x' * 40}...'"),
        ("queue:\n- name: a\n  rate: 1/s\n- rate: 2/s\n  name: a\n", "5:9", "there is a queue 'a' in line 2 already"),
        ("queue:\n- name: a\n  name: b\n", "3:3", "'name' stands in a queue twice, first in line 2"),
        ("queue:\nqueue:\n", "2:1", "'queue' stands in queue.yaml twice, first in line 1"),
        ("queue:\n- name: a\n  rat: 1/s\n", "3:3", "There is no 'rat' in a queue. Did you mean 'rate'?"),
        ("queue:\n- name: a\n  bucket-size: 1\n", "3:3", "Did you mean 'bucket_size'?"),
        ("queue:\n- name: a\n  colour: red\n", "3:3", "There are: name, rate, bucket_size"),
        ("queue:\n- name: a\n  max_doublings: 1\n", "3:3", "It stands under retry_parameters"),
        ("queue:\n- name: a\n  resume_paused_queues: True\n", "3:3", "It stands at the top of the file"),
        ("queue:\n- name: a\n  ? [b]\n  : c\n", "3:5", "A key of a queue is a word, and this is a list"),
        ("queue:\n- name: a\n  <<: {rate: 1/s}\n", "3:3", "There is no '<<' in a queue"),
        ("rate: 5/s\n", "1:1", "There is no 'rate' in queue.yaml. It stands in an entry under queue"),
        ("cron:\n- url: /a\n", "1:1", "It belongs into cron.yaml"),
        ("queue:\nruntime: python311\n", "2:1", "It belongs into app.yaml"),
        ("queues:\n", "1:1", "Did you mean 'queue'?"),
        ("queue:\n- name: a\n  rate: 5\n", "3:9", "and this is '5'. Did you mean '5/s'?"),
        ("queue:\n- name: a\n  rate: 5/sec\n", "3:9", "rate: expected a number of tasks per s, m, h or d"),
        ("queue:\n- name: a\n  rate: fast\n", "3:9", "and this is 'fast'"),
        ("queue:\n- name: a\n  rate: -1/s\n", "3:9", "and this is '-1/s'"),
        ("queue:\n- name: a\n  rate: .5/s\n", "3:9", "and this is '.5/s'"),
        ("queue:\n- name: a\n  rate: 501/s\n", "3:9", "500 a second at most, and this is '501/s'"),
        ("queue:\n- name: a\n  rate: 0.001/d\n", "3:9", "less than one in a year"),
        ("queue:\n- name: a\n  rate: 1.0000000000001/s\n", "3:9", "too many digits"),
        ("queue:\n- name: a\n  rate: {}\n", "3:9", "rate: expected one value, and this is keys with values"),
        ("queue:\n- name: a\n  rate: 1/s\n  bucket_size: 501\n", "4:16", "from 0 to 500, and this is '501'"),
        ("queue:\n- name: a\n  rate: 1/s\n  bucket_size: 1.5\n", "4:16", "and this is '1.5'"),
        ("queue:\n- name: a\n  rate: 1/s\n  bucket_size: 010\n", "4:16", "and this is '010'"),
        ("queue:\n- name: a\n  rate: 1/s\n  bucket_size: yes\n", "4:16", "and this is 'yes'"),
        ("queue:\n- name: a\n  rate: 1/s\n  max_concurrent_requests: 0\n", "4:28", "from 1 to 5,000, and this is '0'"),
        ("queue:\n- name: a\n  rate: 1/s\n  max_concurrent_requests: 5001\n", "4:28", "from 1 to 5,000"),
        ("queue:\n- name: a\n  mode: PULL\n", "3:9", "expected push or pull, and this is 'PULL'"),
        ("queue:\n- name: a\n  rate: 1/s\n  mode: pull\n", "3:3", "a pull queue has none"),
        ("queue:\n- name: a\n  rate: 0\n  mode: pull\n", "3:3", "a pull queue has none"),
        ("queue:\n- name: a\n  rate: 1/s\n  target: V1\n", "4:11", "expected a service, or a version and a service"),
        ("queue:\n- name: a\n  rate: 1/s\n  target: -a\n", "4:11", "and this is '-a'"),
        ("queue:\n- name: a\n  rate: 1/s\n  target: a.b.c\n", "4:11", "and this is 'a.b.c'"),
        (f"queue:\n- name: a\n  rate: 1/s\n  target: {'v' * 60}.{'w' * 60}\n", "4:11", "up to 100 characters"),
        (RETRY + "3\n", "4:21", "Expected retry_parameters"),
        (RETRY + "{task_retry_limt: 3}\n", "4:22", "Did you mean 'task_retry_limit'?"),
        (RETRY + "{task_retry_limit: -1}\n", "4:40", "from 0 to 999,999"),
        (RETRY + "{task_age_limit: 90}\n", "4:38", "with a unit (s, m, h or d)"),
        (RETRY + "{task_age_limit: 0.5s}\n", "4:38", "a second or more"),
        (RETRY + "{min_backoff_seconds: -1}\n", "4:43", "not negative"),
        (RETRY + "{max_backoff_seconds: .inf}\n", "4:43", "'.inf'"),
        (RETRY + "{min_backoff_seconds: 9, max_backoff_seconds: 1}\n", "4:43", "(9) is more than max_backoff_seconds"),
        (RETRY + "{max_doublings: x}\n", "4:37", "from 0 on"),
        ("queue:\n- name: a\n  rate: 1/s\n  acl: ann@example.org\n", "4:8", "Expected a list of user_email"),
        ("queue:\n- name: a\n  rate: 1/s\n  acl:\n  - email: x\n", "5:5", "There is no 'email' in acl. Did you mean"),
        ("total_storage_limit: 1X\n", "1:22", "with B, K, M, G or T"),
        ("resume_paused_queues: 1\n", "1:23", "expected True or False, and this is '1'"),
        # ---- what is no YAML, or more of it than a queue.yaml needs
        ("queue:\n\t- name: a\n", "2:1", "A tab stands here"),
        ("queue:\n- name: a\n\trate: 1/s\n", "3:1", "A tab stands here"),
        ("queue: [\n", "2:1", "This is no YAML"),
        ("queue:\n- name: 'a\n", "3:1", "This is no YAML: found unexpected end of stream"),
        ("queue:\n- name: a\n rate: 1/s\n", "3:2", "This is no YAML"),
        ("queue: %x\n", "1:8", "This is no YAML: found character '%'"),
        ("queue:\n---\nqueue:\n", "2:1", "A second document begins here"),
        ("queue: &all\n- name: a\n", "1:8", "Anchors (&) and aliases (*) are not taken"),
        ("queue: *all\n", "1:8", "Anchors (&) and aliases (*) are not taken"),
        ("queue: !!python/object/apply:os.system [ls]\n", "1:8", "This has a tag"),
        ("queue:\n- !queue\n  name: a\n", "2:3", "This has a tag"),
        ("queue: " + "[" * 5_000, "1:17", "nested more than 10 deep"),
        ("? " * 3_000, "1:21", "nested more than 10 deep"),
        ('queue: "\\U7fffffff"\n', "1:11", "cannot be read as YAML"),
        ("%YAML 1." + "1" * 5_000 + "\n---\nqueue:\n", "1:9", "cannot be read as YAML"),
        ("queue:\n  \x00\n", "2:3", "A character that YAML does not allow"),
        ("queue:\n- name: \x1b[31m\n", "2:9", "A character that YAML does not allow"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_column(text: str, place: str, words: str) -> None:
    said = wrong(text)[0]
    assert said.startswith(f"queue.yaml:{place}: ")
    assert words in said


@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        (b"\xff\xfeq\x00", "1:1", "This is no UTF-8"),
        ("queue:\n- name: für".encode("latin-1"), "2:10", "This is no UTF-8"),
        ("\ufeffä: ö".encode() + b"\xe4", "1:5", "This is no UTF-8"),
        (b"#" * (BYTES_MAX + 1), "1:1", "larger than 131,072 bytes"),
    ],
)
def test_bytes_that_are_no_text_are_told_too(data: bytes, place: str, words: str) -> None:
    (said,) = wrong(data)
    assert said.startswith(f"queue.yaml:{place}: ")
    assert words in said


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    said = wrong(
        dedent(
            """\
            queue:
            - name: mail
              rate: 600/s
              bukcet_size: 40
              retry_parameters:
                max_doublings: -1
            - rate: 5
            - name: mail
            rate: 5/s
            """
        ),
        "conf/queue.yaml",
    )
    assert [line.partition(" ")[0] for line in said] == [
        "conf/queue.yaml:3:9:",
        "conf/queue.yaml:4:3:",
        "conf/queue.yaml:6:20:",
        "conf/queue.yaml:7:3:",
        "conf/queue.yaml:7:9:",
        "conf/queue.yaml:8:9:",
        "conf/queue.yaml:9:1:",
    ]


def test_of_very_many_mistakes_the_first_are_told_and_the_others_counted() -> None:
    said = wrong("queue:\n" + "- x\n" * 50)
    assert said[TOLD_MAX - 1].startswith(f"queue.yaml:{TOLD_MAX + 1}:3: ")
    assert said[TOLD_MAX:] == ["... and 30 more."]


def test_what_stands_in_the_file_commands_no_terminal() -> None:
    (said,) = wrong('queue:\n- name: "\\e[31m\\ud800"\n')
    assert said.isascii()
    assert said.isprintable()


def test_app_engine_takes_a_hundred_queues_and_its_default_one() -> None:
    names = [f"- name: q{number}\n  rate: 1/s\n" for number in range(QUEUES_MAX)]
    assert len(parse("".join(["queue:\n- name: default\n", *names]).encode()).queues) == 101
    (said,) = wrong("".join(["queue:\n", *names, "- name: more\n  rate: 1/s\n- name: still-more\n  rate: 1/s\n"]))
    assert said.startswith("queue.yaml:202:9: App Engine takes 100 queues")


@pytest.mark.parametrize("name", ["nowhere.yaml", ".", "\0", "/dev/zero", "x" * 5_000])
def test_what_cannot_be_read_is_a_mistake_too(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueueYamlError, match=r"cannot be read: .*\. Give the path of a queue\.yaml") as refused:
        read(name)
    assert refused.value.problems == ()


def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "queue.yaml")
    with pytest.raises(QueueYamlError, match="no plain file"):
        read(tmp_path / "queue.yaml")


def test_its_errors_are_errors_of_the_configuration() -> None:
    assert issubclass(QueueYamlError, ConfigError)
    assert issubclass(QueueYamlError, ValueError)


@pytest.mark.parametrize(("limit", "leases"), [("task_retry_limit: 2", 2), ("task_retry_limit: 0", 1), ("{}", None)])
def test_the_limit_of_a_pull_queue_is_one_of_leases(limit: str, leases: int | None) -> None:
    said = parse(f"queue:\n- name: leased\n  mode: pull\n  retry_parameters:\n    {limit}\n".encode(), "queue.yaml")
    retry = said.queues["leased"].retry
    assert retry is not None
    assert retry.max_attempts == leases
