"""An App Engine application without a framework, with its counter in the datastore. It defers what it adds."""

import os

from google.appengine.api import wrap_wsgi_app
from google.appengine.ext import deferred, ndb

MINUTE_S = float(os.environ.get("MINUTE_S", "60"))
COUNTER = os.environ.get("GAE_VERSION", "none")
PLAIN = ("Content-Type", "text/plain")


class Counter(ndb.Model):
    count = ndb.IntegerProperty(indexed=False)


def add_later(key, amount):
    counter = Counter.get_or_insert(key, count=0)
    counter.count += amount
    counter.put()


def increment(environ, start_response):
    deferred.defer(add_later, COUNTER, 10)
    deferred.defer(add_later, COUNTER, 10, _countdown=MINUTE_S)
    deferred.defer(add_later, COUNTER, 10, _url="/custom/path", _countdown=2 * MINUTE_S)
    start_response("200 OK", [PLAIN])
    return [b"Deferred counter increment."]


def get(environ, start_response):
    counter = Counter.get_or_insert(COUNTER, count=0)
    start_response("200 OK", [PLAIN])
    return [str(counter.count).encode()]


class CustomPath(deferred.Handler):
    """Deferred tasks that come to a path of their own."""

    def __call__(self, environ, start_response):
        print("on the custom path", flush=True)
        return super().__call__(environ, start_response)


ROUTES = {"counter/increment": increment, "counter/get": get, "custom/path": CustomPath()}


class WSGIApplication:
    def __call__(self, environ, start_response):
        path = environ.get("PATH_INFO", "").strip("/")
        if path not in ROUTES:
            start_response("404 Not Found", [PLAIN])
            return [b"Not found"]
        return ROUTES[path](environ, start_response)


app = wrap_wsgi_app(WSGIApplication(), use_deferred=True)
