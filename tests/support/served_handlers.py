"""Apps of four frameworks for real servers, whose handlers count their runs.

Each has a `secret` that rules protect, in the app itself and in what it mounts or includes, and
`public` beside it. `/runs` says how often each ran, and which policy is in force.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from typing import Any

import fastapi
import flask
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.runtime.mesh import Mesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.middleware.wsgi import WSGIMiddleware

RUNS: Counter[str] = Counter()


def told() -> dict[str, Any]:
    """What `/runs` answers."""
    current = Mesh.current().cell.current
    return {"runs": RUNS, "generation": current.generation if current else 0}


# --- Flask ----------------------------------------------------------------------------------------


def flask_routes(app: Any, prefix: str = "") -> None:
    """The same endpoints for an app and a blueprint."""

    def secret(**_: Any) -> str:
        RUNS["secret"] += 1
        return "secret"

    def public(**_: Any) -> str:
        RUNS["public"] += 1
        return "public"

    app.add_url_rule("/admin/users/<id>", "secret", secret, methods=["GET", "POST"])
    app.add_url_rule("/admin/<path:rest>", "rest", secret, methods=["GET", "POST"])
    app.add_url_rule("/public/<path:rest>", "public", public)


flask_app = flask.Flask("served")
flask_routes(flask_app)
blueprint = flask.Blueprint("sub", "served", url_prefix="/sub")
flask_routes(blueprint)
flask_app.register_blueprint(blueprint)
flask_app.add_url_rule("/runs", "runs", told)
flask_app.add_url_rule("/", "home", told)
flask_app.wsgi_app = WsgiMesh(flask_app.wsgi_app)  # type: ignore[method-assign]

# --- FastAPI --------------------------------------------------------------------------------------


def secret() -> str:
    """Run."""
    RUNS["secret"] += 1
    return "secret"


def public() -> str:
    """Run."""
    RUNS["public"] += 1
    return "public"


router = fastapi.APIRouter()
router.add_api_route("/admin/users/{id}", secret, methods=["GET", "POST"])
router.add_api_route("/admin/{rest:path}", secret, methods=["GET", "POST"])
router.add_api_route("/public/{rest:path}", public)
mounted = fastapi.FastAPI()
mounted.include_router(router)
fastapi_app = fastapi.FastAPI()
fastapi_app.include_router(router)
fastapi_app.include_router(router, prefix="/sub")
fastapi_app.mount("/mounted", mounted)
fastapi_app.add_api_route("/runs", told)
fastapi_app.add_api_route("/", told)
fastapi_app.add_middleware(AsgiMesh)

# --- Starlette, with all of the others in it ------------------------------------------------------


async def starlette_secret(request: Any) -> JSONResponse:
    """Run."""
    return JSONResponse(secret())


starlette_secret.__name__ = "secret"


async def runs(request: Any) -> JSONResponse:
    """Tell."""
    return JSONResponse(told())


old = flask.Flask("old")
flask_routes(old)
starlette_app = AsgiMesh(
    Starlette(
        routes=[
            Route("/", runs),
            Route("/runs", runs),
            Route("/admin/users/{id}", starlette_secret, methods=["GET", "POST"]),
            Mount("/sub", routes=[Route("/admin/{rest:path}", starlette_secret)]),
            Mount("/mounted", mounted),
            Mount("/old", WSGIMiddleware(old)),
        ]
    )
)

# --- Django ---------------------------------------------------------------------------------------

urlpatterns: list[Any] = []


def django_app() -> Any:
    """Django's WSGI app, with these very URLs."""
    import django
    from django.conf import settings
    from django.http import HttpResponse, JsonResponse

    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for tests alone")
    django.setup()
    from django.core.wsgi import get_wsgi_application
    from django.urls import include, path, re_path

    def view(name: str) -> Any:
        def run(request: Any, **_: Any) -> HttpResponse:
            RUNS[name] += 1
            return HttpResponse(name)

        run.__name__ = name
        return run

    def tell(request: Any) -> JsonResponse:
        return JsonResponse(told())

    both = [
        path("admin/users/<str:id>", view("secret")),
        re_path(r"^admin/(?P<rest>.*)$", view("secret")),
        path("public/<path:rest>", view("public")),
    ]
    urlpatterns.extend([path("", tell), path("runs", tell), *both, path("sub/", include(both))])
    return WsgiMesh(get_wsgi_application())


def main() -> None:
    """Serve the Flask app with werkzeug's development server."""
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, flask_app, threaded=True)
    print(f"Listening at: http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.modules["served_handlers"] = sys.modules[__name__]
    main()
