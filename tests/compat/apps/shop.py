"""An application with blueprints, written for App Engine: orders are confirmed by mail, and shipped, later."""

import logging

from flask import Blueprint, Flask, request

from deferq.compat.appengine import deferred, taskqueue, wrap_wsgi_app

shop = Blueprint("shop", __name__, url_prefix="/shop")
admin = Blueprint("admin", __name__, url_prefix="/admin")
app = Flask(__name__)
outbox, shipped, tried = [], [], []
weather = {"mail server": "up", "carrier": "up"}
PATIENT = taskqueue.TaskRetryOptions(task_retry_limit=2, min_backoff_seconds=1, max_doublings=1)


class MailServerDown(Exception):
    pass


def send_mail(to, subject, body=""):
    tried.append(to)
    if weather["mail server"] == "down":
        raise MailServerDown(to)
    if "@" not in to:
        raise deferred.PermanentTaskFailure(f"{to} is no address")
    outbox.append((to, subject, body))


class Parcel:
    """Is stored with its task."""

    def __init__(self, order):
        self.order = order

    def ship(self, express=False):
        if weather["carrier"] == "on strike":
            raise deferred.SingularTaskFailure("on strike")
        shipped.append((self.order, express))

    @classmethod
    def recall(cls, order):
        shipped.append((cls.__name__, order))

    @staticmethod
    def count(number):
        shipped.append(number)


@shop.route("/orders/<int:order>", methods=["POST"])
def place(order):
    name = f"confirm-{order}"
    try:
        task = deferred.defer(
            send_mail,
            request.form["to"],
            f"order {order}",
            body="thanks",
            _name=name,
            _queue="mail",
            _retry_options=PATIENT,
        )
    except (taskqueue.TaskAlreadyExistsError, taskqueue.TombstonedTaskError):
        return "twice", 409
    deferred.defer(Parcel(order).ship, express=True, _countdown=3600, _queue="parcels")
    return task.name, 202


@admin.route("/recall/<int:order>", methods=["POST"])
def recall(order):
    deferred.defer(Parcel.recall, order)
    deferred.defer(Parcel.count, order, _headers={"X-Reason": "recall"}, _target="warehouse")
    return "", 204


app.register_blueprint(shop)
app.register_blueprint(admin)
app.wsgi_app = wrap_wsgi_app(app.wsgi_app, use_deferred=True)
deferred.set_log_level(logging.DEBUG)
