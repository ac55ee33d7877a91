import os

import shop_tasks
from django.core.wsgi import get_wsgi_application

from deferq import wrap_wsgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

application = wrap_wsgi(get_wsgi_application())

if "RUN_MAIN" not in os.environ:  # there the worker has begun before this module is imported
    shop_tasks.imported()
