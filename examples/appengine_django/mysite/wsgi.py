"""What a server serves: the site, and the tasks under it."""

import os

from django.core.wsgi import get_wsgi_application

from deferq.compat.appengine import wrap_wsgi_app

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = wrap_wsgi_app(get_wsgi_application(), use_deferred=True)
