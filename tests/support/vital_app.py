"""A WSGI app that answers with the status that its path names; `/wait` once a file is there."""

import time
from pathlib import Path

from meshware.wsgi import MeshMiddleware


def app(environ, start_response):
    """`/status/500` answers 500."""
    path = environ["PATH_INFO"]
    if path == "/wait":
        while not Path("go").exists():
            time.sleep(0.01)
    status = path.rpartition("/")[2] if path.startswith("/status/") else "200"
    start_response(f"{status} Said", [("content-type", "text/plain")])
    return [b"twelve bytes"]


application = MeshMiddleware(app)
