import shop_tasks
from django.http import HttpResponse
from django.urls import re_path

urlpatterns = [re_path("^(.*)$", lambda request, path: HttpResponse(shop_tasks.answer(path)))]
