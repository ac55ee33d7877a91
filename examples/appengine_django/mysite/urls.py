"""The paths of the site."""

from django.urls import path

from counters import views

urlpatterns = [
    path("counter/increment", views.increment),
    path("counter/get", views.get),
    path("custom/path", views.custom_path),
]
