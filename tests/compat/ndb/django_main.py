"""An App Engine application on Django, with its counter in the datastore. It defers what it adds."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from google.appengine.api import wrap_wsgi_app
from google.appengine.ext import deferred, ndb

MINUTE_S = float(os.environ.get("MINUTE_S", "60"))
COUNTER = os.environ.get("GAE_VERSION", "none")


class Counter(ndb.Model):
    count = ndb.IntegerProperty(indexed=False)


def add_later(key, amount):
    counter = Counter.get_or_insert(key, count=0)
    counter.count += amount
    counter.put()


def increment(request):
    deferred.defer(add_later, COUNTER, 10)
    deferred.defer(add_later, COUNTER, 10, _countdown=MINUTE_S)
    deferred.defer(add_later, COUNTER, 10, _url="/custom/path", _countdown=2 * MINUTE_S)
    return HttpResponse("Deferred counter increment.")


def get(request):
    counter = Counter.get_or_insert(COUNTER, count=0)
    return HttpResponse(str(counter.count))


@csrf_exempt
def custom_path(request):
    print("on the custom path", flush=True)
    response, status, _ = deferred.Handler().post(request.environ)
    return HttpResponse(response, status=status.value)


urlpatterns = [
    path("counter/get", get),
    path("counter/increment", increment),
    path("custom/path", custom_path),
]

settings.configure(DEBUG=True, SECRET_KEY="none", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
app = wrap_wsgi_app(get_wsgi_application(), use_deferred=True)
