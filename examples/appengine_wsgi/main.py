"""A counter that adds later, without a framework: Google's sample for `deferred`, off App Engine.

    python main.py

Two things differ from an App Engine application. The import, and where the counter is: in an SQLite file, beside the
tasks. That is what `settle_within` makes use of: what a task does and that it has done it are one commit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from sqlalchemy import create_engine
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import CreateTable

from deferq import current_task
from deferq.compat.appengine import deferred, wrap_wsgi_app

#: deferq reads the same name, so that counters and tasks are in one file.
DATABASE = os.environ.get("DEFERQ_URL", "sqlite:///counter.db")
#: Whoever does not want to wait for two minutes says so.
MINUTE_S = float(os.environ.get("MINUTE_S", "60"))
#: Without it an addition is made once or more: a worker may die after the commit and before it has reported.
EXACTLY_ONCE = os.environ.get("EXACTLY_ONCE", "yes") == "yes"
COUNTER = "visits"

View = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]
PLAIN = ("Content-Type", "text/plain")
engine = create_engine(DATABASE, connect_args={"timeout": 30})


class Base(DeclarativeBase):
    pass


class Counter(Base):
    __tablename__ = "counter"
    name: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(default=0)


with engine.begin() as connection:  # not `create_all`, which looks first and then creates: several processes load this
    connection.execute(CreateTable(Base.metadata.tables["counter"], if_not_exists=True))


def add_later(name: str, amount: int) -> None:
    """The task. One statement reads and writes, so that no two of them see the same count."""
    first = insert(Counter).values(name=name, count=amount)
    again = first.on_conflict_do_update(index_elements=["name"], set_={"count": Counter.count + amount})
    with Session(engine) as session, session.begin():
        session.execute(again)
        if EXACTLY_ONCE:
            current_task().settle_within(session)


def increment(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    deferred.defer(add_later, COUNTER, 10)
    deferred.defer(add_later, COUNTER, 10, _countdown=MINUTE_S)
    deferred.defer(add_later, COUNTER, 10, _countdown=2 * MINUTE_S, _url="/custom/path")
    start_response("200 OK", [PLAIN])
    return [b"Three additions of 10 will be made.\n"]


def get(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    with Session(engine) as session:
        counter = session.get(Counter, COUNTER)
        count = counter.count if counter else 0
    start_response("200 OK", [PLAIN])
    return [str(count).encode()]


class CustomHandler(deferred.Handler):
    """A task with an `_url` of its own comes here. Anything may be done before and after it."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        print("task", environ.get("HTTP_X_APPENGINE_TASKNAME"), flush=True)
        return super().__call__(environ, start_response)


def not_found(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("404 Not Found", [PLAIN])
    return [b"There is no such page.\n"]


ROUTES: dict[str, View] = {
    "/counter/increment": increment,
    "/counter/get": get,
    "/custom/path": CustomHandler(),
}


def pages(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return ROUTES.get(environ.get("PATH_INFO", ""), not_found)(environ, start_response)


app = wrap_wsgi_app(pages, use_deferred=True)

if __name__ == "__main__":
    with make_server("127.0.0.1", 8000, app) as server:
        server.serve_forever()
