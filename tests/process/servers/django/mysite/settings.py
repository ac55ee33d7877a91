SECRET_KEY = "for a test"
DEBUG = True
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["mysite.apps.MySite"]
ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
