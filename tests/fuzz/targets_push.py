"""Any text as an url or a base, any task to be written, any answer: nothing leads elsewhere."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from contextlib import suppress
from urllib.parse import urlsplit

from deferq.codec.wire import HELD, IN_BODY, OUTCOME, SETTLED, document_of, unpack_task
from deferq.errors import ConfigError, InvalidUrl, PayloadCorrupt, TargetNotAllowed
from deferq.http.answers import RETRY_AFTER_S_MAX, Held, outcome_of_answer
from deferq.http.push.bases import parse_base
from deferq.http.push.exchange import Answer, Request
from deferq.http.push.letters import Letters
from deferq.model.outcome import Interrupted, Outcome, Retried
from deferq.model.task import Leased
from deferq.model.urls import check_url
from deferq.runtime.settling import settle
from tests.fuzz import fixtures
from tests.fuzz.fixtures import KEYRING, NOW, NOW_S, task_of
from tests.fuzz.targets_wire import OUTCOMES

_BASE = parse_base("http://127.0.0.1:8000/app")
_LETTERS = Letters(_BASE, KEYRING, verify=lambda task: None, deadline_s=600.0, now_s=lambda: float(NOW_S))
#: What may stand in the first line of a request, and in the value of a header.
_TARGET, _VALUE = re.compile(r"/[!-~]*"), re.compile(r"[ -~]*")


# ---- where it goes


def seeds_url() -> list[bytes]:
    """Paths, bases, and what looks like one."""
    return [
        *(b"/tasks/mail?kind=daily&a=%20b", b"/", b"//evil.example/x", b"/a/../b", b"/a%2fb", b"/%zz", b"/_deferq/run"),
        *(
            b"https://shop.example/app",
            b"http://127.0.0.1:8000",
            b"http://[::1]:8000/",
            b"http://10.0.0.1",
            b"http://a@b",
        ),
        *(
            b"http://0x7f.1",
            b"http://169.254.169.254/latest",
            b"http://[::ffff:127.0.0.1]/",
            b"javascript:x",
            b"http:a",
        ),
    ]


def fuzz_url(data: bytes) -> None:
    """A path stays on its host, and a base means the same to another parser."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(InvalidUrl, TargetNotAllowed):
        path = check_url(text)
        assert urlsplit(path)[:3] == ("", "", path.partition("?")[0])
        assert urlsplit(f"http://here.example:81{path}")[:3] == ("http", "here.example:81", path.partition("?")[0])
        assert _TARGET.fullmatch(path)
    with suppress(ConfigError):
        base = parse_base(text)
        parts = urlsplit(text)
        assert (parts.scheme, parts.hostname) == (base.scheme, base.host)
        assert (parts.port or {"http": 80, "https": 443}[base.scheme]) == base.port
        assert parse_base(str(base)) == base


# ---- what is written


def seeds_letter() -> list[bytes]:
    """Documents of tasks, as in `targets_wire`."""
    options = [
        '{"headers":[["X-A","1"],["Content-Type","text/plain"]],"timeout_s":9}',
        '{"headers":[["X","a\\r\\nB: c"]]}',
    ]
    tasks = [task_of(), task_of(url="/tasks/note?a=1", name="once", attempts=2), task_of(url="//evil.example/")]
    tasks += [task_of(url="/a", options=text) for text in options]
    return [fixtures.document_of(task) for task in tasks]


def fuzz_letter(data: bytes) -> None:
    """Whatever a store holds, it is refused, or a request goes to the base and to nowhere else."""
    try:
        task = unpack_task(urlsafe_b64encode(data).decode(), b"DQ")
    except PayloadCorrupt:
        return
    written = _LETTERS.write(task, 12.5)
    if not isinstance(written, Request):
        _settle(task, written)
        return
    assert written.path.startswith("/app/")
    assert _TARGET.fullmatch(written.path)
    assert all(_VALUE.fullmatch(text) for header in written.headers for text in header)
    assert not {name.lower() for name, _ in written.headers} & {"host", "content-length", "transfer-encoding"}
    assert written.let_go_at < 1_000
    _LETTERS.renew(written, 13.5)


# ---- what is answered


def seeds_answer() -> list[bytes]:
    """The status, headers and the body. After a star stands the document that the header holds."""
    documents = [json.dumps(document_of(outcome)).encode() for outcome in OUTCOMES]
    line = OUTCOME.encode()
    statuses = (200, 204, 302, 403, 404, 408, 409, 413, 429, 500, 502, 503)
    return [
        *(b"200\n%b: *%b\n\n" % (line, document) for document in documents),
        *(b"500\n%b: %b\n\n%b" % (line, IN_BODY.encode(), document) for document in documents),
        *(b"%d\nContent-Type: text/plain\n\nno, not now" % status for status in statuses),
        b"200\n%b: %b\n\n" % (line, SETTLED.encode()),
        b"409\n%b: 1\n\n" % HELD.encode(),
        b"503\nRetry-After: 120\n\n",
        b"429\nRetry-After: Fri, 15 Jan 2027 08:00:10 GMT\n\n",
        b"301\nLocation: https://elsewhere.example/a\n\n",
    ]


def fuzz_answer(data: bytes) -> None:
    """Whatever an application answers, the task can be settled, and waits no longer than it may."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    pairs = [(name, value.removeprefix(" ")) for name, _, value in (line.partition(":") for line in lines)]
    headers = [(name, _encoded(value)) for name, value in pairs]
    status = int(first) if first.isascii() and first.isdigit() and len(first) == 3 else 200
    for task, path in _SENT:
        outcome = outcome_of_answer(status, headers, own_url=task.url is not None, body=body, path=path, now_s=NOW_S)
        request = Request(task, path, [], let_go_at=99.0, sent_at=12.5)
        reading = _LETTERS.read(request, Answer(status, headers, body))
        assert reading.trouble.isprintable()
        assert reading.after_s is None or 0 <= reading.after_s <= RETRY_AFTER_S_MAX
        for settled in (outcome, reading.outcome):
            if settled is not None and not isinstance(settled, Held):
                _settle(task, settled)


_SENT = [(task_of(), "/app/_deferq/run"), (task_of(url="/tasks/a"), "/app/tasks/a")]


def _encoded(value: str) -> str:
    return urlsafe_b64encode(value[1:].encode("latin-1")).decode() if value[:2] == "*{" else value


def _settle(task: Leased, outcome: Outcome) -> None:
    if isinstance(outcome, Retried | Interrupted) and outcome.after_s is not None:
        assert outcome.after_s == outcome.after_s, "no number"
    assert abs(settle(task, outcome, 17, NOW, 0.5).transition.eta) < 2**63
