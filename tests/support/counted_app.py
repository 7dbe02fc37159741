"""A WSGI app that answers with the status that its path names, behind the mesh."""

import os

from meshware.wsgi import MeshMiddleware


def app(environ, start_response):
    """`/status/503` answers 503; `/pid` names the process."""
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise ValueError("as the test wants it")
    if not path.startswith("/status/") and path != "/pid":
        start_response("299 Up", [])  # for whoever waits for the server: no test counts it
        return [b"{}"]
    if path == "/pid":
        start_response("200 OK", [("content-type", "text/plain")])
        return [str(os.getpid()).encode()]
    start_response(f"{path.rpartition('/')[2]} Said", [("content-type", "text/plain")])
    return [b"twelve bytes"]


application = MeshMiddleware(app)
