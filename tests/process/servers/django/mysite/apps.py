import os

import shop_tasks
from django.apps import AppConfig

import deferq


class MySite(AppConfig):
    name = "mysite"

    def ready(self):
        if os.environ.get("RUN_MAIN") == "true":  # the process of `runserver` that serves
            deferq.start()


shop_tasks.imported()
