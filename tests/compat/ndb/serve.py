"""Serves an application that keeps its data in `ndb`, on the stubs of Google's SDK: `serve.py google|ours`.

In a folder with a `main.py`. One process holds the application, its datastore (the stub's is in memory) and whoever
delivers the tasks: with `google` the loop below, from the stub of the task queue; with `ours` the embedded worker.
Prints the port.
"""

from __future__ import annotations

import base64
import os
import sys
import threading
import time
from http.client import HTTPConnection
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

os.environ["APPLICATION_ID"] = "s~counters"
sys.path.insert(0, os.getcwd())

from google.appengine.ext import testbed


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def main(whose: str) -> None:
    bed = testbed.Testbed()
    bed.activate()
    bed.init_datastore_v3_stub()
    bed.init_memcache_stub()
    if whose == "google":
        bed.init_taskqueue_stub()
    from main import app

    with make_server("127.0.0.1", 0, app, server_class=Server) as server:
        print(f"port {server.server_port}", flush=True)
        if whose == "google":
            stub = bed.get_stub(testbed.TASKQUEUE_SERVICE_NAME)
            threading.Thread(target=deliver, args=(stub, server.server_port), daemon=True).start()
        server.serve_forever()


def deliver(stub: Any, port: int) -> None:
    """What App Engine does with its tasks, as far as these applications need it."""
    while True:
        for task in stub.GetTasks("default"):
            if task["eta_usec"] <= time.time() * 1_000_000:
                post(task, port)
                stub.DeleteTask("default", task["name"])
        time.sleep(0.05)


def post(task: dict[str, Any], port: int) -> None:
    headers = {name: value for name, value in task["headers"] if name != "Content-Length"}  # the stub's is of base64
    headers |= {
        "X-AppEngine-TaskName": task["name"],
        "X-AppEngine-QueueName": "default",
        "X-AppEngine-User-IP": "0.1.0.2",
    }
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", task["url"], base64.b64decode(task["body"]), headers)
    print("delivered", connection.getresponse().status, flush=True)
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
