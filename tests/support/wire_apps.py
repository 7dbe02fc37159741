"""Apps whose handlers write down each run: raw ASGI and WSGI, Starlette, FastAPI, Flask, Django.

Each of them routes by path in its own way to four handlers: `admin` (`/admin`), `below`
(`/admin/...`), `public` (`/public/...`) and `other` (whatever is left). What must not run is
judged by what was written, not by what was answered.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["ASGI_APPS", "RAN", "WSGI_APPS", "handler_of", "note"]

Pairs = Iterable[tuple[str, str]]

PREFIXES = (("/admin/", "below"), ("/public/", "public"))


RAN: list[str] = []
"""The names of handlers that ran in this process, unless `WIRE_RAN` names a file for more."""


def note(handler: str, path: str, host: str, roles: list[str]) -> bytes:
    """Write down that a handler ran, and return what it answers.

    Args:
        handler: its name.
        path: as its framework shows it.
        host: likewise.
        roles: each value of `X-Role`, and of what may be taken for it.
    """
    if "WIRE_RAN" not in os.environ:
        RAN.append(handler)
        return b"ran"
    line = json.dumps({"handler": handler, "path": path, "host": host, "roles": roles}) + "\n"
    file = os.open(os.environ["WIRE_RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
    return line.encode()


def handler_of(path: str) -> str:
    """Route as a plain app does: by how the path begins."""
    if path == "/admin":
        return "admin"
    return next((name for prefix, name in PREFIXES if path.startswith(prefix)), "other")


def tidied(path: str) -> str:
    """Put a path right as a careful app does: slashes, then dots; a last slash stays."""
    path = re.sub("/+", "/", path.replace("\\", "/"))
    resolved = posixpath.normpath(path)
    return resolved + "/" if path.endswith("/") and resolved != "/" else resolved


def roles_of(headers: Pairs) -> list[str]:
    """Each value of the header, dashes or underscores, by itself."""
    found = [value for name, value in headers if name.lower().replace("_", "-") == "x-role"]
    return [part.strip() for value in found for part in value.split(",")]


def host_of(headers: Pairs) -> str:
    """The Host header, all of its lines."""
    return "|".join(value for name, value in headers if name.lower() == "host")


# --- ASGI -----------------------------------------------------------------------------------------


def raw_asgi(tidy: Callable[[str], str] = str) -> Any:
    """An app without a framework."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]]
        path = tidy(scope["path"])
        body = note(handler_of(path), path, host_of(headers), roles_of(headers))
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


def starlette(is_mounted: bool) -> Any:
    """Routes, or mounts with a catch-all in each."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Mount, Route, WebSocketRoute

    def socket(name: str) -> Any:
        async def handler(websocket: Any) -> None:
            headers = websocket.headers.items()
            note(name, websocket.url.path, host_of(headers), roles_of(headers))
            await websocket.accept()
            await websocket.close()

        return handler

    def endpoint(name: str) -> Any:
        async def handler(request: Any) -> Response:
            headers = request.headers.items()
            return Response(note(name, request.url.path, host_of(headers), roles_of(headers)))

        return handler

    if is_mounted:
        first = [
            Mount(
                prefix,
                routes=[
                    Route("/{rest:path}", endpoint(name)),
                    WebSocketRoute("/{rest:path}", socket(name)),
                ],
            )
            for prefix, name in (("/admin", "below"), ("/public", "public"))
        ]
    else:
        first = [
            Route("/admin", endpoint("admin")),
            Route("/admin/{rest:path}", endpoint("below")),
            Route("/public/{rest:path}", endpoint("public")),
            WebSocketRoute("/admin", socket("admin")),
            WebSocketRoute("/admin/{rest:path}", socket("below")),
            WebSocketRoute("/public/{rest:path}", socket("public")),
        ]
    rest = "/{rest:path}"
    return Starlette(
        routes=[*first, Route(rest, endpoint("other")), WebSocketRoute(rest, socket("other"))]
    )


def fastapi() -> Any:
    """Decorated functions."""
    from fastapi import FastAPI, Request

    app = FastAPI()

    def add(path: str, name: str) -> None:
        def handler(request: Any) -> None:
            headers = request.headers.items()
            note(name, request.scope["path"], host_of(headers), roles_of(headers))

        handler.__annotations__["request"] = Request
        app.add_api_route(path, handler, name=name)

    add("/admin", "admin")
    add("/admin/{rest:path}", "below")
    add("/public/{rest:path}", "public")
    add("/{rest:path}", "other")
    return app


# --- Django, both -----------------------------------------------------------------------------


def django(make: str) -> Any:
    """Django's `get_asgi_application` or `get_wsgi_application`."""
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"], ROOT_URLCONF="wire_django", MIDDLEWARE=[], SECRET_KEY="x" * 50
        )
    if make == "asgi":
        from django.core.asgi import get_asgi_application

        return get_asgi_application()
    from django.core.wsgi import get_wsgi_application

    if settings.ROOT_URLCONF == "wire_django":
        return get_wsgi_application()
    # A process has one configuration of Django, and here it is that of other tests.
    from django.test import override_settings

    own = {"ROOT_URLCONF": "wire_django", "MIDDLEWARE": []}
    with override_settings(**own):
        application = get_wsgi_application()

    def app(environ: Any, start_response: Any) -> Any:
        with override_settings(**own):
            return application(environ, start_response)

    return app


# --- WSGI -----------------------------------------------------------------------------------------


def headers_in(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers of an environ."""
    return [
        (key[5:].lower().replace("_", "-"), value)
        for key, value in environ.items()
        if key.startswith("HTTP_")
    ]


def raw_wsgi(tidy: Callable[[str], str] = str) -> Any:
    """An app without a framework."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        path, headers = tidy(path), headers_in(environ)
        body = note(handler_of(path), path, host_of(headers), roles_of(headers))
        start_response("200 OK", [("content-length", str(len(body)))])
        return [body]

    return app


def flask_app(name: str = "") -> Any:
    """Routes; with a name only a catch-all."""
    import flask

    app = flask.Flask("shop")

    def add(rule: str, name: str, **defaults: str) -> None:
        def view(**_: str) -> bytes:
            request = flask.request
            headers = list(request.headers.items())
            return note(name, request.path, host_of(headers), roles_of(headers))

        app.add_url_rule(rule, f"{name} {rule}", view, defaults=defaults)

    if not name:
        add("/admin", "admin")
        add("/admin/<path:rest>", "below")
        add("/public/<path:rest>", "public")
    add("/", name or "other", rest="")
    add("/<path:rest>", name or "other")
    return app


def flask_mounted() -> Any:
    """werkzeug's dispatcher, which moves a prefix to SCRIPT_NAME."""
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(
        flask_app(), {"/admin": flask_app("below"), "/public": flask_app("public")}
    )


ASGI_APPS: dict[str, Callable[[], Any]] = {
    "raw": raw_asgi,
    "tidy": lambda: raw_asgi(tidied),
    "starlette": lambda: starlette(False),
    "starlette mount": lambda: starlette(True),
    "fastapi": fastapi,
    "django": lambda: django("asgi"),
}
WSGI_APPS: dict[str, Callable[[], Any]] = {
    "raw": raw_wsgi,
    "tidy": lambda: raw_wsgi(tidied),
    "flask": flask_app,
    "flask mount": flask_mounted,
    "django": lambda: django("wsgi"),
}
