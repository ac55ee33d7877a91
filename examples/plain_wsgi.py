"""A web application without a framework: it answers at once, and a worker beside it does the work.

python examples/plain_wsgi.py
curl -X POST http://127.0.0.1:8000/signup -d ada@example.org
"""

from collections.abc import Iterable
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from deferq import defer, wrap_wsgi


def send_welcome(address: str) -> None:
    print("welcome,", address)


def signup(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    handle = defer(send_welcome, body.decode())
    start_response("202 Accepted", [("Content-Type", "text/plain")])
    return [f"stored as task {handle.id}\n".encode()]


application = wrap_wsgi(signup)

if __name__ == "__main__":
    with make_server("127.0.0.1", 8000, application) as server:
        server.serve_forever()
