"""An app that says who called it, as the server tells: `served_tls:wsgi`.

It has no middleware, so that it is called whenever a server calls an app at all. Each call adds a
line to the file that CALLS names: by that it is seen that there was none.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from cryptography import x509

from meshware.identity.verify import verify_chain
from meshware.runtime.mesh import Mesh
from meshware.wsgi.head import inbound_head

if os.environ.get("SERVED_TLS_BEFORE_FORK"):
    # As an app may do that calls a service while it is imported, with gunicorn's --preload.
    Mesh.current().start()
    Mesh.current().identity.server_context()


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Say who called."""
    calls = os.environ.get("CALLS")
    if calls:
        with Path(calls).open("a", encoding="utf-8") as log:
            log.write(environ["PATH_INFO"] + "\n")
    head = inbound_head(environ, None)
    chain = head.chain
    caller = None
    if chain is not None:
        mesh = Mesh.current()
        mesh.start()
        shown = [x509.load_der_x509_certificate(each) for each in chain]
        caller = str(verify_chain(shown, mesh.identity.bundles(), mesh.clock.now(), "client").id)
    said = {
        "caller": caller,
        "sni": head.sni,
        "scheme": environ["wsgi.url_scheme"],
        "pid": os.getpid(),
        "multithread": environ["wsgi.multithread"],
        "keys": sorted(key for key in environ if "CC" in key or "CLIENT_CERT" in key),
    }
    body = json.dumps(said).encode()
    start_response(
        "200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))]
    )
    return [body]


def main() -> None:
    """Serve with werkzeug's development server: `python served_tls.py [threaded] [seam]`."""
    from werkzeug.serving import make_server

    from meshware.servers.werkzeug import front_context, install

    context = None
    if "seam" in sys.argv:
        mesh = Mesh.current()
        mesh.start()
        context = front_context(mesh)
    else:
        install()
    server = make_server("127.0.0.1", 0, wsgi, threaded="threaded" in sys.argv, ssl_context=context)
    print(f"Listening at: http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
