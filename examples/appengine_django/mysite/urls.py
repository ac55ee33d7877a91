"""The paths of the site."""

from counters import views
from django.urls import path

urlpatterns = [
    path("counter/increment", views.increment),
    path("counter/get", views.get),
    path("custom/path", views.custom_path),
]
