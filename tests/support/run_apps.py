"""Apps that know nothing of the mesh in their set-up, for `meshware run`: one of each kind.

`/ok` tells whether the call is known, here and in a thread. Each handler that runs leaves its path
in the file RUNS, so that a test sees what reached an app and what did not. Each start of a process
that loads this module leaves a line in LOADS.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path

import meshware


def _note(file: str, what: str) -> None:
    with Path(file).open("a", encoding="utf-8") as out:
        out.write(f"{what}\n")


_note("LOADS", str(os.getpid()))

if os.environ.get("COUNT_DECISIONS"):
    gate = meshware.Mesh.current().gate
    admit = gate.admit

    def counting_admit(head):
        """Note each decision."""
        _note("DECISIONS", head.target or head.paths[0])
        return admit(head)

    gate.admit = counting_admit


def answer(path: str) -> dict[str, object]:
    """What every handler says."""
    _note("RUNS", path)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(meshware.current_call() is not None))
    thread.start()
    thread.join()
    return {
        "ran": path,
        "has_call": meshware.current_call() is not None,
        "in_thread": found[0],
        "port": meshware.Mesh.current().port,
        "pid": os.getpid(),
        "generation": getattr(meshware.Mesh.current().cell.current, "generation", 0),
        "python_path": os.environ.get("PYTHONPATH", ""),
        "other_sitecustomize": os.environ.get("OTHER_SITECUSTOMIZE", ""),
    }


def make_flask():
    """A Flask app."""
    from flask import Flask

    made = Flask("run_apps")

    @made.get("/<path:path>")
    @made.get("/")
    def anything(path=""):
        return answer("/" + path)

    return made


def make_fastapi(**options):
    """A FastAPI app with a lifespan."""
    from contextlib import asynccontextmanager

    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(_app):
        _note("LIFESPAN", "up")
        yield
        _note("LIFESPAN", "down")

    made = FastAPI(lifespan=lifespan, **options)

    @made.get("/{path:path}")
    async def anything(path: str):
        return answer("/" + path)

    return made


def plain_wsgi(environ, start_response):
    """A WSGI app without a framework."""
    body = json.dumps(answer(environ["PATH_INFO"])).encode()
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]


async def plain_asgi(scope, receive, send):
    """An ASGI app without a framework."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = json.dumps(await asyncio.to_thread(answer, scope["path"])).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def __getattr__(name):
    """Make an app when a server asks for it."""
    if name == "flask_app":
        return make_flask()
    if name == "fastapi_app":
        return make_fastapi()
    if name == "rooted_app":
        return make_fastapi(root_path="/api")
    if name == "mounted_app":
        from starlette.applications import Starlette
        from starlette.middleware.wsgi import WSGIMiddleware

        made = Starlette()
        made.mount("/inner", WSGIMiddleware(make_flask()))
        return made
    if name == "explicit_flask":
        from meshware.wsgi import MeshMiddleware

        made = make_flask()
        made.wsgi_app = MeshMiddleware(made.wsgi_app)
        return made
    if name == "explicit_fastapi":
        from meshware.asgi import MeshMiddleware

        made = make_fastapi()
        made.add_middleware(MeshMiddleware)
        return made
    raise AttributeError(name)


def main() -> None:
    """Serve, as `python app.py` does: with uvicorn, werkzeug, wsgiref, or Flask's own `run`."""
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "uvicorn":
        import uvicorn

        uvicorn.run(make_fastapi(), port=port)
    elif kind == "werkzeug":
        from werkzeug.serving import run_simple

        run_simple("127.0.0.1", port, plain_wsgi, threaded=True)
    elif kind == "flask":
        make_flask().run(port=port)
    elif kind == "wsgiref":  # a server that `meshware run` does not know
        from wsgiref.simple_server import make_server

        make_server("127.0.0.1", port, make_flask()).serve_forever()
    elif kind == "hypercorn":
        import hypercorn.asyncio

        config = hypercorn.Config()
        config.bind = [f"127.0.0.1:{port}"]
        asyncio.run(hypercorn.asyncio.serve(plain_asgi, config))


if __name__ == "__main__":
    main()
