"""An application with task handlers of its own, written for App Engine: pages are fetched one after the other."""

import contextlib

from flask import Flask, request

from deferq.compat.appengine import taskqueue, wrap_wsgi_app

LINKS = {"/": ["/a", "/b"], "/a": ["/b"], "/b": [], "/gone": []}
app = Flask(__name__)
fetched, seen_headers, failures = [], [], {"/b": 1}


@app.route("/crawl", methods=["POST"])
def crawl():
    taskqueue.add(url="/tasks/fetch", params={"page": request.form["page"], "depth": 0}, queue_name="crawl")
    return "", 204


@app.route("/tasks/fetch", methods=["POST"])
def fetch():
    if "X-AppEngine-QueueName" not in request.headers:
        return "only for the task queue", 403
    page, depth = request.form["page"], int(request.form["depth"])
    seen_headers.append({name: value for name, value in request.headers if "Appengine" in name})
    if failures.get(page, 0) > int(request.headers["X-AppEngine-TaskRetryCount"]):
        return "try again", 503
    fetched.append((page, depth))
    tasks = [
        taskqueue.Task(
            url="/tasks/fetch", params={"page": link, "depth": depth + 1}, name=f"fetch{link.replace('/', '-')}"
        )
        for link in LINKS[page]
    ]
    with contextlib.suppress(taskqueue.TaskAlreadyExistsError, taskqueue.TombstonedTaskError):
        taskqueue.Queue("crawl").add(tasks)
    return "", 200


@app.route("/status")
def status():
    found = taskqueue.Queue("crawl").fetch_statistics()
    return {"tasks": found.tasks, "purged": None}


app.wsgi_app = wrap_wsgi_app(app.wsgi_app)
