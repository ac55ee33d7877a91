"""As few settings as a site can have. The database is the one that deferq keeps its tasks in."""

from __future__ import annotations

import os
from pathlib import Path

#: deferq reads the same name, so that counters and tasks are in one file.
DATABASE = os.environ.get("DEFERQ_URL", "sqlite:///counter.db").removeprefix("sqlite:///")

SECRET_KEY = os.environ.get("SECRET_KEY", "for trying it out, and for nothing else")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
INSTALLED_APPS = ["counters"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(DATABASE),
        # A transaction that reads first and writes then takes its turn before it reads.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30},
    }
}
