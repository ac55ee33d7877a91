"""An App Engine application on Flask, with its counter in the datastore. It defers what it adds."""

import os

from flask import Flask, request
from google.appengine.api import wrap_wsgi_app
from google.appengine.ext import deferred, ndb

MINUTE_S = float(os.environ.get("MINUTE_S", "60"))
COUNTER = os.environ.get("GAE_VERSION", "none")

app = Flask(__name__)
app.wsgi_app = wrap_wsgi_app(app.wsgi_app, use_deferred=True)


class Counter(ndb.Model):
    count = ndb.IntegerProperty(indexed=False)


def add_later(key, amount):
    counter = Counter.get_or_insert(key, count=0)
    counter.count += amount
    counter.put()


@app.route("/counter/increment")
def increment():
    deferred.defer(add_later, COUNTER, 10)
    deferred.defer(add_later, COUNTER, 10, _countdown=MINUTE_S)
    deferred.defer(add_later, COUNTER, 10, _url="/custom/path", _countdown=2 * MINUTE_S)
    return "Deferred counter increment."


@app.route("/counter/get")
def get():
    counter = Counter.get_or_insert(COUNTER, count=0)
    return str(counter.count)


@app.route("/custom/path", methods=["POST"])
def custom_path():
    print("on the custom path", flush=True)
    return deferred.Handler().post(request.environ)
