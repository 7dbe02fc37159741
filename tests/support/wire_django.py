"""The URLs of Django's part in `wire_apps`."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import path, re_path
from wire_apps import host_of, note, roles_of


def view(name: str) -> Any:
    """A view that writes down its run."""

    def handler(request: Any, rest: str = "") -> HttpResponse:
        headers = list(request.headers.items())
        return HttpResponse(note(name, request.path, host_of(headers), roles_of(headers)))

    return handler


urlpatterns = [
    path("admin", view("admin")),
    path("admin/<path:rest>", view("below")),
    path("public/<path:rest>", view("public")),
    re_path(r"^(?P<rest>.*)$", view("other")),
]
