"""A Django project in one module, for tests: its settings and its URLs."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings

SETTINGS: dict[str, Any] = {
    "ROOT_URLCONF": "django_urls",
    "ALLOWED_HOSTS": ["*"],
    "SECRET_KEY": "for tests alone",
    "USE_I18N": True,
    "LANGUAGES": [("en", "English"), ("de", "German")],
    "LANGUAGE_CODE": "en",
    "MIDDLEWARE": [
        "django_urls.Switching",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
}

if not settings.configured:
    settings.configure(**SETTINGS)
    django.setup()

from django.conf.urls.i18n import i18n_patterns  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import include, path, re_path  # noqa: E402
from django.views import View  # noqa: E402
from handler_world import Runs  # noqa: E402

RUNS = Runs()


class Switching:
    """A middleware that does to a request what its headers say, behind the mesh's back."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        """Change the path or the URL configuration."""
        request.path_info = request.headers.get("x-test-path", request.path_info)
        request.method = request.headers.get("x-test-method", request.method)
        if "x-test-urls" in request.headers:
            request.urlconf = request.headers["x-test-urls"]
        return self.get_response(request)


class Thing(View):
    """A class-based view."""

    def get(self, request: Any, pk: int) -> HttpResponse:
        """Show a thing.

        ---
        operationId: showThing
        """
        RUNS["Thing"] += 1
        return HttpResponse("thing")


urlpatterns = [
    path("", RUNS.django("home")),
    path("users/<int:pk>/", RUNS.django("show")),
    path("things/<int:pk>", Thing.as_view()),
    re_path(r"^old/(?P<year>[0-9]{4})/$", RUNS.django("year")),
    re_path(r"^odd/(\d+)/$", RUNS.django("odd")),
    path("admin/", include([
        path("users/<slug:name>/", RUNS.django("admin_user")),
        re_path(r"^logs/(?P<day>\d+)$", RUNS.django("logs")),
    ])),
    *i18n_patterns(path("hello/", RUNS.django("hello")), prefix_default_language=False),
]  # fmt: skip
