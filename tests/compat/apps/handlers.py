"""An application with handlers in classes and a router of regular expressions, as webapp has had it on App Engine."""

import re
from urllib.parse import parse_qs

from deferq.compat.appengine import deferred, wrap_wsgi_app

log = []


class Handler:
    def __init__(self, environ):
        self.environ = environ

    def __call__(self, start_response, *groups):
        method = getattr(self, self.environ["REQUEST_METHOD"].lower(), None)
        status, text = method(*groups) if method else ("405 Method Not Allowed", "")
        start_response(status, [("Content-Type", "text/plain")])
        return [text.encode()]


class Greet(Handler):
    def get(self, who):
        times = int(parse_qs(self.environ["QUERY_STRING"]).get("times", ["1"])[0])
        for _ in range(times):
            deferred.defer(greet, who, _url="/_tasks/greet")
        return "202 Accepted", "later"


class DeferredWithLog(deferred.Handler):
    """As Google's documentation suggests: something is done around the task, and with what is answered."""

    def run_from_request(self, environ):
        log.append("before")
        try:
            return super().run_from_request(environ)
        finally:
            log.append("after")

    def post(self, environ):
        text, status, headers = super().post(environ)
        log.append((text, status.value, headers))
        return text, status, headers


def greet(who):
    if who == "nobody":
        raise deferred.PermanentTaskFailure("nobody is there")
    if who == "bob" and "bob is in" not in log:
        log.append("bob is in")
        raise deferred.SingularTaskFailure
    log.append(f"hello {who}")


ROUTES = [(re.compile(r"/greet/(\w+)$"), Greet)]


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/_tasks/greet":
        return DeferredWithLog()(environ, start_response)
    for pattern, handler in ROUTES:
        if found := pattern.match(path):
            return handler(environ)(start_response, *found.groups())
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"nothing here"]


app = wrap_wsgi_app(application, use_deferred=True)
