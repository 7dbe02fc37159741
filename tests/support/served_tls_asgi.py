"""The app that servers with TLS serve in tests: `served_tls_asgi:app`.

It says what a driver would see of the caller, and notes each call in `calls` beside its server, so
that a test can say what never reached it.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

from meshware.asgi.head import inbound_head
from meshware.errors import PeerIdentityError
from meshware.runtime.mesh import Mesh

if os.environ.get("SERVED_INSTALL"):
    importlib.import_module(os.environ["SERVED_INSTALL"]).install()


def who(chain):
    """The ID that a chain proves; why it proves none; None for no chain."""
    if chain is None:
        return None
    from cryptography import x509

    from meshware.identity.verify import verify_chain

    mesh = Mesh.current()
    try:
        certificates = tuple(x509.load_der_x509_certificate(one) for one in chain)
        found = verify_chain(certificates, mesh.identity.bundles(), mesh.clock.now(), "client")
    except (PeerIdentityError, ValueError) as error:
        return f"refused: {error}"
    return str(found.id)


def answer(scope, receive) -> bytes:
    """What is known of a call."""
    mesh = Mesh.current()
    head = inbound_head(scope, receive, mesh.port)
    current = mesh.cell.current
    with Path("calls").open("a") as calls:
        calls.write(f"{scope['path']}\n")
    tls = (scope.get("extensions") or {}).get("tls")
    return json.dumps(
        {
            "peer": who(head.chain),
            "shown": len(head.chain or ()),
            "sni": head.sni,
            "scheme": head.scheme,
            "port": head.port,
            "pid": os.getpid(),
            "generation": current.generation if current else 0,
            "extension": tls,
            "is_same": getattr(getattr(receive, "__self__", None), "__class__", type).__name__,
        }
    ).encode()


async def app(scope, receive, send):
    """Answer whatever is asked; a WebSocket is accepted, told and closed."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    said = answer(scope, receive)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": said.decode()})
        await receive()
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})
