"""What a type checker makes of the API: `test_typing.py` compares what it says with the `wrong:` remarks."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import assert_type

from deferq import Call, TaskHandle, call, call_deferred, defer, defer_async, defer_many, deferrable, register_codec


def send(to: str, times: int = 1, *, urgent: bool = False) -> str:
    return to * times


async def fetch(url: str) -> int:
    return len(url)


@deferrable(queue="mail")
def welcome(user_id: int) -> str:
    return str(user_id)


@call_deferred
def reindex(doc_id: int) -> bytes:
    return bytes(doc_id)


class Report:
    def build(self, year: int) -> None: ...

    @call_deferred(queue="mail")
    def mail(self, year: int) -> str:
        return str(year)

    @call_deferred
    @staticmethod
    def forget(year: int) -> None: ...


async def right(report: Report) -> None:
    assert_type(defer(send, "ann", 2, urgent=True), TaskHandle)
    assert_type(call(send, "ann"), Call[str])
    assert_type(welcome(1), str)
    assert_type(reindex(1), TaskHandle)
    assert_type(reindex.now(1), bytes)
    assert_type(report.mail(2030), TaskHandle)
    assert_type(report.mail.now(2030), str)
    assert_type(Report.forget(2030), TaskHandle)
    assert_type(await defer_async(fetch, "x"), TaskHandle)
    defer(welcome, 1), defer(reindex, 1), defer(report.build, 2030), defer(Report)
    call(send, "ann").defer(countdown=timedelta(1), eta=None, queue=None, name="once", if_exists="return")
    await report.mail.call(2030).defer_async(expires=60, tags=["a"])
    defer_many([call(send, "ann"), call(fetch, "x")])


@register_codec
class Color(Enum):
    RED = 1


def registered() -> None:
    assert_type(Color["RED"], Color)
    assert_type(register_codec(Report, "report", lambda report: report.build(1), lambda _: Report()), type[Report])
    register_codec(Report, "report", repr, repr)  # wrong: arg-type


def wrong(report: Report) -> None:
    defer(send)  # wrong: call-arg
    defer(send, 1)  # wrong: arg-type
    defer(send, "ann", urgnt=True)  # wrong: call-arg
    call(fetch, 1)  # wrong: arg-type
    call(send, "ann").defer(contdown=3)  # wrong: call-arg
    call(send, "ann").defer(countdown="3")  # wrong: arg-type
    call(send, "ann").defer(name="once", if_exists="ignore")  # wrong: arg-type
    welcome("1")  # wrong: arg-type
    reindex("1")  # wrong: arg-type
    reindex.now("1")  # wrong: arg-type
    report.mail("2030")  # wrong: arg-type
    report.mail.call("2030")  # wrong: arg-type
    Report.forget("2030")  # wrong: arg-type
    deferrable(quue="mail")  # wrong: call-overload
    defer_many([send])  # wrong: list-item
