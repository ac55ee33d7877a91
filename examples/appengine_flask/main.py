"""A counter that adds later, on Flask: Google's sample for `deferred`, off App Engine.

Two things differ from an App Engine application. The import, and where the counter is: in an SQLite file, beside the
tasks. That is what `settle_within` makes use of: what a task does and that it has done it are one commit.
"""

from __future__ import annotations

import os

from flask import Flask, request
from flask.typing import ResponseReturnValue
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

app = Flask(__name__)
app.wsgi_app = wrap_wsgi_app(app.wsgi_app, use_deferred=True)
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


@app.get("/counter/increment")
def increment() -> str:
    deferred.defer(add_later, COUNTER, 10)
    deferred.defer(add_later, COUNTER, 10, _countdown=MINUTE_S)
    deferred.defer(add_later, COUNTER, 10, _countdown=2 * MINUTE_S, _url="/custom/path")
    return "Three additions of 10 will be made.\n"


@app.get("/counter/get")
def get() -> str:
    with Session(engine) as session:
        counter = session.get(Counter, COUNTER)
        return str(counter.count if counter else 0)


@app.post("/custom/path")
def custom_path() -> ResponseReturnValue:
    """A task with an `_url` of its own comes here. Anything may be done before and after it."""
    app.logger.info("task %s", request.headers.get("X-AppEngine-TaskName"))
    return deferred.Handler().post(request.environ)
