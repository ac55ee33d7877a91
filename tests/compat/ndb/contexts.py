"""One thread runs two tasks and serves two requests, and between them somebody else writes: prints what was read."""

from __future__ import annotations

import os
import threading
from wsgiref.util import setup_testing_defaults

os.environ["APPLICATION_ID"] = "s~contexts"

from google.appengine.ext import ndb, testbed

from deferq.compat.appengine import deferred, wrap_wsgi_app
from deferq.testing import recording

bed = testbed.Testbed()
bed.activate()
bed.init_datastore_v3_stub()
bed.init_memcache_stub()
read = []


class Counter(ndb.Model):
    count = ndb.IntegerProperty(indexed=False)


def write(count):
    Counter(id="one", count=count).put()


def elsewhere(count):
    thread = threading.Thread(target=write, args=(count,))
    thread.start()
    thread.join()


def look():
    read.append(Counter.get_by_id("one").count)


def page(environ, start_response):
    look()
    start_response("200 OK", [])
    return []


app = wrap_wsgi_app(page)


def visit():
    environ = {}
    setup_testing_defaults(environ)
    app(environ, lambda *_: None)


if __name__ == "__main__":
    with recording() as tasks:
        for count in (1, 2):
            elsewhere(count)
            deferred.defer(look)
            tasks.drain()
        for count in (3, 4):
            elsewhere(count)
            visit()
    print(read)
