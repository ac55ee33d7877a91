"""A Flask application under the reloader of its development server."""

import shop_tasks
from flask import Flask
from werkzeug.serving import is_running_from_reloader

import deferq
from deferq import wrap_wsgi

app = Flask(__name__)
app.wsgi_app = wrap_wsgi(app.wsgi_app)


@app.get("/<path:path>")
def respond(path):
    return shop_tasks.answer(path)


shop_tasks.imported()

if is_running_from_reloader():
    deferq.start()
