"""URLs that a middleware may put in the place of `django_urls`."""

from __future__ import annotations

from django.urls import path
from django_urls import RUNS

urlpatterns = [
    path("things/<int:pk>", RUNS.django("other_thing")),
    path("nothing", RUNS.django("something")),
]
