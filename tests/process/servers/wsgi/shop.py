"""A WSGI application without a framework."""

import os

import shop_tasks

import deferq
from deferq import wrap_wsgi


def respond(environ, start_response):
    body = shop_tasks.answer(environ["PATH_INFO"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


app = wrap_wsgi(respond)


def make_app():
    """For servers that call a function in the process that is to serve."""
    deferq.start()
    return app


shop_tasks.imported()

if "DEFER_AT_IMPORT" in os.environ:  # with --preload this opens the store in a process that is forked afterwards
    deferq.defer(shop_tasks.note, 7)
