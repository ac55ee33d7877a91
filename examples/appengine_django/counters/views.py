"""The pages: Google's sample for `deferred`, off App Engine. Of it, the import has changed, and the model."""

from __future__ import annotations

import os

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from counters.models import Counter
from counters.tasks import add_later
from deferq.compat.appengine import deferred

#: Whoever does not want to wait for two minutes says so.
MINUTE_S = float(os.environ.get("MINUTE_S", "60"))
COUNTER = "visits"


def increment(request: HttpRequest) -> HttpResponse:
    deferred.defer(add_later, COUNTER, 10)
    deferred.defer(add_later, COUNTER, 10, _countdown=MINUTE_S)
    deferred.defer(add_later, COUNTER, 10, _countdown=2 * MINUTE_S, _url="/custom/path")
    return HttpResponse("Three additions of 10 will be made.\n", content_type="text/plain")


def get(request: HttpRequest) -> HttpResponse:
    counter = Counter.objects.filter(name=COUNTER).first()
    return HttpResponse(str(counter.count if counter else 0), content_type="text/plain")


@csrf_exempt
def custom_path(request: HttpRequest) -> HttpResponse:
    """A task with an `_url` of its own comes here. Anything may be done before and after it."""
    text, status, headers = deferred.Handler().post(request.environ)
    return HttpResponse(text, status=status.value, headers=dict(headers))
