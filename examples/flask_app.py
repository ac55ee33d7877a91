"""A Flask application with a worker in its own process.

cd examples
pip install flask
flask --app flask_app run
curl -X POST http://127.0.0.1:5000/signup -d address=ada@example.org
"""

from flask import Flask, request

from deferq import PermanentTaskFailure, RetryPolicy, defer, deferrable, wrap_wsgi

app = Flask(__name__)
app.wsgi_app = wrap_wsgi(app.wsgi_app)


@deferrable(queue="mail", retry=RetryPolicy(max_attempts=5))
def send_welcome(address: str) -> None:
    if "@" not in address:
        raise PermanentTaskFailure("this is no address, and never will be one")
    print("welcome,", address)


@app.post("/signup")
def signup() -> tuple[dict[str, str], int]:
    handle = defer(send_welcome, request.form["address"])
    return {"task": str(handle.id)}, 202
